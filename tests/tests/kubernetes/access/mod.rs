//! Who sees and does what: the people of the architecture page with Kubernetes' own tokens and roles, on a real API server.

mod changes;
mod client;
mod people;
mod reads;
mod time;
mod world;

use anyhow::{Context, Result};

use world::World;

#[test]
fn people_see_and_do_what_is_theirs() -> Result<()> {
    let world = World::start()?;
    tell(&world).with_context(|| {
        let process = world.hub.process();
        format!("--- end of {}\n{}", process.log_path().display(), process.log_tail())
    })?;
    world.hub.process().check_running()?;
    world.check_log(&[])
}

fn tell(world: &World) -> Result<()> {
    reads::everybody_sees_what_is_theirs(world)?;
    reads::counts_are_of_what_is_seen(world)?;
    reads::a_developer_learns_only_the_names_of_clusters(world)?;
    changes::everybody_does_what_is_theirs(world)?;
    changes::labels_are_not_a_workspaces_to_change(world)?;
    time::everybody_is_told_who_they_are(world)?;
    time::certificates_open_nothing(world)?;
    time::a_binding_takes_effect_within_seconds(world)?;
    time::a_deleted_token_ends_what_it_opened(world)?;
    time::without_the_api_server_nobody_is_let_in(world)
}
