//! What the clusters of a simulated fleet really hold, told in a file: the other side of what a hub believes.
//!
//! Owns the file's format: one JSON object, replaced whole every second, `{"clusters": [{"name", "objects", "removals"}]}`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::fs;
use tokio::time::sleep;

use crate::cluster::SimulatedCluster;

/// How often the file is written.
const EVERY: Duration = Duration::from_secs(1);

/// The whole file.
#[derive(Debug, Serialize)]
struct Truth {
    clusters: Vec<ClusterTruth>,
}

/// What one cluster holds.
#[derive(Debug, Serialize)]
struct ClusterTruth {
    name: String,
    /// Objects that its agent has to report.
    objects: usize,
    /// Every removal that its agent ever asked for, in order.
    removals: Vec<String>,
}

/// Writes the file again and again until dropped.
pub async fn tell(file: PathBuf, clusters: Vec<Arc<SimulatedCluster>>) {
    let scratch = file.with_extension("new");
    loop {
        let truth = Truth { clusters: clusters.iter().map(|cluster| of(cluster)).collect() };
        let text = serde_json::to_vec(&truth).expect("text and numbers become JSON");
        let written = async {
            fs::write(&scratch, text).await?;
            fs::rename(&scratch, &file).await
        };
        if let Err(error) = written.await {
            tracing::error!(file = %file.display(), %error, "cannot write what the clusters hold");
        }
        sleep(EVERY).await;
    }
}

fn of(cluster: &SimulatedCluster) -> ClusterTruth {
    let removals = cluster.removals().iter().map(ToString::to_string).collect();
    ClusterTruth { name: cluster.name().to_owned(), objects: cluster.object_count(), removals }
}
