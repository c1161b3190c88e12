//! Catalogue entries.

use serde::Serialize;
use starling_model::Millis;
use starling_proto::v1;

use super::{Page, Query, View};
use crate::failure::Failure;
use crate::hub::Hub;
use crate::render::table::{Cell, Column, column, wide_column};

/// The versions that a table shows; the others are counted.
const VERSIONS_SHOWN: usize = 3;

/// A catalogue entry.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddonView {
    /// The platform namespace or a workspace.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
    /// A few words.
    pub(crate) title: String,
    /// More words.
    pub(crate) description: String,
    /// Its versions, in the hub's order.
    pub(crate) versions: Vec<String>,
    /// Where it comes from.
    pub(crate) source: String,
    /// Assignments of it.
    pub(crate) assignments: u64,
    /// The file that declared it has vanished.
    pub(crate) source_missing: bool,
}

impl AddonView {
    fn versions_text(&self) -> String {
        let shown = self.versions.iter().take(VERSIONS_SHOWN).cloned().collect::<Vec<_>>().join(", ");
        match self.versions.len().saturating_sub(VERSIONS_SHOWN) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    }
}

impl View for AddonView {
    const KIND: &'static str = "Addon";

    const COLUMNS: &'static [Column] = &[
        column("WORKSPACE"),
        column("NAME"),
        column("VERSIONS"),
        column("ASSIGNMENTS"),
        wide_column("SOURCE"),
        wide_column("DESCRIPTION"),
        column("TITLE"),
    ];

    fn cells(&self, _now: Millis) -> Vec<Cell> {
        let title = if self.source_missing { format!("source missing; {}", self.title) } else { self.title.clone() };
        vec![
            Cell::plain(&self.namespace),
            Cell::plain(&self.name),
            Cell::plain(self.versions_text()),
            Cell::plain(self.assignments.to_string()),
            Cell::plain(&self.source),
            Cell::plain(&self.description),
            Cell::plain(title),
        ]
    }

    fn reference(&self) -> String {
        format!("addon/{}/{}", self.namespace, self.name)
    }

    fn name(&self) -> &str {
        &self.name
    }

    async fn page(hub: &Hub, query: &Query, _token: String) -> Result<Page<Self>, Failure> {
        let request = v1::ListAddonsRequest { namespace: query.workspace.clone() };
        let answer = hub.call(request, |mut client, request| async move { client.list_addons(request).await }).await?;
        let addons = answer.addons.into_iter().map(|wire| Self {
            namespace: wire.namespace,
            name: wire.name,
            title: wire.title,
            description: wire.description,
            versions: wire.versions,
            source: wire.source,
            assignments: wire.assignments,
            source_missing: wire.source_missing,
        });
        Ok(Page::new(addons.collect(), String::new(), query))
    }
}
