//! One install's turn: its objects are written, checked or removed, and what came of it is stored.

use starling_agent_core::inventory::{HeldInstall, Inventory, Outcome};
use starling_agent_core::reconcile::Purpose;
use starling_model::{Digest, Fence, InstallKey, InstallState, ObjectKey};
use tracing::Instrument as _;

use super::object::{self, ObjectError, Removed, Written};
use super::stored::Stored;
use super::{Applier, LOOK_AGAIN, Reload};
use crate::cluster::ClusterError;

/// How a turn ended.
#[derive(Default)]
struct Turn {
    outcomes: Vec<Outcome>,
    /// Something is still going; the watch tells, or a later look.
    is_waiting: bool,
    failure: Option<ObjectError>,
}

impl Applier {
    /// Takes an install's turn and stores what came of it.
    pub(super) async fn turn(
        &mut self,
        stored: &mut Stored,
        install: &InstallKey,
        purpose: Purpose,
    ) -> Result<(), Reload> {
        let inventory = stored.inventory();
        let (Some(held), Some(fence)) = (inventory.installs().get(install).cloned(), inventory.acting_fence()) else {
            return Ok(());
        };
        if inventory.detached().is_some() || self.unconfirmed.contains(install) {
            return Ok(());
        }
        let (began, span) = (self.uptime(), self.trace_turn(install));
        let turn = if held.removing.is_some() && !inventory.removable_now().contains(install) {
            // Something that depends on it goes first; its end puts this one on the agenda.
            return Ok(());
        } else if held.removing.is_some() {
            self.remove(install, &held, &fence).instrument(span.clone()).await
        } else if held.is_damaged() {
            // Only the hub can tell what belongs here.
            return Ok(());
        } else {
            let purpose = match held.state {
                InstallState::Applied => purpose,
                InstallState::Applying | InstallState::Rejected | InstallState::Removing => Purpose::Write,
            };
            self.write(install, &held, &fence, purpose).instrument(span.clone()).await
        };
        span.record("outcome", turn.outcome());
        drop(span);
        self.traced(install);
        self.shared.metrics.turn(turn.outcome(), self.uptime().since(began).as_secs_f64());
        self.conclude(stored, install, turn).await
    }

    /// Stores the outcomes, and puts the install on the agenda again where something is left to do.
    async fn conclude(&mut self, stored: &mut Stored, install: &InstallKey, turn: Turn) -> Result<(), Reload> {
        let now = self.uptime();
        let mut next: Inventory = (**stored.inventory()).clone();
        let mut changed = false;
        let mut was_repaired = false;
        for outcome in turn.outcomes {
            if let Outcome::Repaired(what) = &outcome {
                tracing::info!(%install, drift = %what, "drift repaired");
                was_repaired = true;
                self.shared.metrics.drift_repaired.inc();
            }
            changed |= next.complete(install, outcome);
        }
        if changed {
            stored.swap(next).await?;
            self.shared.adopt(stored.inventory());
        }
        if !stored.inventory().installs().contains_key(install) {
            tracing::info!(%install, "install removed");
            for waiting in stored.inventory().removable_now() {
                self.agenda.mark(&waiting, Purpose::Repair, now);
            }
            self.agenda.retain(|known| known != install);
            return Ok(());
        }
        if was_repaired {
            // Whoever changes it again at once meets a wait that grows, not a busy loop.
            self.agenda.set_back(install, now);
        }
        if turn.is_waiting {
            self.agenda.mark(install, Purpose::Repair, now.plus(LOOK_AGAIN));
        }
        let Some(failure) = turn.failure else { return Ok(()) };
        let wait = self.agenda.set_back(install, now);
        tracing::warn!(%install, error = %failure, retry_seconds = wait.as_secs(), "install is not as it should be");
        self.agenda.mark(install, Purpose::Write, now);
        match failure {
            ObjectError::Superseded(message) => Err(Reload::Superseded(message)),
            ObjectError::Rejected(_) | ObjectError::Unavailable(_) => Ok(()),
        }
    }

    async fn write(&self, install: &InstallKey, held: &HeldInstall, fence: &Fence, purpose: Purpose) -> Turn {
        let mut turn = Turn::default();
        let digest = held.render.digest;
        if let Err(error) = self.cluster.ensure_namespace(&install.namespace).await {
            turn.fail(digest, namespace_error(&install.namespace, error));
            return turn;
        }
        for object in &held.render.objects {
            let known_uid = held.objects.get(object.key()).and_then(Option::as_deref);
            match object::write(&*self.cluster, object, fence, known_uid, purpose).await {
                Ok(Written::Done { uid, repaired }) => {
                    turn.outcomes.push(Outcome::Written(object.key().clone(), uid));
                    turn.outcomes.extend(repaired.map(Outcome::Repaired));
                }
                Ok(Written::Wait) => {
                    turn.is_waiting = true;
                    return turn;
                }
                Err(error) => {
                    turn.fail(digest, error);
                    return turn;
                }
            }
        }
        turn.outcomes.push(Outcome::Applied(digest));
        if !held.retiring.is_empty() {
            self.retire(install, held, fence, &mut turn).await;
        }
        turn
    }

    /// Removes what earlier revisions had, once everything of this one is Ready.
    async fn retire(&self, install: &InstallKey, held: &HeldInstall, fence: &Fence, turn: &mut Turn) {
        match object::all_ready(&*self.cluster, held).await {
            Ok(true) => {}
            Ok(false) => {
                turn.is_waiting = true;
                return;
            }
            Err(error) => {
                turn.failure = Some(error);
                return;
            }
        }
        self.remove_stages(held.retirement_stages(), install, held, fence, turn, Outcome::Retired).await;
    }

    /// Carries out a tombstone.
    async fn remove(&self, install: &InstallKey, held: &HeldInstall, fence: &Fence) -> Turn {
        let mut turn = Turn::default();
        self.remove_stages(held.removal_stages(), install, held, fence, &mut turn, Outcome::Gone).await;
        let stuck = match &turn.failure {
            Some(ObjectError::Rejected(message)) => message.clone(),
            Some(ObjectError::Superseded(_) | ObjectError::Unavailable(_)) | None => String::new(),
        };
        turn.outcomes.push(Outcome::Stuck(stuck));
        turn
    }

    /// Removes stage by stage, each once everything of the one before is gone.
    async fn remove_stages(
        &self,
        stages: Vec<Vec<ObjectKey>>,
        install: &InstallKey,
        held: &HeldInstall,
        fence: &Fence,
        turn: &mut Turn,
        gone: fn(ObjectKey) -> Outcome,
    ) {
        let owners = held.owners();
        for stage in stages {
            for key in stage {
                match object::remove(&*self.cluster, &key, &owners, &install.name, fence).await {
                    Ok(Removed::Gone) => turn.outcomes.push(gone(key)),
                    Ok(Removed::Wait) => turn.is_waiting = true,
                    Err(error) => turn.failure = Some(error),
                }
            }
            if turn.is_waiting || turn.failure.is_some() {
                return;
            }
        }
    }
}

impl Turn {
    /// Names how it ended, one of [`crate::metrics::OUTCOMES`].
    fn outcome(&self) -> &'static str {
        match &self.failure {
            Some(ObjectError::Rejected(_)) => "rejected",
            Some(ObjectError::Unavailable(_)) => "unavailable",
            Some(ObjectError::Superseded(_)) => "superseded",
            None if self.is_waiting => "waiting",
            None => "done",
        }
    }

    /// Notes a failure; what the API server refused is reported to the hub.
    fn fail(&mut self, render: Digest, error: ObjectError) {
        match &error {
            ObjectError::Rejected(message) | ObjectError::Superseded(message) => {
                self.outcomes.push(Outcome::Rejected(render, message.clone()));
            }
            ObjectError::Unavailable(_) => {}
        }
        self.failure = Some(error);
    }
}

fn namespace_error(namespace: &str, error: ClusterError) -> ObjectError {
    match error {
        ClusterError::Unavailable(message) => ObjectError::Unavailable(message),
        error @ (ClusterError::NotFound | ClusterError::Conflict(_) | ClusterError::Rejected(_)) => {
            ObjectError::Rejected(format!("namespace {namespace}: {error}"))
        }
    }
}
