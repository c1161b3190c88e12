//! How many connections may be open: in all, without a certificate, and of one cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use starling_model::ClusterId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::AcceptLimits;
use crate::metrics::EdgeMetrics;
use crate::tls::PeerIdentity;

/// Counts the connections.
pub(super) struct Admission {
    all: Arc<Semaphore>,
    uncertified: Arc<Semaphore>,
    clusters: Mutex<BTreeMap<ClusterId, usize>>,
    per_cluster: usize,
    metrics: EdgeMetrics,
}

/// A connection's place before its handshake.
pub(super) struct Place {
    admission: Arc<Admission>,
    permit: OwnedSemaphorePermit,
}

/// An open connection's place; dropping it frees the place.
pub(super) struct OpenPlace {
    admission: Arc<Admission>,
    cluster: Option<ClusterId>,
    _permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl Admission {
    pub(super) fn new(limits: AcceptLimits, metrics: EdgeMetrics) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(limits.connections)),
            uncertified: Arc::new(Semaphore::new(limits.uncertified)),
            clusters: Mutex::default(),
            per_cluster: limits.per_cluster,
            metrics,
        })
    }

    /// Takes a place; `None` if there is none.
    pub(super) fn place(self: &Arc<Self>) -> Option<Place> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { admission: Arc::clone(self), permit })
    }

    fn clusters(&self) -> std::sync::MutexGuard<'_, BTreeMap<ClusterId, usize>> {
        self.clusters.lock().expect("no holder of the counts panics")
    }
}

impl Place {
    /// Keeps the place for a caller; `None` if there are too many of its sort.
    pub(super) fn of(self, identity: &PeerIdentity) -> Option<OpenPlace> {
        let (cluster, uncertified) = match identity {
            PeerIdentity::None => (None, Some(Arc::clone(&self.admission.uncertified).try_acquire_owned().ok()?)),
            // There are few of them, and without them nothing is decided.
            PeerIdentity::Process(_) => (None, None),
            PeerIdentity::Valid(certified) | PeerIdentity::Expired(certified) => {
                let mut clusters = self.admission.clusters();
                let count = clusters.entry(certified.cluster).or_default();
                if *count >= self.admission.per_cluster {
                    return None;
                }
                *count += 1;
                (Some(certified.cluster), None)
            }
        };
        self.admission.metrics.connections.inc();
        Some(OpenPlace { cluster, _permits: (self.permit, uncertified), admission: self.admission })
    }
}

impl Drop for OpenPlace {
    fn drop(&mut self) {
        self.admission.metrics.connections.dec();
        let Some(cluster) = self.cluster else { return };
        let mut clusters = self.admission.clusters();
        let left = clusters.get(&cluster).map_or(0, |count| count - 1);
        if left == 0 {
            clusters.remove(&cluster);
        } else {
            clusters.insert(cluster, left);
        }
    }
}
