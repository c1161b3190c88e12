//! Installs: an assignment on a cluster.

use serde::Serialize;
use starling_model::{Health, Millis};
use starling_proto::v1;

use super::{Page, Query, View, hex, not_understood, uid};
use crate::failure::Failure;
use crate::hub::Hub;
use crate::render::paint::Paint;
use crate::render::table::{Cell, Column, column, wide_column};

/// What is planned for an assignment on a cluster, and what the agent says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstallView {
    /// The cluster's workspace.
    pub(crate) workspace: String,
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The assignment, `namespace/name`.
    pub(crate) assignment: String,
    /// What it is called in the cluster.
    pub(crate) install: InstallName,
    /// render, keep, blocked, remove or held.
    pub(crate) planned: String,
    /// Why it is kept or blocked; empty otherwise.
    pub(crate) reason: String,
    /// The health of its worst object; null when none was seen.
    pub(crate) health: Option<Health>,
    /// The worst object's message.
    pub(crate) message: String,
    /// The agent's word; null when it gave none.
    pub(crate) report: Option<ReportView>,
}

/// What an install is called in its cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstallName {
    /// The namespace of its Flux objects.
    pub(crate) namespace: String,
    /// The instance's name.
    pub(crate) name: String,
}

/// An agent's word about an install.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReportView {
    /// applying, applied, rejected or removing.
    pub(crate) state: &'static str,
    /// The assignment that the agent recorded.
    pub(crate) assignment_uid: String,
    /// Its name then.
    pub(crate) assignment_name: String,
    /// The digest of what was applied, in hexadecimal.
    pub(crate) render: String,
    /// The revision that it came from, in hexadecimal.
    pub(crate) revision: String,
    /// The era of the fence under which it was recorded.
    pub(crate) recorded_era: u64,
    /// The position of that fence.
    pub(crate) recorded_position: u64,
    /// Why it was rejected; empty otherwise.
    pub(crate) message: String,
    /// How often drift was repaired.
    pub(crate) drift_repairs: u64,
    /// What drifted last; empty when nothing did.
    pub(crate) last_drift: String,
}

impl InstallView {
    /// Returns what a person should read first: why it is held back, what the agent refused, or what Flux says.
    pub(crate) fn note(&self) -> &str {
        let rejected = self.report.as_ref().map_or("", |report| report.message.as_str());
        [self.reason.as_str(), rejected, self.message.as_str()].into_iter().find(|text| !text.is_empty()).unwrap_or("")
    }

    /// Tells whether somebody should look.
    pub(crate) fn is_trouble(&self) -> bool {
        self.planned == "blocked"
            || self.health.is_some_and(Health::is_trouble)
            || self.report.as_ref().is_some_and(|report| report.state == "rejected")
    }

    fn is_wanted(&self, query: &Query) -> bool {
        let is_of_health = query.health.is_empty()
            || self.health.is_some_and(|health| query.health.contains(&health))
            || (query.trouble && self.is_trouble());
        is_of_health && (query.namespace.is_empty() || query.namespace == self.install.namespace)
    }

    fn planned_paint(&self) -> Paint {
        match self.planned.as_str() {
            "blocked" => Paint::Bad,
            "remove" | "keep" | "held" => Paint::Busy,
            _ => Paint::Plain,
        }
    }

    fn from_wire(wire: v1::Install) -> Result<Self, Failure> {
        let key = wire.install.ok_or_else(|| not_understood("an install without a name"))?;
        let health = match wire.health {
            0 => None,
            health => Some(super::health(health)?),
        };
        Ok(Self {
            workspace: wire.workspace,
            cluster: wire.cluster,
            assignment: wire.assignment,
            install: InstallName { namespace: key.namespace, name: key.name },
            planned: wire.planned,
            reason: wire.reason,
            health,
            message: wire.message,
            report: wire.report.map(ReportView::from_wire).transpose()?,
        })
    }
}

impl ReportView {
    fn from_wire(wire: v1::InstallReport) -> Result<Self, Failure> {
        let state = match v1::InstallState::try_from(wire.state) {
            Ok(v1::InstallState::Applying) => "applying",
            Ok(v1::InstallState::Applied) => "applied",
            Ok(v1::InstallState::Rejected) => "rejected",
            Ok(v1::InstallState::Removing) => "removing",
            Ok(v1::InstallState::Unspecified) | Err(_) => {
                return Err(not_understood(&format!("install state {}", wire.state)));
            }
        };
        Ok(Self {
            state,
            assignment_uid: uid(&wire.assignment)?,
            assignment_name: wire.assignment_name,
            render: hex(&wire.render),
            revision: hex(&wire.revision),
            recorded_era: wire.recorded_era,
            recorded_position: wire.recorded_position,
            message: wire.message,
            drift_repairs: wire.drift_repairs,
            last_drift: wire.last_drift,
        })
    }

    fn paint(&self) -> Paint {
        match self.state {
            "applied" => Paint::Good,
            "rejected" => Paint::Bad,
            _ => Paint::Busy,
        }
    }
}

impl View for InstallView {
    const KIND: &'static str = "Install";

    const COLUMNS: &'static [Column] = &[
        column("CLUSTER"),
        column("INSTALL"),
        column("ASSIGNMENT"),
        column("PLANNED"),
        column("STATE"),
        column("HEALTH"),
        wide_column("REVISION"),
        wide_column("DRIFT"),
        wide_column("LAST DRIFT"),
        column("NOTE"),
    ];

    fn cells(&self, _now: Millis) -> Vec<Cell> {
        let report = self.report.as_ref();
        let state = report.map_or_else(|| Cell::plain(""), |report| Cell::painted(report.state, report.paint()));
        let health = self
            .health
            .map_or_else(|| Cell::plain(""), |health| Cell::painted(health.as_str(), Paint::of_health(health)));
        vec![
            Cell::plain(format!("{}/{}", self.workspace, self.cluster)),
            Cell::plain(format!("{}/{}", self.install.namespace, self.install.name)),
            Cell::plain(&self.assignment),
            Cell::painted(&self.planned, self.planned_paint()),
            state,
            health,
            Cell::plain(report.map_or("", |report| report.revision.get(..12).unwrap_or(&report.revision))),
            Cell::plain(report.map_or(0, |report| report.drift_repairs).to_string()),
            Cell::plain(report.map_or("", |report| report.last_drift.as_str())),
            Cell::plain(self.note()),
        ]
    }

    fn reference(&self) -> String {
        // A tombstone and a new incarnation can meet on one key: the assignment tells them apart.
        format!(
            "install/{}/{}/{}/{}/{}",
            self.workspace, self.cluster, self.install.namespace, self.install.name, self.assignment
        )
    }

    fn name(&self) -> &str {
        &self.install.name
    }

    async fn page(hub: &Hub, query: &Query, token: String) -> Result<Page<Self>, Failure> {
        let request = v1::ListInstallsRequest {
            selector: Some(query.cluster_selector()),
            assignment: query.assignment.clone(),
            page: Some(v1::Page { size: 0, token }),
        };
        let answer =
            hub.call(request, |mut client, request| async move { client.list_installs(request).await }).await?;
        let installs: Result<Vec<Self>, Failure> = answer.installs.into_iter().map(Self::from_wire).collect();
        let installs = installs?.into_iter().filter(|install| install.is_wanted(query)).collect();
        Ok(Page::new(installs, answer.next_page_token, query).without(answer.unanswered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(name: &str, planned: &str, health: Option<Health>, state: v1::InstallState) -> InstallView {
        let report = v1::InstallReport { state: state.into(), ..v1::InstallReport::default() };
        InstallView {
            workspace: "retail".into(),
            cluster: "edge-1".into(),
            assignment: "starling-platform/podinfo".into(),
            install: InstallName { namespace: "apps".into(), name: name.into() },
            planned: planned.into(),
            reason: String::new(),
            health,
            message: String::new(),
            report: Some(ReportView::from_wire(report).unwrap()),
        }
    }

    #[test]
    fn trouble_is_more_than_what_flux_says() {
        let installs = [
            install("well", "render", Some(Health::Ready), v1::InstallState::Applied),
            install("failing", "render", Some(Health::Failing), v1::InstallState::Applied),
            install("rejected", "render", Some(Health::Ready), v1::InstallState::Rejected),
            install("blocked", "blocked", None, v1::InstallState::Applied),
        ];
        let wanted = |query: &Query| {
            installs.iter().filter(|install| install.is_wanted(query)).map(View::name).collect::<Vec<_>>()
        };
        let health = Health::ALL.into_iter().filter(|health| health.is_trouble()).collect();
        let of_flux = Query { health, ..Query::default() };
        assert_eq!(wanted(&of_flux), ["failing"]);
        let trouble = Query { trouble: true, ..of_flux };
        assert_eq!(wanted(&trouble), ["failing", "rejected", "blocked"]);
        assert_eq!(wanted(&Query { namespace: "other".into(), ..trouble }), [""; 0]);
        assert_eq!(wanted(&Query::default()).len(), 4);
    }
}
