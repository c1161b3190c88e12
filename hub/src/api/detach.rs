//! Detaching a cluster, with or without a removal of what it holds: the steward decides, then the document of a cluster that
//! has left is removed.

use starling_hub_core::fleet::{ClusterInput, Fleet};
use starling_hub_core::records::ClusterStage;
use starling_hub_core::steward::{Answer, Detach, DetachStage, Request as Ask};
use starling_model::InstallState;
use starling_proto::v1;
use tonic::{Request, Response, Status};

use super::permit::caller;
use super::{Admin, internal};
use crate::access::{Resource as Access, Verb};
use crate::shard::InstallRow;

impl Admin {
    pub(super) async fn detach_cluster(
        &self,
        request: Request<v1::DetachRequest>,
    ) -> Result<Response<v1::DetachResponse>, Status> {
        let actor = caller(&request)?;
        let v1::DetachRequest { workspace, name, forget, delete, approved_count } = request.into_inner();
        let verb = if forget { Verb::Forget } else { Verb::Delete };
        self.permit(&actor, verb, Access::Clusters, &workspace, &name).await?;
        let edit = self.parts.sync.edit().await;
        let detach = Detach { workspace, name, forget, delete, approved_count };
        let Answer::Detached { stage, remove } = self.ask(&actor, Ask::Detach(detach)).await? else {
            return Err(internal());
        };
        let (stage, installs) = match stage {
            DetachStage::Asked { installs } => ("asked", installs),
            DetachStage::Removing { installs } => ("removing", installs),
            DetachStage::Requested => ("requested", 0),
            DetachStage::Acknowledged => ("acknowledged", 0),
            DetachStage::Forgotten => ("forgotten", 0),
        };
        let edit_to_make = self.remove(remove).await?;
        drop(edit);
        Ok(Response::new(v1::DetachResponse { stage: stage.into(), edit_to_make, installs }))
    }
}

/// Tells why the removal of what a cluster holds does not come to its end by itself; `None` where it does, or where none is
/// under way.
pub(super) fn removal_problem(
    fleet: &Fleet,
    input: &ClusterInput,
    connected: bool,
    held: &[InstallRow],
) -> Option<String> {
    let ClusterStage::Removing { .. } = fleet.stage(input.id) else { return None };
    let name = input.name();
    let detach = format!("starling detach cluster {} --workspace {}", name.name, name.namespace);
    if input.document().spec.paused {
        return Some("its removal waits because the cluster is paused".to_owned());
    }
    if !connected {
        let what = "its agent is not connected, and removes what is installed when it is back";
        return Some(format!("{what}; to give that up: `{detach} --forget`"));
    }
    let not_approved = held.iter().filter(|view| !view.removal).count();
    if not_approved > 0 {
        return Some(format!("{not_approved} installs are beyond what was approved: run `{detach} --delete` again"));
    }
    held.iter().filter_map(|view| view.report.as_ref()).find_map(|report| {
        let is_stuck = report.state == InstallState::Removing && !report.message.is_empty();
        is_stuck.then(|| format!("{} cannot be removed: {}", report.install, report.message))
    })
}
