//! What the clusters' links carried in a step.

use anyhow::{Result, bail};

use super::Run;
use super::drivers::order_all;
use super::steps::PATIENCE;
use crate::drive::{Answer, Order};
use crate::report::results::StepResult;

/// Bytes that all clusters sent and received.
pub(super) type Carried = (u64, u64);

impl Run {
    /// Returns what was carried so far.
    pub(super) async fn carried(&self) -> Result<Carried> {
        let mut carried = (0, 0);
        for answer in order_all(&self.drivers, &Order::Wire, PATIENCE).await? {
            let Answer::Wire { sent, received } = answer else { bail!("a driver does not say what its wire carried") };
            carried = (carried.0 + sent, carried.1 + received);
        }
        Ok(carried)
    }

    /// Puts down what was carried since the step began: in all, and of each cluster in a second.
    pub(super) async fn put_down_wire(&self, step: &mut StepResult, before: Carried) -> Result<()> {
        let now = self.carried().await?;
        let share = f64::from(self.clusters.max(1)) * (step.ended_seconds - step.began_seconds).max(0.001);
        for (name, now, before) in [("bytes-sent", now.0, before.0), ("bytes-received", now.1, before.1)] {
            let carried = now.saturating_sub(before) as f64;
            step.figures.insert(name.to_owned(), carried);
            step.figures.insert(format!("{name}-per-cluster-second"), carried / share);
        }
        Ok(())
    }
}
