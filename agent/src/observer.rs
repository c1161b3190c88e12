//! Follows the cluster: judges what the watch sees into the status book, and hints the applier at what is held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use starling_agent_core::inventory::{HeldInstall, Inventory};
use starling_agent_core::judge::{judge, key_of};
use starling_agent_core::reconcile::drift;
use starling_model::{InstallKey, ObjectKey, Value};

use crate::cluster::{ClusterApi, ClusterError, ClusterEvent, Kind, ResourceRef};
use crate::ports::Ports;
use crate::shared::{Shared, State};

/// How often the facts are observed anew.
const FACTS_INTERVAL: Duration = Duration::from_secs(60);

/// Follows the watch for ever.
pub(crate) async fn follow(shared: Arc<Shared>, cluster: Arc<dyn ClusterApi>) {
    loop {
        let mut events = cluster.watch();
        let mut kinds = Kinds::default();
        while let Some(event) = events.next().await {
            observe(&shared, &mut kinds, event);
            if refill(&shared, &*cluster).await {
                tracing::info!("there is room for more objects, listing all kinds again");
                break;
            }
        }
    }
}

/// Observes the facts at their interval, for ever.
pub(crate) async fn follow_facts(shared: Arc<Shared>, cluster: Arc<dyn ClusterApi>, ports: Ports) {
    // Agents that started together ask at different times.
    tokio::time::sleep(ports.draw_wait(Duration::ZERO, FACTS_INTERVAL)).await;
    loop {
        match cluster.facts().await {
            Ok(facts) => {
                let mut state = shared.state();
                state.session.observe_facts(facts.digest());
                let is_news = state.book.set_facts(facts);
                drop(state);
                if is_news {
                    shared.session_bell.notify_one();
                }
            }
            Err(error) => tracing::debug!(%error, "cannot observe the cluster's facts"),
        }
        tokio::time::sleep(FACTS_INTERVAL).await;
    }
}

/// The kinds that are watched, and whether each was listed.
#[derive(Default)]
struct Kinds(BTreeMap<Kind, bool>);

fn observe(shared: &Shared, kinds: &mut Kinds, event: ClusterEvent) {
    let mut state = shared.state();
    let mut is_news = false;
    let hints_before = (state.hints.installs.len(), state.hints.late.len());
    match event {
        ClusterEvent::Kinds(watched) => {
            kinds.0.retain(|kind, _| {
                let stays = watched.contains(kind);
                if !stays {
                    state.book.retain_kind(&kind.group, &kind.kind, &BTreeSet::new());
                }
                stays
            });
            for kind in watched {
                kinds.0.entry(kind).or_insert(false);
            }
            is_news = true;
        }
        ClusterEvent::Applied(object) => {
            let status = judge(&object, state.book.limits().text_bytes as usize);
            hint_applied(&mut state, &object);
            is_news = state.book.upsert(status);
        }
        ClusterEvent::Deleted(key) => {
            hint_deleted(&mut state, &key);
            is_news = state.book.remove(&key);
        }
        ClusterEvent::KindListed(kind, present) => {
            hint_absent(&mut state, &kind, &present);
            state.book.retain_kind(&kind.group, &kind.kind, &present);
            kinds.0.insert(kind, true);
            is_news = true;
        }
        ClusterEvent::KindUnreadable(kind, _) => {
            kinds.0.insert(kind, true);
        }
    }
    let was_listed = state.kinds_are_listed;
    state.kinds_are_listed = was_listed || kinds.0.values().all(|listed| *listed);
    let begins = state.kinds_are_listed && !was_listed;
    let hinted = hints_before != (state.hints.installs.len(), state.hints.late.len());
    drop(state);
    if is_news || begins {
        shared.session_bell.notify_one();
    }
    if hinted {
        shared.applier_bell.notify_one();
    }
}

/// A held object changed: drift, a removal or a retirement may go on. An object that is not held may be a late one.
fn hint_applied(state: &mut State, object: &Value) {
    let inventory = Arc::clone(&state.inventory);
    let key = key_of(object);
    let Some((install, held)) = holder(&inventory, &key) else {
        if inventory.late_creation(object).is_some() {
            state.hints.late.insert(key);
        }
        return;
    };
    let wanted = held.render.objects.iter().find(|wanted| *wanted.key() == key);
    let is_busy = held.removing.is_some() || !held.retiring.is_empty();
    if is_busy || wanted.is_some_and(|wanted| drift(wanted, object).is_some()) {
        state.hints.installs.insert(install.clone());
    }
}

fn hint_deleted(state: &mut State, key: &ObjectKey) {
    if let Some((install, _)) = holder(&state.inventory, key) {
        let install = install.clone();
        state.hints.installs.insert(install);
    }
}

/// A list does not tell what went away while nobody watched.
fn hint_absent(state: &mut State, kind: &Kind, present: &BTreeSet<ObjectKey>) {
    let of_kind = |key: &&ObjectKey| key.group == kind.group && key.kind == kind.kind;
    let inventory = Arc::clone(&state.inventory);
    for (install, held) in inventory.installs() {
        if held.objects.keys().filter(of_kind).any(|key| !present.contains(key)) {
            state.hints.installs.insert(install.clone());
        }
    }
}

fn holder<'a>(inventory: &'a Inventory, key: &ObjectKey) -> Option<(&'a InstallKey, &'a HeldInstall)> {
    inventory.installs().iter().find(|(_, held)| held.objects.contains_key(key))
}

/// Reads objects that were left out and for which there is room now; returns whether only a new list can tell which.
async fn refill(shared: &Shared, cluster: &dyn ClusterApi) -> bool {
    let refill = {
        let mut state = shared.state();
        if state.book.untracked() == 0 {
            return false;
        }
        state.book.refill()
    };
    for key in refill.read {
        let read = cluster.get(&ResourceRef::any_version(key.clone())).await;
        let mut state = shared.state();
        match read {
            Ok(object) => {
                let status = judge(&object, state.book.limits().text_bytes as usize);
                state.book.upsert(status);
            }
            Err(ClusterError::NotFound) => {
                state.book.remove(&key);
            }
            Err(error) => {
                tracing::debug!(%error, object = %key, "cannot read an object that was left out");
                return false;
            }
        }
    }
    refill.relist
}
