//! Join tokens of workspaces, without their secrets.

use std::collections::BTreeMap;

use serde::Serialize;
use starling_model::Millis;
use starling_proto::v1;

use super::cluster::labels_text;
use super::{Page, Query, View, uid};
use crate::failure::Failure;
use crate::hub::Hub;
use crate::render::age::{Moment, age_or_dash, human};
use crate::render::paint::Paint;
use crate::render::table::{Cell, Column, column, wide_column};

/// A token with which clusters join a workspace by themselves.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenView {
    /// Its id, which is no secret.
    pub(crate) id: String,
    /// The workspace that its clusters join.
    pub(crate) workspace: String,
    /// The labels that they get.
    pub(crate) labels: BTreeMap<String, String>,
    /// How many clusters may join.
    pub(crate) uses: u32,
    /// How many did.
    pub(crate) used: u32,
    /// When it was made.
    pub(crate) created: Option<Moment>,
    /// When it ends.
    pub(crate) expires: Option<Moment>,
    /// Who made it.
    pub(crate) created_by: String,
    /// A note for people; may be empty.
    pub(crate) description: String,
}

impl TokenView {
    /// Reads a token off the wire.
    pub(crate) fn from_wire(wire: v1::JoinToken) -> Result<Self, Failure> {
        Ok(Self {
            id: uid(&wire.id)?,
            workspace: wire.workspace,
            labels: wire.labels,
            uses: wire.uses,
            used: wire.used,
            created: Moment::from_wire(wire.created_millis),
            expires: Moment::from_wire(wire.expires_millis),
            created_by: wire.created_by,
            description: wire.description,
        })
    }

    /// Returns how long it is good for, for people.
    fn left(&self, now: Millis) -> Cell {
        match self.expires {
            None => Cell::plain(""),
            Some(end) if end.0 <= now => Cell::painted("expired", Paint::Faint),
            Some(end) => Cell::plain(human(end.0.since(now))),
        }
    }
}

impl View for TokenView {
    const KIND: &'static str = "JoinToken";

    const COLUMNS: &'static [Column] = &[
        column("ID"),
        column("WORKSPACE"),
        column("USED"),
        column("EXPIRES"),
        column("AGE"),
        wide_column("BY"),
        column("LABELS"),
        column("DESCRIPTION"),
    ];

    fn cells(&self, now: Millis) -> Vec<Cell> {
        let used = format!("{}/{}", self.used, self.uses);
        let paint = if self.used >= self.uses { Paint::Faint } else { Paint::Plain };
        vec![
            Cell::plain(&self.id),
            Cell::plain(&self.workspace),
            Cell::painted(used, paint),
            self.left(now),
            Cell::plain(age_or_dash(self.created, now)),
            Cell::plain(&self.created_by),
            Cell::plain(labels_text(&self.labels)),
            Cell::plain(&self.description),
        ]
    }

    fn reference(&self) -> String {
        format!("token/{}", self.id)
    }

    fn name(&self) -> &str {
        &self.id
    }

    async fn page(hub: &Hub, query: &Query, _token: String) -> Result<Page<Self>, Failure> {
        let request = v1::ListJoinTokensRequest { workspace: query.workspace.clone() };
        let answer =
            hub.call(request, |mut client, request| async move { client.list_join_tokens(request).await }).await?;
        let tokens: Result<Vec<Self>, Failure> = answer.join_tokens.into_iter().map(Self::from_wire).collect();
        Ok(Page::new(tokens?, String::new(), query))
    }
}
