//! What the demo says: its progress, and what a newcomer can try.

use starling_harness::{Shard, Status};

use super::bed::Bed;

/// One line of progress.
pub(crate) fn progress(status: &Status, shards: Option<&[Shard]>) -> String {
    let line = format!("{} clusters, {} live, {} ready", status.clusters, status.live, status.ready);
    match shards {
        None => line,
        Some(shards) => {
            let share = |shard: &Shard| format!("{} {}", shard.name, shard.clusters_connected);
            format!("{line} ({})", shards.iter().map(share).collect::<Vec<_>>().join(", "))
        }
    }
}

/// The largest share over the mean; 1 where there is nothing to share.
pub(crate) fn largest_over_mean(shards: &[Shard]) -> f64 {
    let largest = shards.iter().map(|shard| shard.clusters_owned).max().unwrap_or(0);
    let all: u64 = shards.iter().map(|shard| shard.clusters_owned).sum();
    if all == 0 { 1.0 } else { largest as f64 * shards.len() as f64 / all as f64 }
}

/// What a newcomer can try next.
pub(crate) fn what_to_try(bed: &Bed) -> String {
    let hub = bed.any();
    let cli = hub.programs().path("starling");
    let (cli, config, directory) = (cli.display(), hub.context_file(), hub.options().directory.display());
    format!(
        "\nThe fleet is up. In another terminal:\n\n  \
         alias starling='{cli} --config {}'\n  \
         starling status\n  \
         starling get clusters -l env=prod\n  \
         starling get assignments\n  \
         starling get objects --health failing,stalled\n  \
         starling describe assignment podinfo -n starling-platform\n  \
         starling delete assignment metrics -n factory\n{}\n\
         The hub reads {directory}: edit a file there and watch `starling get assignments --watch`.\n\
         Ctrl-C ends the demo.\n",
        config.display(),
        of_shards(bed),
    )
}

/// What can be tried with several processes.
fn of_shards(bed: &Bed) -> String {
    let (Bed::Many(_), Some(victim)) = (bed, bed.all().last()) else {
        return String::new();
    };
    let id = victim.process().id().unwrap_or_default();
    format!(
        "\nThe hub is {} processes over one etcd, and each cluster belongs to one of them:\n\n  \
         starling get shards\n  \
         starling shards simulate --add 1\n  \
         starling get shards --watch\n\n\
         Kill {} while that watches: some 20 s later, once its lease has ended, the others have its clusters, which work on \
         meanwhile; a minute after its end it is back and takes its share:\n\n  \
         kill -9 {id}\n",
        bed.all().len(),
        victim.name(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard_of(name: &str, clusters: u64) -> Shard {
        let (clusters_connected, clusters_moving) = (clusters, 0);
        Shard {
            name: name.into(),
            state: "serving".into(),
            steward: false,
            clusters_owned: clusters,
            clusters_connected,
            clusters_moving,
        }
    }

    #[test]
    fn shares_are_told_by_process_and_over_the_mean() {
        let shards = [shard_of("hub-1", 30), shard_of("hub-2", 10), shard_of("hub-3", 20)];
        let status = Status { clusters: 60, live: 60, ready: 58, hold: None, unanswered: Vec::new() };
        assert_eq!(progress(&status, Some(&shards)), "60 clusters, 60 live, 58 ready (hub-1 30, hub-2 10, hub-3 20)");
        assert_eq!(progress(&status, None), "60 clusters, 60 live, 58 ready");
        assert!((largest_over_mean(&shards) - 1.5).abs() < 1e-9);
        assert!((largest_over_mean(&[]) - 1.0).abs() < 1e-9);
    }
}
