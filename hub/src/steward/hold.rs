//! Whether the fleet holds, known to everybody in the process at once.

use std::sync::Arc;

use starling_hub_core::hold::HoldReason;
use starling_model::Guard;
use tokio::sync::watch;

/// The fleet's hold: while there is a reason, leases are not lent and nothing is written but a recovery.
#[derive(Clone, Debug)]
pub struct Hold {
    reason: Arc<watch::Sender<Option<HoldReason>>>,
}

impl Hold {
    /// Begins with a reason, or none.
    #[must_use]
    pub fn new(reason: Option<HoldReason>) -> Self {
        Self { reason: Arc::new(watch::Sender::new(reason)) }
    }

    /// Returns the reason for which the fleet holds.
    #[must_use]
    pub fn reason(&self) -> Option<HoldReason> {
        *self.reason.borrow()
    }

    /// Follows the reason.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<HoldReason>> {
        self.reason.subscribe()
    }

    /// Holds the fleet; the first reason stays.
    pub fn engage(&self, reason: HoldReason) {
        if Guard::Hold.is_broken() {
            return;
        }
        let engaged = self.reason.send_if_modified(|present| {
            let is_new = present.is_none();
            present.get_or_insert(reason);
            is_new
        });
        if engaged {
            tracing::error!(%reason, "the fleet holds");
        }
    }

    /// Lets the fleet move again, after a recovery.
    pub(crate) fn release(&self) {
        if self.reason.send_replace(None).is_some() {
            tracing::info!("the fleet moves again");
        }
    }
}
