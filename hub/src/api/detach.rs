//! Detaching a cluster: the steward decides, then the document of a cluster that has left is removed.

use starling_hub_core::steward::{Answer, Detach, DetachStage, Request as Ask};
use starling_proto::v1;
use tonic::{Request, Response, Status};

use super::change::caller;
use super::{Admin, internal};

impl Admin {
    pub(super) async fn detach_cluster(
        &self,
        request: Request<v1::DetachRequest>,
    ) -> Result<Response<v1::DetachResponse>, Status> {
        let actor = caller(&request)?;
        let v1::DetachRequest { workspace, name, forget, .. } = request.into_inner();
        let detach = Detach { workspace, name, forget };
        let Answer::Detached { stage, remove } = self.ask(&actor, Ask::Detach(detach)).await? else {
            return Err(internal());
        };
        let stage = match stage {
            DetachStage::Requested => "requested",
            DetachStage::Acknowledged => "acknowledged",
            DetachStage::Forgotten => "forgotten",
        };
        let edit_to_make = self.remove(remove).await?;
        Ok(Response::new(v1::DetachResponse { stage: stage.into(), edit_to_make, installs: 0 }))
    }
}
