//! The namespaces of workspaces: made when they are absent, never deleted.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use starling_hub_core::fleet::Fleet;
use starling_hub_core::resources::PLATFORM_NAMESPACE;

use super::api::{ApiError, within};
use super::{FIELD_MANAGER, PART_OF};

/// The namespaces that are wanted and were not seen to be there yet, and those that were.
#[derive(Debug)]
pub(super) struct Namespaces {
    wanted: BTreeSet<String>,
    there: BTreeSet<String>,
}

impl Namespaces {
    /// Begins with the platform's.
    pub(super) fn new() -> Self {
        Self { wanted: BTreeSet::from([PLATFORM_NAMESPACE.to_owned()]), there: BTreeSet::new() }
    }

    /// Wants a namespace to be there.
    pub(super) fn want(&mut self, name: &str) {
        if !self.there.contains(name) {
            self.wanted.insert(name.to_owned());
        }
    }

    /// Wants a namespace to be there, whatever was seen of it before.
    pub(super) fn look_again(&mut self, name: &str) {
        self.there.remove(name);
        self.wanted.insert(name.to_owned());
    }

    /// Notes that a namespace may be going: one of a workspace is made again.
    pub(super) fn lost(&mut self, name: &str, fleet: &Fleet) {
        if name == PLATFORM_NAMESPACE || fleet.workspace(name).is_some() {
            self.look_again(name);
        }
    }

    /// Tells whether one is not known to be there.
    pub(super) fn is_any_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Makes those that are not there; one that is being deleted is waited for.
    pub(super) async fn make(&mut self, client: &Client) -> Result<(), ApiError> {
        let mut outcome = Ok(());
        for name in self.wanted.clone() {
            match ensure(client, &name).await {
                Ok(true) => {
                    self.wanted.remove(&name);
                    self.there.insert(name);
                }
                Ok(false) => {}
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }
}

/// Makes a namespace where there is none; false while one of that name is being deleted.
async fn ensure(client: &Client, name: &str) -> Result<bool, ApiError> {
    let api: Api<Namespace> = Api::all(client.clone());
    match within(api.get(name)).await {
        Ok(namespace) => return Ok(namespace.metadata.deletion_timestamp.is_none()),
        Err(ApiError::NotFound) => {}
        Err(error) => return Err(error),
    }
    let labels = BTreeMap::from([(PART_OF.0.to_owned(), PART_OF.1.to_owned())]);
    let metadata = ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match within(api.create(&params, &Namespace { metadata, ..Namespace::default() })).await {
        Ok(_) => {
            tracing::info!(namespace = name, "made the namespace of a workspace");
            Ok(true)
        }
        Err(ApiError::Conflict(_)) => Ok(true),
        Err(error) => Err(error),
    }
}
