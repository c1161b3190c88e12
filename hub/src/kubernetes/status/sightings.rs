//! What the watches told of objects since the writer last looked: the latest of each.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use starling_hub_core::resources::InputKey;
use starling_hub_core::resources::status::Status;
use starling_hub_core::status::Sighting;
use tokio::sync::Notify;

use crate::kubernetes::{Observer, Seen};

type News = BTreeMap<InputKey, Option<Sighting>>;

/// Takes note of objects for the writer of statuses.
#[derive(Debug, Default)]
pub struct Sightings {
    /// `None` for what is gone.
    news: Mutex<News>,
    told: Notify,
}

impl Sightings {
    /// Waits until there is something to take.
    pub(super) async fn told(&self) {
        self.told.notified().await;
    }

    pub(super) fn take(&self) -> News {
        std::mem::take(&mut self.news())
    }

    fn tell(&self, key: &InputKey, sighting: Option<Sighting>) {
        self.news().insert(key.clone(), sighting);
        self.told.notify_one();
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Sightings {
    fn saw(&self, seen: &Seen) {
        let kind = seen.key.kind;
        let status = match &seen.status {
            serde_json::Value::Null => Status::empty(kind),
            // One that cannot be read is written over.
            json => Status::read(kind, json.clone()).unwrap_or_else(|_| Status::empty(kind)),
        };
        let sighting = Sighting {
            object: seen.uid.clone(),
            version: version(Some(&seen.resource_version)),
            generation: seen.generation,
            document: seen.resource.as_ref().map(|resource| resource.digest()).map_err(Clone::clone),
            status,
        };
        self.tell(&seen.key, Some(sighting));
    }

    fn gone(&self, key: &InputKey) {
        self.tell(key, None);
    }
}

/// Reads an object's version as the number that it is with etcd; zero where it is none.
pub(super) fn version(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}
