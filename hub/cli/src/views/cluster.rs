//! Clusters.

use std::collections::BTreeMap;

use serde::Serialize;
use starling_model::{Health, Millis};
use starling_proto::v1;

use super::{Page, Query, View, health};
use crate::failure::Failure;
use crate::hub::Hub;
use crate::render::age::{Moment, age_or_dash};
use crate::render::paint::Paint;
use crate::render::table::{Cell, Column, column, wide_column};

/// A managed cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterView {
    /// The workspace that it is in.
    pub(crate) workspace: String,
    /// The name in the workspace.
    pub(crate) name: String,
    /// The immutable identity.
    pub(crate) id: String,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// pending, live, connecting, disconnected, paused, detaching, quarantined, unassigned or revoked.
    pub(crate) connection: String,
    /// When its agent was last heard; null when never.
    pub(crate) last_seen: Option<Moment>,
    /// What its agent observed.
    pub(crate) facts: FactsView,
    /// Flux objects by health; healths without objects are left out.
    pub(crate) health: BTreeMap<Health, u64>,
    /// Installs that it should have.
    pub(crate) installs: u64,
    /// Of these, applied and Ready.
    pub(crate) installs_ready: u64,
    /// Of these, blocked.
    pub(crate) blocked: u64,
    /// The agent's version; empty when never heard.
    pub(crate) agent_version: String,
    /// What is wrong with it; empty when nothing is.
    pub(crate) problem: String,
    /// The file that declared it has vanished.
    pub(crate) source_missing: bool,
}

/// What an agent observed about its cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FactsView {
    /// The API server's version; empty when unknown.
    pub(crate) kubernetes_version: String,
    /// Flux's version; empty when unknown.
    pub(crate) flux_version: String,
    /// Nodes; zero when unknown.
    pub(crate) nodes: u32,
    /// The platform, such as a cloud's name; empty when unknown.
    pub(crate) platform: String,
    /// Other facts.
    pub(crate) extra: BTreeMap<String, String>,
}

impl ClusterView {
    /// Returns how many Flux objects need somebody's look.
    pub(crate) fn troubled(&self) -> u64 {
        self.health.iter().filter(|(health, _)| health.is_trouble()).map(|(_, count)| count).sum()
    }

    /// Returns the counts as text, worst first.
    pub(crate) fn health_text(&self) -> String {
        let counts: Vec<String> = self.health.iter().map(|(health, count)| format!("{health}={count}")).collect();
        counts.join(",")
    }

    /// Returns the problem, or what else a person should know.
    fn note(&self) -> String {
        match (self.problem.is_empty(), self.source_missing) {
            (true, true) => "source missing".to_owned(),
            (false, _) => self.problem.clone(),
            (true, false) => String::new(),
        }
    }

    fn from_wire(wire: v1::Cluster) -> Result<Self, Failure> {
        let facts = wire.facts.unwrap_or_default();
        let mut counts = BTreeMap::new();
        for count in wire.health.iter().filter(|count| count.count > 0) {
            counts.insert(health(count.health)?, count.count);
        }
        Ok(Self {
            workspace: wire.workspace,
            name: wire.name,
            id: wire.id,
            labels: wire.labels,
            connection: wire.connection,
            last_seen: Moment::from_wire(wire.last_seen_millis),
            facts: FactsView {
                kubernetes_version: facts.kubernetes_version,
                flux_version: facts.flux_version,
                nodes: facts.nodes,
                platform: facts.platform,
                extra: facts.extra,
            },
            health: counts,
            installs: wire.installs,
            installs_ready: wire.installs_ready,
            blocked: wire.blocked,
            agent_version: wire.agent_version,
            problem: wire.problem,
            source_missing: wire.source_missing,
        })
    }
}

/// Returns labels as text.
pub(crate) fn labels_text(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

impl View for ClusterView {
    const KIND: &'static str = "Cluster";

    const COLUMNS: &'static [Column] = &[
        column("WORKSPACE"),
        column("NAME"),
        column("CONNECTION"),
        column("SEEN"),
        column("INSTALLS"),
        column("BLOCKED"),
        column("FAILING"),
        column("KUBERNETES"),
        wide_column("FLUX"),
        wide_column("AGENT"),
        wide_column("NODES"),
        wide_column("PLATFORM"),
        wide_column("HEALTH"),
        wide_column("LABELS"),
        wide_column("ID"),
        column("NOTE"),
    ];

    fn cells(&self, now: Millis) -> Vec<Cell> {
        vec![
            Cell::plain(&self.workspace),
            Cell::plain(&self.name),
            Cell::painted(&self.connection, Paint::of_connection(&self.connection)),
            Cell::plain(age_or_dash(self.last_seen, now)),
            Cell::share(self.installs_ready, self.installs),
            Cell::trouble(self.blocked, Paint::Busy),
            Cell::trouble(self.troubled(), Paint::Bad),
            Cell::plain(&self.facts.kubernetes_version),
            Cell::plain(&self.facts.flux_version),
            Cell::plain(&self.agent_version),
            Cell::plain(self.facts.nodes.to_string()),
            Cell::plain(&self.facts.platform),
            Cell::plain(self.health_text()),
            Cell::plain(labels_text(&self.labels)),
            Cell::plain(&self.id),
            Cell::plain(self.note()),
        ]
    }

    fn reference(&self) -> String {
        // A valid certificate without a ManagedCluster has an id and no name.
        match self.name.as_str() {
            "" => format!("cluster/{}", self.id),
            name => format!("cluster/{}/{name}", self.workspace),
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn steady(&self) -> Self {
        Self { last_seen: None, ..self.clone() }
    }

    async fn page(hub: &Hub, query: &Query, token: String) -> Result<Page<Self>, Failure> {
        let mut selector = query.cluster_selector();
        selector.names.extend(query.names.iter().cloned());
        let request = v1::ListClustersRequest { selector: Some(selector), page: Some(v1::Page { size: 0, token }) };
        let answer =
            hub.call(request, |mut client, request| async move { client.list_clusters(request).await }).await?;
        let clusters: Result<Vec<Self>, Failure> = answer.clusters.into_iter().map(Self::from_wire).collect();
        let wanted = |cluster: &Self| {
            query.health.is_empty() || cluster.health.keys().any(|health| query.health.contains(health))
        };
        let clusters = clusters?.into_iter().filter(wanted).collect();
        Ok(Page::new(clusters, answer.next_page_token, query).without(answer.unanswered))
    }
}
