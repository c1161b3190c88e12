//! Whether the processes of a hub may open as many files as they will have connections.

use anyhow::{Result, ensure};

/// Open files that a hub keeps for other things than connections.
const OTHER_FILES: u64 = 512;

/// The share of one of several processes is this much larger than the mean at most, in percent.
const LARGEST_SHARE: u64 = 125;

/// Fails if a process would have more connections than it may open files, also while `away` of the processes are.
///
/// # Errors
/// What to change.
pub(super) fn check(clusters: u64, processes: u64, away: u64, limit: u64) -> Result<()> {
    let most = match processes {
        1 => clusters,
        several => (clusters * LARGEST_SHARE).div_ceil(100 * (several - away)).min(clusters),
    };
    ensure!(
        most + OTHER_FILES <= limit,
        "a hub process would have {most} connections, and a process here may open {limit} files: raise the limit (`ulimit -Hn`), \
         or say in the scenario's [hub] that there are more processes"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_share_has_to_fit() {
        assert!(check(19_000, 1, 0, 20_000).is_ok());
        assert!(check(19_900, 1, 0, 20_000).is_err());
        assert!(check(40_000, 3, 0, 20_000).is_ok());
        let error = check(40_000, 3, 1, 20_000).expect_err("two have to hold all").to_string();
        assert!(error.contains("25000 connections") && error.contains("more processes"), "{error}");
    }
}
