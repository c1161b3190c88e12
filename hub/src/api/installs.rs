//! Lists of installs: what is planned on each cluster, and what its agent says of it.

use starling_model::Health;
use starling_proto::v1;
use tonic::Status;

use super::Admin;
use super::select::page_size;
use crate::access::Caller;
use crate::gather::{Gathered, InstallQuery};
use crate::shard::InstallRow;

impl Admin {
    pub(super) async fn tell_installs(
        &self,
        caller: &Caller,
        asked: &v1::ListInstallsRequest,
    ) -> Result<v1::ListInstallsResponse, Status> {
        let fleet = self.fleet();
        let sight = self.sight(caller, &fleet, asked.selector.as_ref(), &asked.assignment).await?;
        let size = page_size(asked.page.as_ref());
        let clusters = self.select_ids(&fleet, asked.selector.as_ref(), &sight).await?;
        let query = InstallQuery {
            visible: sight.visible(&fleet, clusters.as_ref()),
            clusters,
            assignment: asked.assignment.clone(),
            after: asked.page.as_ref().map(|page| page.token.clone()).unwrap_or_default(),
            // One more than is told, so that it shows whether there is another page.
            size: size + 1,
        };
        let Gathered { value: found, unanswered } = self.parts.gather.installs(query).await;
        let more = found.rows.len() > size;
        let rows = &found.rows[..found.rows.len().min(size)];
        let next_page_token = rows.last().filter(|_| more).map(InstallRow::place).unwrap_or_default();
        let installs = rows.iter().cloned().map(tell_install).collect();
        let unanswered = unanswered.into_iter().collect();
        Ok(v1::ListInstallsResponse { installs, next_page_token, total: found.total, unanswered })
    }
}

fn tell_install(row: InstallRow) -> v1::Install {
    v1::Install {
        workspace: row.cluster_name.namespace,
        cluster: row.cluster_name.name,
        assignment: row.assignment_name,
        install: Some(row.install.into()),
        planned: row.planned.as_str().to_owned(),
        reason: row.reason,
        report: row.report.map(Into::into),
        health: row.worst.map_or(v1::Health::Unspecified, |health: Health| health.into()).into(),
        message: row.message,
    }
}
