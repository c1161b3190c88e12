//! Assignments of addons.

use serde::Serialize;
use starling_model::Millis;
use starling_proto::v1;

use super::{Page, Query, View, uid};
use crate::failure::Failure;
use crate::hub::Hub;
use crate::render::age::{Moment, age_or_dash};
use crate::render::paint::Paint;
use crate::render::table::{Cell, Column, column, wide_column};

/// An assignment with its counts over the fleet.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssignmentView {
    /// The platform namespace or a workspace.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
    /// This incarnation of it.
    pub(crate) uid: String,
    /// The addon, `namespace/name`.
    pub(crate) addon: String,
    /// The addon's version.
    pub(crate) version: String,
    /// The digest of the newest revision.
    pub(crate) revision: String,
    /// What its installs are called.
    pub(crate) instance: String,
    /// Which clusters it selects.
    pub(crate) selector: String,
    /// Clusters that it selects.
    pub(crate) selected: u64,
    /// Of these, applied at the newest revision.
    pub(crate) applied: u64,
    /// Of these, Ready.
    pub(crate) ready: u64,
    /// Of the selected, failing.
    pub(crate) failing: u64,
    /// Of the selected, blocked.
    pub(crate) blocked: u64,
    /// When it was made; null when unknown.
    pub(crate) created: Option<Moment>,
    /// Why it waits or is blocked everywhere; empty when nothing is wrong.
    pub(crate) problem: String,
    /// The file that declared it has vanished.
    pub(crate) source_missing: bool,
}

impl AssignmentView {
    fn from_wire(wire: v1::Assignment) -> Result<Self, Failure> {
        Ok(Self {
            uid: uid(&wire.uid)?,
            namespace: wire.namespace,
            name: wire.name,
            addon: wire.addon,
            version: wire.version,
            revision: wire.revision,
            instance: wire.instance,
            selector: wire.selector,
            selected: wire.selected,
            applied: wire.applied,
            ready: wire.ready,
            failing: wire.failing,
            blocked: wire.blocked,
            created: Moment::from_wire(wire.created_millis),
            problem: wire.problem,
            source_missing: wire.source_missing,
        })
    }

    fn note(&self) -> String {
        match (self.problem.is_empty(), self.source_missing) {
            (true, true) => format!(
                "source missing; `starling delete assignment {} -w {}` would settle it",
                self.name, self.namespace
            ),
            (false, _) => self.problem.clone(),
            (true, false) => String::new(),
        }
    }
}

impl View for AssignmentView {
    const KIND: &'static str = "Assignment";

    const COLUMNS: &'static [Column] = &[
        column("WORKSPACE"),
        column("NAME"),
        column("ADDON"),
        column("VERSION"),
        column("SELECTED"),
        column("APPLIED"),
        column("READY"),
        column("FAILING"),
        column("BLOCKED"),
        column("AGE"),
        wide_column("INSTANCE"),
        wide_column("SELECTOR"),
        wide_column("REVISION"),
        wide_column("UID"),
        column("NOTE"),
    ];

    fn cells(&self, now: Millis) -> Vec<Cell> {
        vec![
            Cell::plain(&self.namespace),
            Cell::plain(&self.name),
            Cell::plain(&self.addon),
            Cell::plain(&self.version),
            Cell::plain(self.selected.to_string()),
            Cell::share(self.applied, self.selected),
            Cell::share(self.ready, self.selected),
            Cell::trouble(self.failing, Paint::Bad),
            Cell::trouble(self.blocked, Paint::Busy),
            Cell::plain(age_or_dash(self.created, now)),
            Cell::plain(&self.instance),
            Cell::plain(&self.selector),
            Cell::plain(&self.revision),
            Cell::plain(&self.uid),
            Cell::plain(self.note()),
        ]
    }

    fn reference(&self) -> String {
        format!("assignment/{}/{}", self.namespace, self.name)
    }

    fn name(&self) -> &str {
        &self.name
    }

    async fn page(hub: &Hub, query: &Query, _token: String) -> Result<Page<Self>, Failure> {
        let request = v1::ListAssignmentsRequest { namespace: query.workspace.clone() };
        let answer =
            hub.call(request, |mut client, request| async move { client.list_assignments(request).await }).await?;
        let assignments: Result<Vec<Self>, Failure> = answer.assignments.into_iter().map(Self::from_wire).collect();
        Ok(Page::new(assignments?, String::new(), query).without(answer.unanswered))
    }
}
