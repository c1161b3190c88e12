//! The people who use the hub: they adopt, delete, approve and recover, and try again when the hub was away.
//!
//! They work beside the hub's process, so a crash of it takes their request along; what they want is kept in the world.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use starling_hub::source::own_file;
use starling_hub_core::records::{ClusterStage, ProposalKind};
use starling_hub_core::resources::{InputKey, Kind, Resource};
use starling_hub_core::steward::{Adopt, Answer, Approve, Delete, Detach, DetachStage, Recover, Refusal, Request};
use starling_model::{ErrorCode, Millis};
use tokio::time::sleep;

use crate::cluster::Flaw;
use crate::documents::{Slot, WORKSPACE, labels};
use crate::random::Random;
use crate::world::{FLEET, LiveHub, Wish, World};

/// Who acts, for the audit record.
const ACTOR: &str = "simulation";

/// How often somebody looks.
const LOOK: Duration = Duration::from_millis(300);

/// How long a cluster is away before it is adopted again: longer than agents wait that were refused.
const AWAY: Duration = Duration::from_secs(130);

/// How long to wait after a refusal.
const AGAIN: Duration = Duration::from_secs(1);

/// Works as long as the hub's process lives.
pub(crate) async fn work(world: Arc<World>, hub: LiveHub, draws: Random) {
    let mut person = Person { world, hub, draws, held_since: None, away_since: BTreeMap::new() };
    loop {
        sleep(LOOK).await;
        if person.world.decides().host.is_some_and(|host| host != person.hub.host) {
            continue;
        }
        person.look_after_hold().await;
        let wish = person.world.people().wishes.front().copied();
        if let Some(wish) = wish {
            match person.carry_out(wish).await {
                Ok(()) => drop(person.world.people().wishes.pop_front()),
                Err(refusal) => {
                    person.note(format!("{wish:?} refused: {refusal}"));
                    sleep(AGAIN).await;
                }
            }
        } else if person.world.people().settling {
            person.settle().await;
        }
    }
}

struct Person {
    world: Arc<World>,
    hub: LiveHub,
    draws: Random,
    held_since: Option<Duration>,
    /// Since when a cluster is away, by its number.
    away_since: BTreeMap<usize, Duration>,
}

impl Person {
    /// Recovers the store some time after the alarm.
    async fn look_after_hold(&mut self) {
        let now = turmoil::sim_elapsed().unwrap_or_default();
        let Some(reason) = self.hub.hold.reason() else {
            self.held_since = None;
            return;
        };
        let since = *self.held_since.get_or_insert(now);
        if now < since + Duration::from_millis(self.draws.within(4_000..12_000)) {
            return;
        }
        let shown = [self.hub.shard.newest_shown_fence(), self.world.decides().shown];
        let shown = shown.into_iter().flatten().max_by_key(|fence| (fence.era.number, fence.position));
        let recover = Recover {
            fleet: FLEET.into(),
            mark: self.hub.keyring.mark().mark().map(|mark| (mark.era, mark.reserved)),
            shown,
        };
        match self.ask(Request::Recover(recover)).await {
            Ok(answer) => {
                self.note(format!("recovered from {reason:?}: {answer:?}"));
                self.world.people().recoveries += 1;
            }
            Err(refusal) => self.note(format!("recovery refused: {refusal}")),
        }
    }

    async fn carry_out(&mut self, wish: Wish) -> Result<(), Refusal> {
        match wish {
            Wish::Adopt(number) => self.adopt(number, labels(number % 2)).await,
            Wish::Delete(slot) => self.delete(slot).await,
            Wish::Leave(number) => self.leave(number).await,
            Wish::Approve => self.approve().await,
        }
    }

    async fn adopt(&self, number: usize, labels: BTreeMap<String, String>) -> Result<(), Refusal> {
        let name = &*self.world.clusters[number].name;
        let key = InputKey::new(Kind::ManagedCluster, WORKSPACE, name);
        let expires = Millis(0).plus(crate::ports::EPOCH + Duration::from_secs(24 * 3600));
        let adopt = Adopt { workspace: WORKSPACE.into(), name: name.to_owned(), labels, expires, file: own_file(&key) };
        if let Answer::Adopted(adopted) = self.ask(Request::Adopt(adopt)).await? {
            self.note(format!("adopted {name}"));
            self.world.evidence().mean_staying(adopted.cluster);
            let is_there = self.world.documents().has(&key);
            if is_there {
                // It has left before, and its document stands for it again.
                self.world.documents().read_again();
            } else {
                self.world.documents().put(adopted.file, adopted.document);
            }
            fs::write(self.world.token(name), adopted.token.reveal()).expect("write a token");
        }
        Ok(())
    }

    /// Deletes as `starling delete` does: the count is shown, then confirmed; then the document goes.
    async fn delete(&mut self, slot: &Slot) -> Result<(), Refusal> {
        let key = slot.key();
        let shown = self.ask(Request::Delete(Delete { key: key.clone(), approved_count: None })).await;
        match shown {
            Ok(Answer::Deletion(shown)) => {
                if let Some(uid) = shown.uid.filter(|_| self.world.flaw != Flaw::DeletesUnmeant) {
                    self.world.evidence().mean_deletion(uid);
                }
                self.dawdle().await;
                let confirmed = Delete { key: key.clone(), approved_count: Some(shown.installs) };
                self.ask(Request::Delete(confirmed)).await?;
                self.note(format!("deleted {} from {} clusters", slot.name, shown.installs));
            }
            Ok(_) => {}
            // An attempt before this one got that far.
            Err(refusal) if refusal.code == ErrorCode::NotFound => {}
            Err(refusal) => return Err(refusal),
        }
        self.dawdle().await;
        self.world.documents().remove(&key);
        Ok(())
    }

    /// Detaches a cluster as `starling detach cluster --delete` does: the count is shown, then confirmed.
    async fn leave(&mut self, number: usize) -> Result<(), Refusal> {
        let name = self.world.clusters[number].name.clone();
        let ask = |approved_count| {
            let (workspace, name) = (WORKSPACE.into(), name.clone());
            Request::Detach(Detach { workspace, name, delete: true, approved_count, ..Detach::default() })
        };
        let installs = match self.ask(ask(None)).await {
            Ok(Answer::Detached { stage: DetachStage::Asked { installs }, .. }) => installs,
            Ok(_) => return Ok(()),
            // An attempt before this one got that far.
            Err(refusal) if refusal.code == ErrorCode::NotFound => return Ok(()),
            Err(refusal) => return Err(refusal),
        };
        self.world.evidence().mean_emptying(self.world.clusters[number].id);
        self.dawdle().await;
        let answer = self.ask(ask(Some(installs))).await?;
        self.note(format!("{} leaves with {installs} installs: {answer:?}", self.world.clusters[number].name));
        Ok(())
    }

    async fn approve(&mut self) -> Result<(), Refusal> {
        let fleet = Arc::clone(&self.hub.fleet.borrow());
        for proposal in fleet.proposals() {
            if let ProposalKind::Deselect | ProposalKind::Renew(_) = proposal.kind {
                let mut evidence = self.world.evidence();
                for cluster in &proposal.clusters.0 {
                    evidence.mean_deselection(proposal.assignment, *cluster);
                }
            }
            if let ProposalKind::Renew(_) | ProposalKind::Delete = proposal.kind {
                self.world.evidence().mean_deletion(proposal.assignment);
            }
            let approve = Approve { proposal: proposal.id, count: self.world.clusters.len() as u64 };
            match self.ask(Request::Approve(approve)).await {
                Ok(_) => self.note(format!("approved {} of {}", proposal.kind.as_str(), proposal.name)),
                // It was withdrawn meanwhile.
                Err(refusal) if refusal.code == ErrorCode::NotFound => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(())
    }

    /// Approves whatever waits, and deletes what has lost its document for good.
    async fn settle(&mut self) {
        if let Err(refusal) = self.approve().await {
            self.note(format!("approval refused: {refusal}"));
        }
        let fleet = Arc::clone(&self.hub.fleet.borrow());
        for record in fleet.inputs_of(Kind::AddonAssignment).filter(|record| record.missing.is_some()) {
            let Resource::AddonAssignment(document) = &record.resource else { continue };
            let slot = crate::documents::SLOTS.iter().find(|slot| slot.name == document.metadata.name);
            let key = record.resource.key();
            if let Some(slot) = slot.filter(|_| !self.world.documents().has(&key))
                && let Err(refusal) = self.delete(slot).await
            {
                self.note(format!("deletion refused: {refusal}"));
            }
        }
        for number in 0..self.world.clusters.len() {
            let id = self.world.clusters[number].id;
            let is_stuck = matches!(fleet.stage(id), ClusterStage::Removing { .. })
                && self.hub.shard.installs(&id).iter().any(|install| install.report.is_some() && !install.removal);
            if is_stuck && let Err(refusal) = self.leave(number).await {
                self.note(format!("leaving refused: {refusal}"));
            }
            self.look_after_absent(number).await;
        }
        sleep(AGAIN).await;
    }

    /// Adopts a cluster again that has been away for long: a restored store may have forgotten its key.
    async fn look_after_absent(&mut self, number: usize) {
        let now = turmoil::sim_elapsed().unwrap_or_default();
        let view = self.hub.gather.view(self.world.clusters[number].id).await;
        if view.is_some_and(|view| view.connected) {
            self.away_since.remove(&number);
        } else if now >= *self.away_since.entry(number).or_insert(now) + AWAY {
            self.away_since.remove(&number);
            if let Err(refusal) = self.adopt(number, BTreeMap::new()).await {
                self.note(format!("adoption refused: {refusal}"));
            }
        }
    }

    /// Takes a person's time, in which a process may die.
    async fn dawdle(&mut self) {
        let wait = self.draws.within(0..800);
        sleep(Duration::from_millis(wait)).await;
    }

    async fn ask(&self, request: Request) -> Result<Answer, Refusal> {
        self.hub.steward.submit(ACTOR, request).await
    }

    fn note(&self, what: String) {
        self.world.trace.note(&self.hub.host, what);
    }
}
