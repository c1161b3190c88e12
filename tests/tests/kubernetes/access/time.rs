//! What changes with time: permissions that are taken away, tokens that are deleted, an API server that is away.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use starling_proto::v1;
use starling_tests::steps::wait;
use tonic::{Code, Status};

use super::client::Person;
use super::world::World;

/// What the hub remembers for at most, and a little for the asking.
const REMEMBERED: Duration = Duration::from_secs(10 + 3);

/// The API server itself remembers a good token for ten seconds.
const REMEMBERED_BY_BOTH: Duration = Duration::from_secs(20 + 3);

/// Without a good token nobody comes in, whatever certificate the connection shows.
pub(super) fn certificates_open_nothing(world: &World) -> Result<()> {
    let refused = |person: &Person, text: &str| {
        let Err(status) = clusters(person) else { anyhow::bail!("{text}: it was let in") };
        ensure!(status.code() == Code::Unauthenticated && status.message().contains(text), "{status:?}");
        Ok(())
    };
    refused(&world.nobody(), "no token was sent")?;
    let wrong = Person { token: Some("not-a-token".to_owned()), ..world.nobody() };
    refused(&wrong, "does not know the token")?;
    // The thief of a cluster's certificate has a connection of the cluster's, and nothing else.
    let thief = Person { certificate: Some(world.stolen_certificate("b-1")?), ..world.nobody() };
    refused(&thief, "no token was sent")?;
    refused(&Person { token: Some("not-a-token".to_owned()), ..thief }, "does not know the token")
}

/// What WhoAmI tells.
pub(super) fn everybody_is_told_who_they_are(world: &World) -> Result<()> {
    let person = world.person("retailer")?;
    let told = person.call(v1::WhoAmIRequest {}, |mut client, it| async move { client.who_am_i(it).await });
    let told = told.map_err(|status| anyhow!("{status}"))?;
    ensure!(told.name == "system:serviceaccount:people:retailer" && told.authenticator == "kubernetes", "{told:?}");
    ensure!(told.groups.iter().any(|group| group == "system:serviceaccounts:people"), "{told:?}");
    // A token that opens nothing but a hub.
    let bound =
        world.management.admin().run(&["create", "token", "oncall", "-n", "people", "--audience", "starling-hub"])?;
    let oncall = Person { token: Some(bound.trim().to_owned()), ..world.nobody() };
    clusters(&oncall).map_err(|status| anyhow!("a token for the hub alone: {status}"))?;
    let foreign =
        world.management.admin().run(&["create", "token", "oncall", "-n", "people", "--audience", "vault"])?;
    let foreign = Person { token: Some(foreign.trim().to_owned()), ..world.nobody() };
    ensure!(
        clusters(&foreign).is_err_and(|status| status.code() == Code::Unauthenticated),
        "another's token was taken"
    );
    Ok(())
}

/// A binding that is deleted ends within the time that answers are remembered; one that is made begins.
pub(super) fn a_binding_takes_effect_within_seconds(world: &World) -> Result<()> {
    let (person, admin) = (world.person("retailer")?, world.management.admin());
    ensure!(clusters(&person).is_ok());
    admin.run(&["-n", "retail", "delete", "rolebinding", "retailer"])?;
    within(REMEMBERED, || {
        let refused = clusters(&person);
        ensure!(refused.as_ref().is_err_and(|status| status.code() == Code::PermissionDenied), "{refused:?}");
        Ok(())
    })?;
    let bind = ["create", "rolebinding", "retailer", "--clusterrole", "starling-workspace-admin"];
    admin.run(&[&["-n", "retail"], bind.as_slice(), &["--serviceaccount", "people:retailer"]].concat())?;
    within(REMEMBERED, || {
        let listed = clusters(&person).map_err(|status| anyhow!("{status}"))?;
        ensure!(listed == ["r-1"], "{listed:?}");
        Ok(())
    })
}

/// A token whose account is deleted is refused, and ends the watch that it opened.
pub(super) fn a_deleted_token_ends_what_it_opened(world: &World) -> Result<()> {
    let person = world.person("oncall")?;
    let watcher = person.clone();
    let watch = std::thread::spawn(move || {
        watcher.read(v1::WatchRequest {}, |mut client, mut it| async move {
            it.metadata_mut().remove("grpc-timeout");
            client.watch(it).await
        })
    });
    ensure!(clusters(&person).is_ok());
    world.management.admin().run(&["-n", "people", "delete", "serviceaccount", "oncall"])?;
    within(REMEMBERED_BY_BOTH, || {
        let refused = clusters(&person);
        ensure!(refused.as_ref().is_err_and(|status| status.code() == Code::Unauthenticated), "{refused:?}");
        Ok(())
    })?;
    within(REMEMBERED_BY_BOTH, || {
        ensure!(watch.is_finished(), "the watch still goes on");
        Ok(())
    })?;
    let ended = watch.join().map_err(|_| anyhow!("the watch panicked"))?;
    ensure!(ended.as_ref().is_err_and(|status| status.code() == Code::Unauthenticated), "{ended:?}");
    Ok(())
}

/// Who cannot be asked is no answer: neither yes nor no.
pub(super) fn without_the_api_server_nobody_is_let_in(world: &World) -> Result<()> {
    let person = world.person("platform")?;
    ensure!(clusters(&person).is_ok());
    let server = world.management.cluster().api_server();
    server.kill9()?;
    let killed = Instant::now();
    let unavailable = loop {
        match clusters(&person) {
            Ok(_) if killed.elapsed() < REMEMBERED + Duration::from_secs(5) => {
                std::thread::sleep(Duration::from_millis(300));
            }
            other => break other,
        }
    };
    let status = unavailable.err().ok_or_else(|| anyhow!("it is still let in after {:?}", killed.elapsed()))?;
    ensure!(status.code() == Code::Unavailable, "{status:?}");
    ensure!(status.message().contains("cannot ask the Kubernetes API server"), "{status:?}");
    let stranger = Person { token: Some("somebody-else".to_owned()), ..world.nobody() };
    ensure!(clusters(&stranger).is_err_and(|status| status.code() == Code::Unavailable), "a stranger's token");
    server.restart()?;
    wait("the hub to ask again", || {
        let listed = clusters(&person).map_err(|status| anyhow!("{status}"))?;
        ensure!(listed.len() == 3, "{listed:?}");
        Ok(())
    })
}

fn clusters(person: &Person) -> Result<Vec<String>, Status> {
    let listed = person
        .call(v1::ListClustersRequest::default(), |mut client, it| async move { client.list_clusters(it).await })?;
    Ok(listed.clusters.into_iter().map(|cluster| cluster.name).collect())
}

fn within(time: Duration, ask: impl Fn() -> Result<()>) -> Result<()> {
    let until = Instant::now() + time;
    loop {
        match ask() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= until => return Err(error.context(format!("within {time:?}"))),
            Err(_) => std::thread::sleep(Duration::from_millis(300)),
        }
    }
}
