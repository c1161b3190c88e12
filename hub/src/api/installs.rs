//! Lists of installs: what is planned on each cluster, and what its agent says of it.

use starling_model::{Action, Health, ResourceName, Uid};
use starling_proto::v1;
use tonic::Status;

use super::Admin;
use super::select::cut;
use crate::access::Caller;
use crate::shard::InstallView;

impl Admin {
    pub(super) async fn tell_installs(
        &self,
        caller: &Caller,
        asked: &v1::ListInstallsRequest,
    ) -> Result<v1::ListInstallsResponse, Status> {
        let fleet = self.fleet();
        let sight = self.sight(caller, &fleet, asked.selector.as_ref(), &asked.assignment).await?;
        let mut selected = self.select(&fleet, asked.selector.as_ref())?;
        selected.retain(|known| sight.selects(known) && sight.may_show(&known.name));
        let mut installs = Vec::new();
        for known in selected {
            let is_seen =
                |view: &InstallView| sight.covers(&known.name) || sight.covers_assignment(&fleet, assignment_of(view));
            let views = self.parts.shard.installs(&known.id).into_iter().filter(is_seen);
            let told = views.map(|view| tell_install(&known.name, view));
            installs.extend(told.filter(|told| asked.assignment.is_empty() || told.assignment == asked.assignment));
        }
        installs.sort_by_cached_key(token);
        let total = installs.len() as u64;
        let (installs, next_page_token) = cut(installs, asked.page.as_ref(), token);
        Ok(v1::ListInstallsResponse { installs, next_page_token, total, unanswered: Vec::new() })
    }
}

/// The place of an install in the answer's order: NUL sorts before whatever a name may hold.
fn token(told: &v1::Install) -> String {
    let install = told.install.clone().unwrap_or_default();
    format!("{}\0{}\0{}\0{}\0{}", told.workspace, told.cluster, install.namespace, install.name, told.assignment)
}

fn assignment_of(view: &InstallView) -> Option<Uid> {
    let reported = view.report.as_ref().map(|report| report.assignment);
    view.planned.as_ref().map(|entry| entry.assignment).or(reported)
}

fn tell_install(cluster: &ResourceName, view: InstallView) -> v1::Install {
    let (planned, reason) = match view.planned.as_ref().map(|entry| &entry.action) {
        Some(Action::Render(_)) => ("render", String::new()),
        Some(Action::Keep(reason)) => ("keep", reason.to_string()),
        Some(Action::Blocked(reason)) => ("blocked", reason.to_string()),
        None if view.removal => ("remove", String::new()),
        None => ("held", String::new()),
    };
    let planned_name = view.planned.map(|entry| entry.assignment_name);
    let reported_name = view.report.as_ref().map(|report| report.assignment_name.clone());
    v1::Install {
        workspace: cluster.namespace.clone(),
        cluster: cluster.name.clone(),
        assignment: planned_name.or(reported_name).unwrap_or_default(),
        install: Some(view.install.into()),
        planned: planned.to_owned(),
        reason,
        report: view.report.map(Into::into),
        health: view.health.worst().map_or(v1::Health::Unspecified, |health: Health| health.into()).into(),
        message: view.message,
    }
}
