//! Every path that is counted, and the ratios between them.

mod changes;
mod plans;
mod sessions;
mod status;

use crate::{Path, Ratio};

/// Every path.
pub const PATHS: &[Path] = &[
    Path {
        name: "status-delta",
        what: "100 deltas of one object each: decoded, judged, taken into an index of 250 clusters",
        run: status::delta,
    },
    Path {
        name: "status-snapshot",
        what: "a first snapshot of 40 objects and 3 installs: decoded, judged, taken into an index of 250 clusters",
        run: status::snapshot,
    },
    Path {
        name: "status-known",
        what: "whether the index shows what a returning agent's digests stand for, 40 objects",
        run: status::known,
    },
    Path {
        name: "query-page",
        what: "a page of 100 failing objects out of the middle of 500 clusters of 40 objects (one part; the hub asks sixteen)",
        run: status::page,
    },
    Path { name: "query-count", what: "how many of them are of a kind and a name", run: status::count },
    Path { name: "query-count-health", what: "how many of them fail", run: status::count_health },
    Path {
        name: "plan-cluster",
        what: "the plan of a cluster with 30 addons, 3 of which fit some versions of Kubernetes alone, and its digest",
        run: plans::one,
    },
    Path { name: "plan-1000", what: "the same for 1,000 clusters that share their renders", run: plans::thousand },
    Path {
        name: "encode-plan",
        what: "a plan of 30 renders that the agent has none of: made, encoded, cut",
        run: plans::full,
    },
    Path { name: "encode-plan-change", what: "the same if the agent holds 29 of them", run: plans::change },
    Path { name: "encode-position", what: "the message that only the position advances", run: plans::position },
    Path {
        name: "change-object-200",
        what: "a cluster's object that changed, of 200 (no document is read again): decided, applied, affected clusters planned",
        run: || changes::object(200),
    },
    Path { name: "change-object-2000", what: "the same of 2,000", run: || changes::object(2000) },
    Path {
        name: "change-file-200",
        what: "a cluster's file that changed, of 200: parsed, decided about alone, applied, affected clusters planned",
        run: || changes::file(200),
    },
    Path { name: "change-file-2000", what: "the same of 2,000", run: || changes::file(2000) },
    Path {
        name: "change-directory-200",
        what: "the same of 200 where the whole directory is decided about, as after a conflict",
        run: || changes::directory(200),
    },
    Path { name: "change-directory-2000", what: "the same of 2,000", run: || changes::directory(2000) },
    Path {
        name: "adopt-200",
        what: "a cluster that is adopted where there are 200: decided, applied",
        run: || changes::adopt(200),
    },
    Path { name: "adopt-2000", what: "the same where there are 2,000", run: || changes::adopt(2000) },
    Path { name: "ring-points", what: "the points of a ring of 10 members", run: plans::ring },
    Path { name: "ring-owners", what: "who owns each of 1,000 clusters in it", run: plans::owners },
    Path {
        name: "receipt",
        what: "100 receipts of a plan, decoded (noting them is the shell's)",
        run: sessions::receipt,
    },
    Path {
        name: "heartbeat",
        what: "100 heartbeats: decoded, the lease decided, the answer encoded",
        run: sessions::heartbeat,
    },
];

/// What must hold between them, whatever the machine and the compiler.
pub const RATIOS: &[Ratio] = &[
    Ratio {
        of: "change-object-2000",
        to: "change-object-200",
        at_most: 1.1,
        shows: "a change of an object costs what changed, not the fleet",
    },
    Ratio {
        of: "adopt-2000",
        to: "adopt-200",
        at_most: 1.1,
        shows: "adopting a cluster costs that cluster, not the fleet",
    },
    Ratio {
        of: "change-file-2000",
        to: "change-file-200",
        at_most: 1.1,
        shows: "a change of a file costs what changed, not the directory",
    },
    Ratio {
        of: "change-directory-2000",
        to: "change-directory-200",
        at_most: 10.0,
        shows: "a directory is decided about whole, which is no worse than in proportion to it",
    },
    Ratio {
        of: "plan-1000",
        to: "plan-cluster",
        at_most: 1050.0,
        shows: "a plan costs the same for each cluster of a large fleet",
    },
    Ratio {
        of: "encode-plan-change",
        to: "encode-plan",
        at_most: 0.4,
        shows: "what the agent holds is not sent again",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_ratios_name_paths() {
        let names: BTreeSet<&str> = PATHS.iter().map(|path| path.name).collect();
        assert_eq!(names.len(), PATHS.len());
        assert!(RATIOS.iter().all(|ratio| names.contains(ratio.of) && names.contains(ratio.to)));
    }

    #[test]
    fn every_path_can_be_gone() {
        for path in PATHS {
            (path.run)();
        }
    }
}
