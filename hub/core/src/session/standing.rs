//! What makes a cluster live, and what makes it ready.

use serde::{Deserialize, Serialize};
use starling_model::{Action, Digest, Entry, Health, InstallState, Uid};

use crate::index::HealthCounts;

/// How far one install of a plan came on its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstallStanding {
    /// The plan cannot render it.
    Blocked,
    /// The API server refused an object of it.
    Rejected,
    /// It is applied, and Flux reports trouble.
    Failing,
    /// The agent has not reported it, or reports another render.
    Waiting,
    /// The agent is at it.
    Applying,
    /// It is applied, and not all of its Flux objects are ready yet.
    Applied,
    /// The plan keeps what is held.
    Kept,
    /// It is applied, and all of its Flux objects are ready.
    Ready,
}

/// What is known of a cluster's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// A session is open.
    pub open: bool,
    /// The first snapshot is indexed, or the digests of Hello were those of the index.
    pub complete: bool,
    /// The digest of the newest plan that the agent confirmed.
    pub confirmed: Option<Digest>,
}

/// A cluster's installs by how far they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStanding {
    /// Session open, plan confirmed, first snapshot indexed.
    pub live: bool,
    /// Live, no install of the plan is blocked, and every install that it renders is ready.
    pub ready: bool,
    /// Installs of the plan.
    pub installs: u32,
    /// Of these, ready.
    pub installs_ready: u32,
    /// Of these, blocked.
    pub blocked: u32,
    /// Of these, with an object that the API server refused.
    pub rejected: u32,
    /// Of these, applied and in trouble.
    pub failing: u32,
    /// Of these, not reported in the planned render.
    pub waiting: u32,
    /// Of these, being applied.
    pub applying: u32,
    /// Of these, applied and not ready yet.
    pub applied: u32,
    /// Of these, kept as they are.
    pub kept: u32,
}

/// Tells whether a cluster is live: what it has is what it should have, as far as messages can tell.
#[must_use]
pub fn is_live(connection: Connection, plan_digest: &Digest) -> bool {
    connection.open && connection.complete && connection.confirmed == Some(*plan_digest)
}

/// Judges one install; `progress` is the agent's report of it, `counts` are over the objects of its assignment there.
#[must_use]
pub fn judge_install(
    entry: &Entry,
    progress: Option<(InstallState, Digest, Uid)>,
    counts: &HealthCounts,
) -> InstallStanding {
    let render = match &entry.action {
        Action::Render(render) => render,
        Action::Keep(_) => return InstallStanding::Kept,
        Action::Blocked(_) => return InstallStanding::Blocked,
    };
    let Some((state, held, assignment)) = progress else { return InstallStanding::Waiting };
    if held != render.digest || assignment != entry.assignment {
        return InstallStanding::Waiting;
    }
    match state {
        InstallState::Rejected => InstallStanding::Rejected,
        InstallState::Applying | InstallState::Removing => InstallStanding::Applying,
        InstallState::Applied if counts.iter().any(|(health, count)| health.is_trouble() && count > 0) => {
            InstallStanding::Failing
        }
        InstallState::Applied => {
            let flux_objects = render.objects.iter().filter(|object| is_flux(&object.key().group)).count() as u64;
            let settled = u64::from(counts.get(Health::Ready)) + u64::from(counts.get(Health::None));
            // An object that was written and not seen yet is not ready.
            if settled == counts.total() && settled >= flux_objects {
                InstallStanding::Ready
            } else {
                InstallStanding::Applied
            }
        }
    }
}

/// Sums up a cluster from the standing of each of its plan's entries.
#[must_use]
pub fn sum_up(live: bool, installs: impl Iterator<Item = InstallStanding>) -> ClusterStanding {
    let mut sum = ClusterStanding { live, ..ClusterStanding::default() };
    for standing in installs {
        sum.installs += 1;
        match standing {
            InstallStanding::Ready => sum.installs_ready += 1,
            InstallStanding::Blocked => sum.blocked += 1,
            InstallStanding::Kept => sum.kept += 1,
            InstallStanding::Rejected => sum.rejected += 1,
            InstallStanding::Failing => sum.failing += 1,
            InstallStanding::Waiting => sum.waiting += 1,
            InstallStanding::Applying => sum.applying += 1,
            InstallStanding::Applied => sum.applied += 1,
        }
    }
    let unready = [sum.rejected, sum.failing, sum.waiting, sum.applying, sum.applied];
    // What cannot be rendered is not ready either: nobody should take the cluster for complete.
    sum.ready = live && sum.blocked == 0 && unready == [0; 5];
    sum
}

fn is_flux(group: &str) -> bool {
    group.ends_with(".fluxcd.io")
}

impl InstallStanding {
    /// Tells whether all objects of the planned render are written.
    #[must_use]
    pub fn is_applied(self) -> bool {
        match self {
            Self::Failing | Self::Applied | Self::Ready => true,
            Self::Blocked | Self::Rejected | Self::Waiting | Self::Applying | Self::Kept => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use starling_model::plan::Render;
    use starling_model::{InstallKey, KeepReason, Object, Value};

    use super::*;

    const UID: Uid = Uid([1; 16]);

    fn entry(action: Action) -> Entry {
        Entry {
            install: InstallKey::new("starling-addons", "podinfo"),
            assignment: UID,
            assignment_name: "team/podinfo".into(),
            revision: Digest::default(),
            action,
        }
    }

    fn render() -> Arc<Render> {
        let object = |api: &str, kind: &str| {
            let metadata = Value::map([("name", "podinfo"), ("namespace", "starling-addons")]);
            let document =
                Value::map([("apiVersion", Value::from(api)), ("kind", kind.into()), ("metadata", metadata)]);
            Object::new(document).unwrap()
        };
        let release = object("helm.toolkit.fluxcd.io/v2", "HelmRelease");
        Arc::new(Render::new(vec![object("source.toolkit.fluxcd.io/v1", "OCIRepository"), release], vec![]))
    }

    fn counts(healths: &[Health]) -> HealthCounts {
        let mut counts = HealthCounts::default();
        healths.iter().for_each(|health| counts.add(*health));
        counts
    }

    #[test]
    fn an_install_is_ready_when_all_of_it_is() {
        let render = render();
        let digest = render.digest;
        let entry = entry(Action::Render(render));
        let applied = Some((InstallState::Applied, digest, UID));
        let judge = |progress, healths: &[Health]| judge_install(&entry, progress, &counts(healths));
        assert_eq!(judge(None, &[]), InstallStanding::Waiting);
        assert_eq!(judge(Some((InstallState::Applied, Digest([9; 32]), UID)), &[]), InstallStanding::Waiting);
        assert_eq!(judge(Some((InstallState::Applied, digest, Uid([9; 16]))), &[]), InstallStanding::Waiting);
        assert_eq!(judge(Some((InstallState::Applying, digest, UID)), &[]), InstallStanding::Applying);
        assert_eq!(judge(applied, &[]), InstallStanding::Applied);
        assert_eq!(judge(applied, &[Health::Ready]), InstallStanding::Applied);
        assert_eq!(judge(applied, &[Health::Ready, Health::Progressing]), InstallStanding::Applied);
        assert_eq!(judge(applied, &[Health::Ready, Health::Ready]), InstallStanding::Ready);
        assert_eq!(judge(applied, &[Health::Ready, Health::FailingRetrying]), InstallStanding::Failing);
    }

    #[test]
    fn a_kept_install_does_not_keep_a_cluster_from_being_ready_and_a_blocked_one_does() {
        let kept = judge_install(&entry(Action::Keep(KeepReason::ClusterPaused)), None, &HealthCounts::default());
        let sum = sum_up(true, [kept, InstallStanding::Ready].into_iter());
        let known = ClusterStanding { live: true, installs_ready: 1, kept: 1, ..ClusterStanding::default() };
        assert_eq!(sum, ClusterStanding { ready: true, installs: 2, ..known });
        let sum = sum_up(true, [kept, InstallStanding::Blocked, InstallStanding::Ready].into_iter());
        assert_eq!(sum, ClusterStanding { installs: 3, blocked: 1, ..known });
        assert!(
            !sum_up(false, std::iter::empty()).ready && !sum_up(true, [InstallStanding::Waiting].into_iter()).ready
        );
    }

    #[test]
    fn live_needs_session_snapshot_and_confirmation() {
        let digest = Digest([1; 32]);
        let live = Connection { open: true, complete: true, confirmed: Some(digest) };
        assert!(is_live(live, &digest) && !is_live(live, &Digest([2; 32])));
        for not in [
            Connection { open: false, ..live },
            Connection { complete: false, ..live },
            Connection { confirmed: None, ..live },
        ] {
            assert!(!is_live(not, &digest));
        }
    }
}
