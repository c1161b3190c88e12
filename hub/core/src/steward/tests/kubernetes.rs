//! A hub whose resources are objects, for tests.

use std::collections::{BTreeMap, BTreeSet};

use crate::records::ObjectOrigin;
use crate::resources::{InputKey, Kind};
use crate::steward::{Answer, Evidence, Request, SourceDeleted, SourceDeletion, SourceObject, SyncObjects, Synced};
use crate::testing::{Hub, TO_PROD, addon, assignment, cluster, key, workspace, yaml};

/// The key of the assignment that [`Api::deployed`] makes.
#[expect(non_snake_case, reason = "it reads as the constant that it cannot be")]
pub(super) fn WEB() -> InputKey {
    key(Kind::AddonAssignment, "dev", "web")
}

pub(super) struct Api {
    pub(super) hub: Hub,
    /// The objects that are there: UID and generation.
    objects: BTreeMap<InputKey, (String, i64)>,
    made: u64,
}

impl Api {
    pub(super) fn new() -> Self {
        Self { hub: Hub::new(), objects: BTreeMap::new(), made: 0 }
    }

    /// Workspace `dev`, addon `podinfo`, clusters `edge-000`..., and assignment `web`, which every cluster says it holds.
    pub(super) fn deployed(clusters: usize) -> Self {
        let mut api = Self::new();
        for text in [workspace("dev"), addon("podinfo")] {
            api.put(&text);
        }
        for index in 0..clusters {
            api.put(&cluster(&format!("edge-{index:03}"), "env: prod"));
        }
        api.put(&assignment("web", TO_PROD));
        api.hub.hear_all();
        api
    }

    /// Writes an object: makes it, or changes its specification.
    pub(super) fn put(&mut self, text: &str) -> Synced {
        let key = yaml(text).key();
        match self.objects.get_mut(&key) {
            Some((_, generation)) => *generation += 1,
            None => return self.create_again(text),
        }
        self.tell(text)
    }

    /// Makes an object under a new UID.
    pub(super) fn create_again(&mut self, text: &str) -> Synced {
        self.made += 1;
        self.objects.insert(yaml(text).key(), (format!("object-{}", self.made), 1));
        self.tell(text)
    }

    /// Tells the hub of an object as it is.
    pub(super) fn tell(&mut self, text: &str) -> Synced {
        let resource = yaml(text);
        let (uid, generation) = self.objects[&resource.key()].clone();
        let origin = ObjectOrigin { uid, generation, absence: None };
        let present = vec![SourceObject { resource, origin, manager: "tester".to_owned() }];
        self.sync(SyncObjects { present, gone: BTreeSet::new() })
    }

    pub(super) fn vanish(&mut self, key: &InputKey) {
        self.objects.remove(key);
        self.sync(SyncObjects { present: Vec::new(), gone: BTreeSet::from([key.clone()]) });
    }

    /// Lets the hub judge that an object is being deleted under its finalizer; the object is there until it vanishes.
    pub(super) fn delete(&mut self, key: &InputKey, evidence: Evidence) -> SourceDeletion {
        let uid = self.objects.get(key).map_or_else(|| "unknown".to_owned(), |(uid, _)| uid.clone());
        self.delete_object(key, &uid, evidence)
    }

    pub(super) fn delete_object(&mut self, key: &InputKey, uid: &str, evidence: Evidence) -> SourceDeletion {
        let request = SourceDeleted { key: key.clone(), uid: uid.to_owned(), evidence };
        match self.hub.ask(&Request::SourceDeleted(request)) {
            Ok(Answer::SourceDeletion(outcome)) => outcome,
            other => panic!("a deletion answers otherwise: {other:?}"),
        }
    }

    fn sync(&mut self, request: SyncObjects) -> Synced {
        match self.hub.ask(&Request::SyncObjects(request)) {
            Ok(Answer::Synced(synced)) => synced,
            other => panic!("a sync answers otherwise: {other:?}"),
        }
    }
}
