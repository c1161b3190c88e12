//! What people and clusters do, in every scenario.

use starling_model::Value;

use crate::documents::SLOTS;
use crate::script::Step;
use crate::world::{Wish, World};

/// Carries out what concerns documents, people and clusters alone; false if a host or a link has to be disturbed, too.
pub(crate) fn carry_out(world: &World, step: Step) -> bool {
    match step {
        Step::Assign(slot, wanted) => world.assign(&SLOTS[slot], wanted),
        Step::Delete(slot) => wish(world, Wish::Delete(&SLOTS[slot])),
        Step::Vanish(slot, gone) => world.documents().vanish(&SLOTS[slot], gone),
        Step::Garble(slot, garbled) => world.documents().garble(&SLOTS[slot], garbled),
        Step::Empty(empty) => world.documents().empty(empty),
        Step::Pause(slot, paused) => world.documents().pause(&SLOTS[slot], paused),
        Step::Relabel(cluster, tier) => world.documents().relabel(&world.clusters[cluster].name, tier),
        Step::Leave(cluster) => wish(world, Wish::Leave(cluster)),
        Step::Approve => wish(world, Wish::Approve),
        Step::Churn(cluster, index, ready) => {
            world.clusters[cluster].churn(index, ready);
        }
        Step::Fail(cluster, slot, fails) => {
            let message = fails.then_some("install retries exhausted");
            world.clusters[cluster].cluster.set_failing(SLOTS[slot].name, message);
        }
        Step::Edit(cluster, pick) => edit(world, cluster, pick),
        Step::DeleteByHand(cluster, pick) => {
            let cluster = &world.clusters[cluster].cluster;
            if let Some(key) = pick_of(cluster.objects().into_keys().collect(), pick) {
                cluster.delete_by_hand(&key);
            }
        }
        Step::Suspend(cluster, sleep) => {
            world.clusters[cluster].machine.clock.suspend(sleep);
            return false;
        }
        Step::ApiServer(cluster, answers) => {
            world.clusters[cluster].cluster.set_available(answers);
            return false;
        }
        Step::Stall(cluster, stalled) => {
            world.clusters[cluster].machine.stall(stalled);
            return false;
        }
        Step::Flaky(cluster, flaky) => {
            world.clusters[cluster].set_flaky(flaky);
            return false;
        }
        Step::StartTwin => {
            world.people().twin = true;
            return false;
        }
        Step::CrashTwin => {
            world.people().twin = false;
            return false;
        }
        Step::Partition(_)
        | Step::PartitionTowardsHub(_)
        | Step::Repair(_)
        | Step::Hold(_)
        | Step::Release(_)
        | Step::CrashAgent(_)
        | Step::StartAgent(_)
        | Step::CrashHub
        | Step::StartHub
        | Step::LoseStore
        | Step::BackUp
        | Step::Restore => return false,
    }
    true
}

/// Ends what people and clusters do that keeps the world from coming to rest.
pub(crate) fn calm(world: &World) {
    world.documents().settle();
    world.people().settling = true;
    for managed in &world.clusters {
        for slot in &SLOTS {
            managed.cluster.set_failing(slot.name, None);
        }
        for index in 0.. {
            if !managed.churn(index, true) {
                break;
            }
        }
    }
}

fn wish(world: &World, wish: Wish) {
    world.people().wishes.push_back(wish);
}

fn edit(world: &World, cluster: usize, pick: u64) {
    let cluster = &world.clusters[cluster].cluster;
    let Some(key) = pick_of(cluster.objects().into_keys().collect(), pick) else { return };
    let edited = Value::map([("spec", Value::map([("interval", format!("{}m", 11 + pick % 40))]))]);
    cluster.edit(&key, |object| object.merge(&edited));
}

fn pick_of<T>(mut things: Vec<T>, pick: u64) -> Option<T> {
    let count = things.len() as u64;
    let index = usize::try_from(pick.checked_rem(count)?).expect("less than a usize");
    Some(things.swap_remove(index))
}
