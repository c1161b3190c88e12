//! Applying by way of the hub, which writes its directory.

use starling_proto::v1;

use super::{Applied, AppliedView};
use crate::documents::Document;
use crate::failure::Failure;
use crate::hub::Hub;

/// Applies file by file and returns how many were tried.
pub(super) async fn apply(hub: &Hub, documents: &[Document], applied: &mut Applied<'_>) -> Result<usize, Failure> {
    for document in documents {
        let request = v1::ApplyRequest { documents: document.text.clone(), dry_run: applied.dry_run };
        let answer = hub.call(request, |mut client, request| async move { client.apply(request).await }).await;
        match answer {
            Err(failure) => applied.refuse(failure.about(&document.path.display().to_string())),
            Ok(answer) => {
                for wire in answer.resources {
                    applied.resource(&AppliedView {
                        kind: wire.kind,
                        namespace: wire.namespace,
                        name: wire.name,
                        outcome: wire.outcome,
                    })?;
                }
            }
        }
    }
    Ok(documents.len())
}
