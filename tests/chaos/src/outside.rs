//! What can be seen from outside: what each hub says of the whole fleet, and what the clusters really hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use starling_harness::{CommandLine, Hub, Status};

use crate::bed::Bed;
use crate::changes::World;

/// How long a hub may take to answer before it counts as silent.
const ANSWER_WITHIN: &str = "10s";

/// What one hub says of the whole fleet; equal when the answers are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Picture {
    clusters: BTreeMap<String, Cluster>,
    assignments: BTreeMap<String, Assignment>,
    /// Flux objects by cluster.
    objects: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cluster {
    name: String,
    connection: String,
    installs: u64,
    installs_ready: u64,
    blocked: u64,
    health: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Assignment {
    name: String,
    uid: String,
    version: String,
    selected: u64,
    applied: u64,
    ready: u64,
}

#[derive(Deserialize)]
struct Object {
    cluster: String,
}

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
    #[serde(default)]
    unanswered: BTreeSet<String>,
}

/// What the clusters really hold, as the simulated fleet tells it.
#[derive(Clone, Debug, Deserialize)]
struct Truth {
    clusters: Vec<ClusterTruth>,
}

#[derive(Clone, Debug, Deserialize)]
struct ClusterTruth {
    name: String,
    objects: u64,
    removals: Vec<String>,
}

/// Makes sure that a hub says that every cluster is served.
pub(crate) fn check_served(ask: &CommandLine, clusters: u64) -> Result<()> {
    let Status { clusters: known, live, unanswered, .. } = ask.clone().within(ANSWER_WITHIN).status()?;
    ensure!(unanswered.is_empty(), "no answer of {}", unanswered.join(", "));
    ensure!(known == clusters && live == clusters, "{live} of {known} clusters are live, not {clusters}");
    Ok(())
}

/// Makes sure that all is well: every hub says the same, everything wanted is everywhere, and it is what the clusters hold.
pub(crate) fn check_well(bed: &Bed, world: &World) -> Result<()> {
    bed.fleet.check_running()?;
    for hub in bed.hubs.all() {
        check_served(hub.command_line(), bed.clusters).with_context(|| hub.name().to_owned())?;
    }
    let Some((first, others)) = bed.hubs.all().split_first() else {
        bail!("there is no hub");
    };
    let picture = Picture::of(first)?;
    picture.check_wanted(world, bed.clusters)?;
    picture.check_true(&Truth::read(&bed.truth)?)?;
    for other in others {
        let same = picture.check_same(&Picture::of(other)?);
        same.with_context(|| format!("{} and {} do not say the same", first.name(), other.name()))?;
    }
    Ok(())
}

/// Makes sure that every hub is a member again and serves what it owns: whatever moves because of a fault has moved.
pub(crate) fn check_settled(bed: &Bed) -> Result<()> {
    let shards = bed.hubs.shards()?;
    ensure!(shards.len() == bed.hubs.all().len(), "{} hubs are seen", shards.len());
    for shard in shards {
        ensure!(shard.is_settled(), "{shard:?}");
    }
    Ok(())
}

/// Makes sure that no cluster was asked to remove anything of an assignment that nobody deleted.
pub(crate) fn check_removals(truth: &Path, world: &World) -> Result<()> {
    for cluster in Truth::read(truth)?.clusters {
        let of_deleted = |removal: &String| world.deleted().iter().any(|name| removal.contains(name.as_str()));
        let wrong: Vec<&String> = cluster.removals.iter().filter(|removal| !of_deleted(removal)).collect();
        ensure!(wrong.is_empty(), "{} removed what nobody deleted: {wrong:?}", cluster.name);
    }
    Ok(())
}

impl Picture {
    fn of(hub: &Hub) -> Result<Self> {
        let ask = hub.command_line().clone().within(ANSWER_WITHIN);
        let mut picture = Self::default();
        for cluster in list::<Cluster>(&ask, "clusters")? {
            picture.clusters.insert(cluster.name.clone(), cluster);
        }
        for assignment in list::<Assignment>(&ask, "assignments")? {
            picture.assignments.insert(assignment.name.clone(), assignment);
        }
        for object in list::<Object>(&ask, "objects")? {
            *picture.objects.entry(object.cluster).or_default() += 1;
        }
        Ok(picture)
    }

    /// Everything wanted is on every cluster, and nothing that was deleted.
    fn check_wanted(&self, world: &World, clusters: u64) -> Result<()> {
        let known: BTreeSet<&String> = self.assignments.keys().collect();
        let wanted: BTreeSet<&String> = world.standing().keys().collect();
        ensure!(known == wanted, "the assignments are {known:?}, not {wanted:?}");
        for (name, version) in world.standing() {
            let assignment = &self.assignments[name];
            let Assignment { selected, applied, ready, .. } = *assignment;
            let is_everywhere = selected == clusters && applied == clusters && ready == clusters;
            let is_right = assignment.version == *version && is_everywhere;
            ensure!(is_right, "{name} {version} is not everywhere: {assignment:?}");
        }
        Ok(())
    }

    /// It is what the clusters hold.
    fn check_true(&self, truth: &Truth) -> Result<()> {
        let held = truth.clusters.iter().map(|cluster| (cluster.name.clone(), cluster.objects)).collect();
        check_equal(&held, &self.objects).context("the hub does not say what the clusters hold")
    }

    fn check_same(&self, other: &Self) -> Result<()> {
        check_equal(&self.clusters, &other.clusters)?;
        check_equal(&self.assignments, &other.assignments)?;
        check_equal(&self.objects, &other.objects)
    }
}

impl Truth {
    fn read(file: &Path) -> Result<Self> {
        let text = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        serde_json::from_slice(&text).context("read what the clusters hold")
    }
}

fn list<T: for<'de> Deserialize<'de>>(ask: &CommandLine, what: &str) -> Result<Vec<T>> {
    let list: List<T> = ask.ask_json(&["get", what])?;
    ensure!(list.unanswered.is_empty(), "`get {what}` had no answer of {:?}", list.unanswered);
    Ok(list.items)
}

/// Fails with the first difference.
fn check_equal<T: PartialEq + Debug>(one: &BTreeMap<String, T>, other: &BTreeMap<String, T>) -> Result<()> {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for name in names {
        let (one, other) = (one.get(name), other.get(name));
        ensure!(one == other, "{name}: {one:?} and {other:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_told() {
        let map = |items: &[(&str, u64)]| items.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let (one, other): (BTreeMap<String, u64>, _) = (map(&[("a", 1), ("b", 2)]), map(&[("a", 1), ("b", 3)]));
        check_equal(&one, &one).unwrap();
        assert_eq!(check_equal(&one, &other).unwrap_err().to_string(), "b: Some(2) and Some(3)");
        assert_eq!(check_equal(&one, &map(&[("a", 1)])).unwrap_err().to_string(), "b: Some(2) and None");
    }
}
