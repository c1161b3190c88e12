//! Files and resources that the hub could not accept.

use serde::Serialize;
use starling_model::Millis;
use starling_proto::v1;

use super::{Page, Query, View};
use crate::failure::Failure;
use crate::hub::Hub;
use crate::render::paint::Paint;
use crate::render::table::{Cell, Column, column};

/// Something that the hub could not accept.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProblemView {
    /// The file; empty when it is about no file.
    pub(crate) file: String,
    /// The line, from one; zero when unknown.
    pub(crate) line: u64,
    /// The column, from one; zero when unknown.
    pub(crate) column: u64,
    /// The resource's kind; empty when unknown.
    pub(crate) kind: String,
    /// The resource's namespace.
    pub(crate) namespace: String,
    /// The resource's name.
    pub(crate) name: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) next: String,
}

impl ProblemView {
    /// Returns `file:line:column`, as far as known.
    fn place(&self) -> String {
        match (self.line, self.column) {
            (0, _) => self.file.clone(),
            (line, 0) => format!("{}:{line}", self.file),
            (line, column) => format!("{}:{line}:{column}", self.file),
        }
    }

    fn resource(&self) -> String {
        match (self.kind.as_str(), self.namespace.as_str()) {
            ("", _) => self.name.clone(),
            (kind, "") => format!("{kind}/{}", self.name),
            (kind, namespace) => format!("{kind}/{namespace}/{}", self.name),
        }
    }
}

impl View for ProblemView {
    const KIND: &'static str = "Problem";

    const COLUMNS: &'static [Column] = &[column("WHERE"), column("RESOURCE"), column("PROBLEM"), column("NEXT")];

    fn cells(&self, _now: Millis) -> Vec<Cell> {
        vec![
            Cell::plain(self.place()),
            Cell::plain(self.resource()),
            Cell::painted(&self.message, Paint::Bad),
            Cell::plain(&self.next),
        ]
    }

    fn reference(&self) -> String {
        format!("problem/{}/{}", self.place(), self.resource())
    }

    fn name(&self) -> &str {
        &self.name
    }

    async fn page(hub: &Hub, query: &Query, _token: String) -> Result<Page<Self>, Failure> {
        let request = v1::ListProblemsRequest {};
        let answer =
            hub.call(request, |mut client, request| async move { client.list_problems(request).await }).await?;
        let problems = answer.problems.into_iter().map(|wire| Self {
            file: wire.file,
            line: wire.line,
            column: wire.column,
            kind: wire.kind,
            namespace: wire.namespace,
            name: wire.name,
            message: wire.message,
            next: wire.next,
        });
        let wanted = |problem: &Self| query.workspace.is_empty() || problem.namespace == query.workspace;
        Ok(Page::new(problems.filter(wanted).collect(), String::new(), query))
    }
}
