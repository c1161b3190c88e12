//! The watch of a simulated cluster: lists everything, then tells what changes; whoever falls behind gets a new list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use starling_agent::cluster::{ClusterEvent, Kind};
use starling_model::ObjectKey;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::SimulatedCluster;
use super::state::State;

/// The kinds that a simulated cluster serves besides the core group's.
const KINDS: [(&str, &str); 6] = [
    ("kustomize.toolkit.fluxcd.io", "Kustomization"),
    ("helm.toolkit.fluxcd.io", "HelmRelease"),
    ("source.toolkit.fluxcd.io", "HelmRepository"),
    ("source.toolkit.fluxcd.io", "OCIRepository"),
    ("source.toolkit.fluxcd.io", "GitRepository"),
    ("source.toolkit.fluxcd.io", "HelmChart"),
];

/// What changed, cheap to send to every watcher: the document is built by the watcher.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Changed(ObjectKey),
    Deleted(ObjectKey),
    /// The API server answers again.
    Answering,
}

/// Tells whether the cluster serves objects of this kind.
pub(super) fn serves(key: &ObjectKey) -> bool {
    key.group.is_empty() || KINDS.contains(&(key.group.as_str(), key.kind.as_str()))
}

/// Begins a watch.
pub(super) fn watch(cluster: &Arc<SimulatedCluster>) -> BoxStream<'static, ClusterEvent> {
    // Subscribed first: what changes in between is told twice, never not at all.
    let changes = cluster.events.subscribe();
    let first = list(&cluster.state());
    let watcher = Watcher { cluster: Arc::downgrade(cluster), changes };
    stream::iter(first).chain(stream::unfold(watcher, Watcher::next).flat_map(stream::iter)).boxed()
}

struct Watcher {
    cluster: Weak<SimulatedCluster>,
    changes: Receiver<Change>,
}

impl Watcher {
    async fn next(mut self) -> Option<(Vec<ClusterEvent>, Self)> {
        let change = loop {
            // Looking at the cluster lets Flux end what is due, which is told through the channel.
            let due = {
                let cluster = self.cluster.upgrade()?;
                let state = cluster.state();
                state.next_due(cluster.clock.uptime())
            };
            let Some(due) = due else { break self.changes.recv().await };
            tokio::select! {
                biased;
                change = self.changes.recv() => break change,
                () = tokio::time::sleep(due) => {}
            }
        };
        let cluster = self.cluster.upgrade()?;
        let state = cluster.state();
        let events = match change {
            Ok(Change::Answering) => list(&state),
            // Whoever is not told lists again once the API server answers.
            Ok(_) if state.unavailable => Vec::new(),
            Ok(Change::Changed(key)) => vec![match state.document(&key) {
                Some(document) => ClusterEvent::Applied(document),
                None => ClusterEvent::Deleted(key),
            }],
            Ok(Change::Deleted(key)) => vec![ClusterEvent::Deleted(key)],
            Err(RecvError::Lagged(_)) => list(&state),
            Err(RecvError::Closed) => return None,
        };
        drop(state);
        Some((events, self))
    }
}

/// Lists everything, as the beginning of a watch does; nothing while the API server does not answer.
fn list(state: &State) -> Vec<ClusterEvent> {
    if state.unavailable {
        return Vec::new();
    }
    let kinds: BTreeSet<Kind> = KINDS.into_iter().map(|(group, kind)| Kind::new(group, kind)).collect();
    let mut by_kind: BTreeMap<Kind, BTreeSet<ObjectKey>> =
        kinds.iter().map(|kind| (kind.clone(), BTreeSet::new())).collect();
    let mut events = vec![ClusterEvent::Kinds(kinds)];
    for (key, document) in state.documents() {
        if let Some(keys) = by_kind.get_mut(&Kind::new(&key.group, &key.kind)) {
            keys.insert(key);
            events.push(ClusterEvent::Applied(document));
        }
    }
    events.extend(by_kind.into_iter().map(|(kind, keys)| ClusterEvent::KindListed(kind, keys)));
    events
}
