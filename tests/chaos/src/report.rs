//! What a run survived: for people as Markdown, for programs as one line of JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

/// A fault that was survived, with what it took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Survived {
    /// The fault.
    pub fault: String,
    /// The change of the fleet that was made meanwhile.
    pub change: String,
    /// Seconds in which not every cluster was served, as another hub saw it, from the fault's beginning until all was well.
    pub unserved_seconds: f64,
    /// Seconds from the fault's end until everything was well and every hub said the same.
    pub recovered_seconds: f64,
    /// Seconds from then until every hub was a member and served what it owns; nothing when that took longer than is waited for.
    pub settled_seconds: Option<f64>,
    /// Sessions that were opened, for each cluster.
    pub sessions_per_cluster: f64,
    /// Sessions that there may be, for each cluster.
    pub sessions_allowed: f64,
    /// Times that an agent was sent to another hub, for each cluster.
    pub redirected_per_cluster: f64,
    /// Times that an agent's stream was passed on, for each cluster.
    pub forwarded_per_cluster: f64,
    /// Sessions that ended or were refused, by reason.
    pub ended: BTreeMap<String, u64>,
    /// TLS handshakes, for each cluster, those of the command line included.
    pub handshakes_per_cluster: f64,
    /// Writes to etcd.
    pub etcd_writes: u64,
}

/// What came out of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Hub processes.
    pub hubs: usize,
    /// Simulated clusters.
    pub clusters: u32,
    /// Seconds until the whole fleet was served for the first time.
    pub started_seconds: f64,
    /// Writes to etcd a second while nothing happens.
    pub steady_etcd_writes_per_second: f64,
    /// The faults in their order.
    pub survived: Vec<Survived>,
    /// What did not hold, with the fault that it followed; `None` when everything did.
    pub violation: Option<String>,
    /// How to see it again.
    pub replay: String,
}

impl Report {
    /// Returns the report as Markdown.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let Self { seed, hubs, clusters, started_seconds, .. } = self;
        let mut text = format!(
            "# Chaos: seed {seed}, {hubs} hubs, {clusters} clusters\n\nServed for the first time after {started_seconds:.1} s; \
             {:.2} writes to etcd a second while nothing happens.\n\n\
             | fault | change meanwhile | not all served, s | all well after, s | settled after, s | sessions a cluster (allowed) \
             | sent on | passed on | handshakes a cluster | etcd writes |\n|---|---|---|---|---|---|---|---|---|---|\n",
            self.steady_etcd_writes_per_second
        );
        for survived in &self.survived {
            // Writing into a String cannot fail.
            let _ = writeln!(
                text,
                "| {} | {} | {:.1} | {:.1} | {} | {:.2} ({:.2}) | {:.2} | {:.2} | {:.2} | {} |",
                survived.fault,
                survived.change,
                survived.unserved_seconds,
                survived.recovered_seconds,
                survived.settled_seconds.map_or("later".to_owned(), |seconds| format!("{seconds:.1}")),
                survived.sessions_per_cluster,
                survived.sessions_allowed,
                survived.redirected_per_cluster,
                survived.forwarded_per_cluster,
                survived.handshakes_per_cluster,
                survived.etcd_writes,
            );
        }
        let count = self.survived.len();
        let _ = match &self.violation {
            None => writeln!(text, "\n{count} faults survived."),
            Some(violation) => {
                writeln!(text, "\n**Violation** after {count} faults: {violation}\n\nAgain: `{}`", self.replay)
            }
        };
        text
    }

    /// Returns the report as one line of JSON.
    ///
    /// # Panics
    /// Never: texts and numbers become JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers become JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_told_with_how_to_see_it_again() {
        let survived = Survived {
            fault: "hub-1 killed for 20 s".into(),
            change: "extra-0001 deleted".into(),
            unserved_seconds: 17.04,
            recovered_seconds: 2.5,
            settled_seconds: None,
            sessions_per_cluster: 0.25,
            sessions_allowed: 0.6,
            redirected_per_cluster: 0.2,
            forwarded_per_cluster: 0.0,
            ended: BTreeMap::new(),
            handshakes_per_cluster: 0.5,
            etcd_writes: 9,
        };
        let report = Report {
            seed: 7,
            hubs: 4,
            clusters: 200,
            started_seconds: 6.0,
            steady_etcd_writes_per_second: 0.0,
            survived: vec![survived],
            violation: Some("hub-2 and hub-3 do not say the same".into()),
            replay: "cargo xtask chaos --seed 7".into(),
        };
        let text = report.to_markdown();
        let row = "| hub-1 killed for 20 s | extra-0001 deleted | 17.0 | 2.5 | later | 0.25 (0.60) | 0.20 | 0.00 | 0.50 | 9 |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("**Violation** after 1 faults: hub-2"), "{text}");
        assert!(text.contains("`cargo xtask chaos --seed 7`"), "{text}");
        assert!(!report.to_json().contains('\n'));
    }
}
