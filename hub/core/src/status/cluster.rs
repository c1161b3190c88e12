//! The status of a ManagedCluster.

use std::fmt::Write as _;

use starling_model::Health;

use super::HeardCluster;
use super::conditions::{Draft, kept};
use super::judge::{Judge, Subject};
use super::time::rfc3339;
use crate::records::ClusterStage;
use crate::resources::status::{CONNECTED, ClusterFacts, ClusterStatus, Condition, READY};
use crate::resources::{InputKey, ManagedCluster};

/// The state of a cluster's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Pending,
    Connecting,
    Live,
    Paused,
    Disconnected,
    Quarantined,
    Revoked,
    Removing,
    Detaching,
}

pub(super) fn fill(
    judge: &Judge<'_>,
    key: &InputKey,
    subject: &Subject<'_>,
    document: &ManagedCluster,
    status: &mut ClusterStatus,
    present: &[Condition],
) -> Vec<Condition> {
    let id = document.id(judge.fleet.name());
    status.id = id.to_string();
    let is_the_cluster = judge.fleet.cluster(id).is_some_and(|cluster| cluster.record.resource.key() == *key);
    if !is_the_cluster {
        // What the cluster says belongs to the document that has it.
        *status =
            ClusterStatus { uid: std::mem::take(&mut status.uid), id: id.to_string(), ..ClusterStatus::default() };
        return Vec::new();
    }
    let heard = judge.heard.get(&id);
    let stage = judge.fleet.identity(id).map(|record| record.stage);
    let connection = connection(document, stage, heard);
    if !judge.settled && is_coming_back(connection, status) {
        return kept(present, &[CONNECTED, READY]).collect();
    }
    if connection == Connection::Pending {
        // Whoever is not there has nothing.
        let uid = std::mem::take(&mut status.uid);
        *status = ClusterStatus { uid, id: id.to_string(), ..ClusterStatus::default() };
    }
    connection.as_str().clone_into(&mut status.connection);
    if let Some(heard) = heard.filter(|heard| heard.last_seen.0 > 0) {
        tell(heard, status);
    }
    let problem = heard.and_then(|heard| heard.problem.as_deref());
    let drafts = [connected(connection, problem), ready(connection, heard, judge.hold)];
    drafts.into_iter().map(|draft| draft.settle(present, subject.generation, judge.now)).collect()
}

/// Tells whether a cluster was connected before this process started, and has not had the time to be so again.
fn is_coming_back(connection: Connection, status: &ClusterStatus) -> bool {
    let was_connected =
        matches!(status.connection.as_str(), "live" | "paused" | "connecting" | "detaching" | "removing");
    was_connected && matches!(connection, Connection::Disconnected | Connection::Connecting | Connection::Pending)
}

fn connection(document: &ManagedCluster, stage: Option<ClusterStage>, heard: Option<&HeardCluster>) -> Connection {
    let connected = heard.is_some_and(|heard| heard.connected);
    if document.spec.revoked {
        return Connection::Revoked;
    }
    if heard.is_some_and(|heard| heard.quarantined) {
        return Connection::Quarantined;
    }
    match stage {
        Some(ClusterStage::Removing { .. }) => return Connection::Removing,
        Some(ClusterStage::Detaching { .. }) => return Connection::Detaching,
        Some(ClusterStage::Detached { .. }) => return Connection::Pending,
        None if !connected => return Connection::Pending,
        Some(ClusterStage::Attached) | None => {}
    }
    if !connected {
        return Connection::Disconnected;
    }
    if document.spec.paused {
        return Connection::Paused;
    }
    if heard.is_some_and(|heard| heard.standing.live) { Connection::Live } else { Connection::Connecting }
}

fn tell(heard: &HeardCluster, status: &mut ClusterStatus) {
    let facts = &heard.facts;
    status.last_seen_time = Some(rfc3339(heard.last_seen));
    status.agent_version.clone_from(&heard.agent_version);
    status.facts = Some(ClusterFacts {
        kubernetes_version: facts.kubernetes_version.clone(),
        flux_version: facts.flux_version.clone(),
        nodes: i64::from(facts.nodes),
        platform: facts.platform.clone(),
    });
    let counted = heard.health.iter().filter(|(_, number)| *number > 0);
    status.health = counted.map(|(health, number)| (health.as_str().to_owned(), i64::from(number))).collect();
    status.installs = Some(i64::from(heard.standing.installs));
    status.installs_ready = Some(i64::from(heard.standing.installs_ready));
}

fn connected(connection: Connection, problem: Option<&str>) -> Draft {
    let with = |text: &str| problem.map_or_else(|| text.to_owned(), |problem| format!("{text}: {problem}"));
    match connection {
        Connection::Live | Connection::Connecting | Connection::Paused => {
            Draft::is(CONNECTED, "SessionOpen", with("the agent's session is open"))
        }
        Connection::Pending => {
            let text = "no agent has joined yet: `starling adopt cluster` makes the command that it joins with";
            Draft::is_not(CONNECTED, "NotJoined", with(text))
        }
        Connection::Disconnected => {
            let text = "the agent's session ended; the cluster keeps what it has";
            Draft::is_not(CONNECTED, "NotHeard", with(text))
        }
        Connection::Quarantined => {
            Draft::is_not(CONNECTED, "Quarantined", with("more than one cluster claims this identity"))
        }
        Connection::Revoked => {
            Draft::is_not(CONNECTED, "Revoked", with("spec.revoked is set: the identity is refused"))
        }
        Connection::Removing => {
            Draft::unknown(CONNECTED, "Removing", with("the cluster is being detached: what it holds is removed first"))
        }
        Connection::Detaching => Draft::unknown(CONNECTED, "Detaching", with("the cluster is being detached")),
    }
}

fn ready(connection: Connection, heard: Option<&HeardCluster>, hold: Option<&str>) -> Draft {
    match connection {
        Connection::Pending => return Draft::is_not(READY, "NotJoined", "no agent has joined yet"),
        Connection::Disconnected => {
            return Draft::unknown(READY, "NotHeard", "the agent's session ended: what is there now is not known");
        }
        Connection::Quarantined | Connection::Revoked | Connection::Removing | Connection::Detaching => {
            return Draft::is_not(READY, connection.reason(), "the cluster is not worked with");
        }
        Connection::Live | Connection::Connecting | Connection::Paused => {}
    }
    let Some(heard) = heard else { return Draft::unknown(READY, "NotHeard", "the agent was not heard yet") };
    let standing = heard.standing;
    if standing.ready {
        let all = if standing.installs == 1 {
            "its install is".to_owned()
        } else {
            format!("all {} installs are", standing.installs)
        };
        return Draft::is(READY, "InstallsReady", format!("{all} applied, with every Flux object ready"));
    }
    if !standing.live {
        let text = hold.map_or_else(
            || "the agent has yet to confirm its plan and to tell what is there".to_owned(),
            |reason| format!("nothing moves: {reason}"),
        );
        return Draft::is_not(READY, if hold.is_some() { "FleetHolds" } else { "Connecting" }, text);
    }
    let missing = standing.installs.saturating_sub(standing.installs_ready);
    let mut text = format!("{missing} of {} installs are not ready", standing.installs);
    if standing.blocked > 0 {
        let _ = write!(text, ", {} of them cannot be installed here", standing.blocked);
    }
    let trouble: u32 = heard.health.iter().filter(|(health, _)| health.is_trouble()).map(|(_, number)| number).sum();
    if trouble > 0 {
        let _ = write!(text, "; {trouble} Flux objects are {}", Health::Failing);
    }
    Draft::is_not(READY, if standing.blocked > 0 { "InstallsBlocked" } else { "InstallsNotReady" }, text)
}

impl Connection {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Paused => "paused",
            Self::Disconnected => "disconnected",
            Self::Quarantined => "quarantined",
            Self::Revoked => "revoked",
            Self::Removing => "removing",
            Self::Detaching => "detaching",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Pending => "NotJoined",
            Self::Connecting => "Connecting",
            Self::Live => "Live",
            Self::Paused => "Paused",
            Self::Disconnected => "NotHeard",
            Self::Quarantined => "Quarantined",
            Self::Revoked => "Revoked",
            Self::Removing => "Removing",
            Self::Detaching => "Detaching",
        }
    }
}
