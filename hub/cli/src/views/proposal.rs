//! Removals that wait for approval.

use serde::Serialize;
use starling_model::Millis;
use starling_proto::v1;

use super::{Page, Query, View, uid};
use crate::failure::Failure;
use crate::hub::Hub;
use crate::render::age::{Moment, age_or_dash};
use crate::render::paint::Paint;
use crate::render::table::{Cell, Column, column};

/// A removal that waits for approval.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProposalView {
    /// Its id.
    pub(crate) id: String,
    /// The assignment, `namespace/name`.
    pub(crate) assignment: String,
    /// Why it is proposed.
    pub(crate) reason: String,
    /// The installs that would go.
    pub(crate) installs: u64,
    /// Since when it waits.
    pub(crate) since: Option<Moment>,
    /// Some of the clusters.
    pub(crate) examples: Vec<String>,
}

impl ProposalView {
    fn from_wire(wire: v1::Proposal) -> Result<Self, Failure> {
        Ok(Self {
            id: uid(&wire.id)?,
            assignment: wire.assignment,
            reason: wire.reason,
            installs: wire.installs,
            since: Moment::from_wire(wire.since_millis),
            examples: wire.examples,
        })
    }
}

impl View for ProposalView {
    const KIND: &'static str = "Proposal";

    const COLUMNS: &'static [Column] =
        &[column("ID"), column("ASSIGNMENT"), column("INSTALLS"), column("AGE"), column("EXAMPLES"), column("REASON")];

    fn cells(&self, now: Millis) -> Vec<Cell> {
        vec![
            Cell::plain(&self.id),
            Cell::plain(&self.assignment),
            Cell::painted(self.installs.to_string(), Paint::Busy),
            Cell::plain(age_or_dash(self.since, now)),
            Cell::plain(self.examples.iter().take(3).cloned().collect::<Vec<_>>().join(", ")),
            Cell::plain(&self.reason),
        ]
    }

    fn reference(&self) -> String {
        format!("proposal/{}", self.id)
    }

    fn name(&self) -> &str {
        &self.id
    }

    async fn page(hub: &Hub, query: &Query, _token: String) -> Result<Page<Self>, Failure> {
        let request = v1::ListProposalsRequest {};
        let answer =
            hub.call(request, |mut client, request| async move { client.list_proposals(request).await }).await?;
        let proposals: Result<Vec<Self>, Failure> = answer.proposals.into_iter().map(Self::from_wire).collect();
        Ok(Page::new(proposals?, String::new(), query).without(answer.unanswered))
    }
}
