//! What sessions report, settled to its end: the steward decides, then the directory follows.
//!
//! Owns the edit that an agent's acknowledgement of a detachment brings. Does not own who reports what
//! ([`crate::session`]), nor any rule.

use async_trait::async_trait;
use starling_hub_core::steward::{Answer, Refusal, Request};

use crate::session::Reports;
use crate::source::Directory;
use crate::steward::StewardHandle;

/// Takes what sessions learn to the steward, and removes the document of a cluster whose agent let go.
#[derive(Clone, Debug)]
pub struct Settling {
    /// The way to ask the steward.
    pub steward: StewardHandle,
    /// The directory that documents are removed from; `None` where there is none.
    pub directory: Option<Directory>,
}

#[async_trait]
impl Reports for Settling {
    async fn report(&self, actor: &str, request: Request) -> Result<(), Refusal> {
        let answer = self.steward.submit(actor, request).await?;
        follow(self.directory.as_ref(), answer).await;
        Ok(())
    }
}

/// Edits the directory as an answer says; where that fails, the fleet's problems show what is left to do.
async fn follow(directory: Option<&Directory>, answer: Answer) {
    let (Answer::Detached { remove: Some((file, key)), .. }, Some(directory)) = (answer, directory.cloned()) else {
        return;
    };
    let removed = key.clone();
    match tokio::task::spawn_blocking(move || directory.remove(&removed)).await {
        Ok(Ok(())) => tracing::info!(%key, file, "removed the document of a detached cluster"),
        Ok(Err(error)) => tracing::warn!(%key, file, %error, "cannot remove the document of a detached cluster"),
        Err(error) => tracing::error!(%key, file, %error, "the removal of a detached cluster's document broke off"),
    }
}

#[cfg(test)]
mod tests {
    use starling_hub_core::resources::{InputKey, Kind};
    use starling_hub_core::steward::DetachStage;

    use super::*;

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
