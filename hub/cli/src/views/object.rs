//! Flux objects of the fleet.

use serde::Serialize;
use starling_model::{Health, Millis};
use starling_proto::v1;

use super::{Page, Query, View, health, not_understood, uid};
use crate::failure::Failure;
use crate::hub::Hub;
use crate::render::age::{Moment, age_or_dash};
use crate::render::paint::Paint;
use crate::render::table::{Cell, Column, column, wide_column};

/// A Flux object of one cluster, as its agent judged it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ObjectView {
    /// The cluster's workspace.
    pub(crate) workspace: String,
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The cluster's identity.
    pub(crate) cluster_id: String,
    /// The API group.
    pub(crate) group: String,
    /// The kind.
    pub(crate) kind: String,
    /// The namespace in the cluster; empty when cluster-scoped.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
    /// The judgement.
    pub(crate) health: Health,
    /// Flux's machine-readable reason.
    pub(crate) reason: String,
    /// Flux's message.
    pub(crate) message: String,
    /// The source revision or chart version that is applied.
    pub(crate) revision: String,
    /// `metadata.generation`.
    pub(crate) generation: u64,
    /// Since when it has this health.
    pub(crate) since: Option<Moment>,
    /// Since when its agent has not been heard; null while it is.
    pub(crate) old_since: Option<Moment>,
    /// The assignment behind it, `namespace/name`; empty when there is none.
    pub(crate) assignment: String,
    /// The UID in the object's own label; empty when there is none.
    pub(crate) assignment_uid: String,
}

impl ObjectView {
    fn from_wire(wire: v1::FluxObject) -> Result<Self, Failure> {
        let status = wire.status.ok_or_else(|| not_understood("an object without a status"))?;
        let key = status.key.ok_or_else(|| not_understood("an object without a name"))?;
        Ok(Self {
            workspace: wire.workspace,
            cluster: wire.cluster,
            cluster_id: wire.cluster_id,
            group: key.group,
            kind: key.kind,
            namespace: key.namespace,
            name: key.name,
            health: health(status.health)?,
            reason: status.reason,
            message: status.message,
            revision: status.revision,
            generation: status.generation,
            since: Moment::from_wire(wire.since_millis),
            old_since: Moment::from_wire(wire.old_since_millis),
            assignment: wire.assignment,
            assignment_uid: uid(&status.assignment)?,
        })
    }

    /// Returns the cell of the health, which says so when it is old.
    pub(crate) fn health_cell(&self, now: Millis) -> Cell {
        match self.old_since {
            None => Cell::painted(self.health.as_str(), Paint::of_health(self.health)),
            Some(old) => Cell::painted(format!("{} (old {})", self.health, old.age(now)), Paint::Faint),
        }
    }

    /// Returns the cluster with its workspace.
    pub(crate) fn cluster_text(&self) -> String {
        format!("{}/{}", self.workspace, self.cluster)
    }
}

impl View for ObjectView {
    const KIND: &'static str = "Object";

    const COLUMNS: &'static [Column] = &[
        column("CLUSTER"),
        column("KIND"),
        column("NAMESPACE"),
        column("NAME"),
        column("HEALTH"),
        column("SINCE"),
        column("REVISION"),
        wide_column("ASSIGNMENT"),
        wide_column("REASON"),
        column("MESSAGE"),
    ];

    fn cells(&self, now: Millis) -> Vec<Cell> {
        vec![
            Cell::plain(self.cluster_text()),
            Cell::plain(&self.kind),
            Cell::plain(&self.namespace),
            Cell::plain(&self.name),
            self.health_cell(now),
            Cell::plain(age_or_dash(self.since, now)),
            Cell::plain(&self.revision),
            Cell::plain(&self.assignment),
            Cell::plain(&self.reason),
            Cell::plain(&self.message),
        ]
    }

    fn reference(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!(
            "object/{}/{}/{}{dot}{}/{}/{}",
            self.workspace, self.cluster, self.kind, self.group, self.namespace, self.name
        )
    }

    fn name(&self) -> &str {
        &self.name
    }

    async fn page(hub: &Hub, query: &Query, token: String) -> Result<Page<Self>, Failure> {
        let answer = hub
            .call(query.objects(token), |mut client, request| async move { client.list_objects(request).await })
            .await?;
        let objects: Result<Vec<Self>, Failure> = answer.objects.into_iter().map(Self::from_wire).collect();
        Ok(Page::new(objects?, answer.next_page_token, query).without(answer.unanswered))
    }
}
