//! The objects of the API that could not be taken, and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use starling_hub_core::fleet::Problem;
use starling_hub_core::resources::InputKey;
use tokio::sync::watch;

/// The objects that are there and could not be taken, each with why; shared by who reads and who answers.
#[derive(Clone, Debug)]
pub struct Untaken(Arc<watch::Sender<BTreeMap<InputKey, Problem>>>);

impl Untaken {
    /// Follows them.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<InputKey, Problem>> {
        self.0.subscribe()
    }

    /// Returns them, by kind, namespace and name.
    #[must_use]
    pub fn list(&self) -> Vec<Problem> {
        self.0.borrow().values().cloned().collect()
    }

    /// Forgets them all: every object is read anew.
    pub(super) fn clear(&self) {
        self.0.send_if_modified(|untaken| !std::mem::take(untaken).is_empty());
    }

    /// Notes why an object could not be taken, or that it was.
    pub(super) fn set(&self, key: &InputKey, problem: Option<Problem>) {
        self.0.send_if_modified(|untaken| match problem {
            Some(problem) => untaken.insert(key.clone(), problem.clone()).as_ref() != Some(&problem),
            None => untaken.remove(key).is_some(),
        });
    }
}

impl Default for Untaken {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }
}
