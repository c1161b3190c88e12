//! What sessions report, settled to its end: the steward decides, then the documents follow.
//!
//! Owns the edit that an agent's acknowledgement of a detachment brings. Does not own who reports what
//! ([`crate::session`]), nor any rule.

use std::sync::Arc;

use async_trait::async_trait;
use starling_hub_core::steward::{Answer, Refusal, Request};

use crate::session::Reports;
use crate::source::Documents;
use crate::steward::StewardHandle;

/// Takes what sessions learn to the steward, and removes the document of a cluster whose agent let go.
#[derive(Clone, Debug)]
pub struct Settling {
    /// The way to ask the steward.
    pub steward: StewardHandle,
    /// The documents that the hub edits; `None` where there are none.
    pub documents: Option<Arc<dyn Documents>>,
}

#[async_trait]
impl Reports for Settling {
    async fn report(&self, actor: &str, request: Request) -> Result<(), Refusal> {
        let answer = self.steward.submit(actor, request).await?;
        follow(self.documents.as_deref(), answer).await;
        Ok(())
    }
}

/// Edits the documents as an answer says; where that fails, the fleet's problems show what is left to do.
async fn follow(documents: Option<&dyn Documents>, answer: Answer) {
    let (Answer::Detached { remove: Some((file, key)), .. }, Some(documents)) = (answer, documents) else {
        return;
    };
    match documents.remove(&key).await {
        Ok(()) => tracing::info!(%key, file, "removed the document of a detached cluster"),
        Err(error) => tracing::warn!(%key, file, %error, "cannot remove the document of a detached cluster"),
    }
}

#[cfg(test)]
mod tests {
    use starling_hub_core::resources::{InputKey, Kind};
    use starling_hub_core::steward::DetachStage;

    use super::*;
    use crate::source::Directory;

    #[tokio::test]
    async fn the_document_of_a_detached_cluster_goes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("edge.yaml");
        let text = "apiVersion: starling.dev/v1alpha1\nkind: ManagedCluster\nmetadata: {name: edge, namespace: dev}\n";
        std::fs::write(&file, format!("{text}spec: {{}}\n")).unwrap();
        // A file is believed once it has rested.
        std::fs::File::open(&file).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        let key = InputKey::new(Kind::ManagedCluster, "dev", "edge");
        let remove = Some(("edge.yaml".to_owned(), key));
        let directory = Directory::new(folder.path());
        follow(Some(&directory), Answer::Detached { stage: DetachStage::Acknowledged, remove }).await;
        assert!(!file.exists());
    }
}
