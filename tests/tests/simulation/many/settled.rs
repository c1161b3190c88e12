//! Whether everything is as people want it, once nothing is disturbed any more.

use std::time::Duration;

use super::oracle::Oracle;
use super::world::Many;
use crate::invariants::{equal, is_settled};

/// Tells why it is not yet: every cluster at its one owner, live and ready, what is planned held, and every process shows the truth.
/// `since` is when the answers must have been asked for; `names` are the processes that are to be there.
pub(crate) fn settled(
    many: &Many,
    oracle: &Oracle,
    names: &[&str],
    since: Duration,
    evidence_lost: bool,
) -> Result<(), String> {
    let live = many.live();
    let running: Vec<&str> = live.iter().map(|(number, _)| many.machines[*number].name).collect();
    if running != names {
        return Err(format!("{running:?} run, and {names:?} should"));
    }
    let ring = oracle.fleet.ring().ok_or("there is no ring")?;
    let members: Vec<&str> = ring.members.iter().map(|member| member.name.as_str()).collect();
    if members != names {
        return Err(format!("{members:?} are in the ring, and {names:?} should be"));
    }
    if !many.world.people().wishes.is_empty() {
        return Err("people wait".into());
    }
    if let Some(proposal) = oracle.fleet.proposals().next() {
        return Err(format!("a removal waits for approval: {proposal:?}"));
    }
    for (number, hub) in &live {
        let name = many.machines[*number].name;
        if let Some(reason) = hub.hold.reason() {
            return Err(format!("{name} holds: {reason}"));
        }
        if hub.fleet.borrow().position() != oracle.fleet.position() {
            return Err(format!("{name} is behind the store"));
        }
    }
    for managed in &many.world.clusters {
        let owner = oracle.fleet.owner(&managed.id).ok_or("a cluster has no owner")?;
        for (number, hub) in &live {
            let machine = &many.machines[*number];
            let view = hub.shard.view(&managed.id);
            if machine.name != owner.name {
                if let Some(view) = view {
                    return Err(format!("{} has {}, which is {}'s: {view:?}", machine.name, managed.name, owner.name));
                }
                continue;
            }
            is_settled(&many.world, hub, managed, evidence_lost)
                .map_err(|why| format!("{} at {}: {why}", managed.name, machine.name))?;
        }
        let truth = managed.truth();
        for (number, _) in &live {
            let name = many.machines[*number].name;
            let answer = many.machines[*number].answer().filter(|answer| answer.asked >= since);
            let answer = answer.ok_or_else(|| format!("{name} has not answered yet"))?;
            if !answer.unanswered.is_empty() {
                return Err(format!("{name} has no answer of {:?}", answer.unanswered));
            }
            let nothing = Default::default();
            equal(&truth, answer.objects.get(&managed.id).unwrap_or(&nothing))
                .map_err(|difference| format!("I4: {} is not what {name} shows: {difference}", managed.name))?;
            let view = answer.views.get(&managed.id);
            let view = view.ok_or_else(|| format!("{name} does not list {}", managed.name))?;
            if !(view.connected && view.standing.live && view.standing.ready) {
                return Err(format!("{name} shows {} as not live and ready: {view:?}", managed.name));
            }
        }
    }
    Ok(())
}
