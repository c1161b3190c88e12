//! Carries faults out, and ends them.

use std::time::Duration;

use anyhow::{Context, Result};
use starling_harness::Hub;
use starling_realparts::{Clock, End, Namespace, Network, Side};

use crate::bed::Bed;
use crate::fault::Fault;
use crate::story;

/// How long a hub may take to hand its clusters over and end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Begins a fault.
pub(crate) fn begin(bed: &mut Bed, fault: &Fault) -> Result<()> {
    match fault {
        Fault::HubKilled { hub, .. } => bed.hubs.hub(*hub).kill9()?,
        Fault::HubPaused { hub, .. } => bed.hubs.hub(*hub).process().pause()?,
        Fault::HubCutFromEtcd { hub, .. } => network(bed)?.isolate(namespace(bed, *hub)?, Side::Back)?,
        Fault::HubCutFromAgents { hub, .. } => between_agents_and(bed, *hub, Network::cut)?,
        Fault::HubCutFromHubs { hub, .. } => between_hubs_and(bed, *hub, Network::cut)?,
        Fault::EtcdMemberKilled { member, .. } => bed.etcd.kill9(*member)?,
        Fault::EtcdMajorityLost { survivor, .. } => {
            for member in (0..bed.etcd.size()).filter(|member| member != survivor) {
                bed.etcd.kill9(member)?;
            }
        }
        Fault::ClockSkewed { hub, by, .. } => clock(bed, *hub)?.shift(*by)?,
        Fault::RollingRestart => {
            for hub in bed.hubs.all() {
                hub.stop(PATIENCE)?;
                hub.restart()?;
                // As a StatefulSet with `minReadySeconds` does it.
                story::wait_settled(bed)?;
            }
        }
        Fault::ScaledOutAndBack { .. } => bed.hubs.add(1)?,
    }
    Ok(())
}

/// Ends a fault; what has to start again for that answers when this returns.
pub(crate) fn heal(bed: &mut Bed, fault: &Fault) -> Result<()> {
    match fault {
        Fault::HubKilled { hub, .. } => bed.hubs.hub(*hub).restart()?,
        Fault::HubPaused { hub, .. } => bed.hubs.hub(*hub).process().resume()?,
        Fault::HubCutFromEtcd { hub, .. } => network(bed)?.heal(namespace(bed, *hub)?, Side::Back)?,
        Fault::HubCutFromAgents { hub, .. } => between_agents_and(bed, *hub, Network::mend)?,
        Fault::HubCutFromHubs { hub, .. } => between_hubs_and(bed, *hub, Network::mend)?,
        Fault::EtcdMemberKilled { .. } | Fault::EtcdMajorityLost { .. } => {
            for member in 0..bed.etcd.size() {
                if bed.etcd.process(member).check_running().is_err() {
                    bed.etcd.process(member).restart()?;
                }
            }
            bed.etcd.wait_all()?;
        }
        Fault::ClockSkewed { hub, .. } => clock(bed, *hub)?.shift(0)?,
        Fault::RollingRestart => {}
        Fault::ScaledOutAndBack { .. } => bed.hubs.remove_newest(PATIENCE)?,
    }
    Ok(())
}

/// Cuts or mends one direction of a side.
type Change = fn(&Network, Side, End<'_>, End<'_>) -> starling_realparts::Result<()>;

/// Agents live on the machine itself.
fn between_agents_and(bed: &Bed, hub: usize, change: Change) -> Result<()> {
    both_ways(network(bed)?, End::Machine, End::Namespace(namespace(bed, hub)?), change)
}

fn between_hubs_and(bed: &Bed, hub: usize, change: Change) -> Result<()> {
    for other in (0..bed.hubs.all().len()).filter(|other| *other != hub) {
        let (one, other) = (namespace(bed, hub)?, namespace(bed, other)?);
        both_ways(network(bed)?, End::Namespace(one), End::Namespace(other), change)?;
    }
    Ok(())
}

fn both_ways(network: &Network, one: End<'_>, other: End<'_>, change: Change) -> Result<()> {
    change(network, Side::Front, one, other)?;
    Ok(change(network, Side::Front, other, one)?)
}

fn network(bed: &Bed) -> Result<&Network> {
    bed.network.as_deref().context("this fault needs hubs in a network of their own")
}

fn namespace(bed: &Bed, hub: usize) -> Result<&Namespace> {
    let member = member(bed.hubs.hub(hub))?;
    member.namespace.as_ref().context("this fault needs hubs in a network of their own")
}

fn clock(bed: &Bed, hub: usize) -> Result<&Clock> {
    let member = member(bed.hubs.hub(hub))?;
    member.clock.as_ref().context("this fault needs hubs with clocks of their own")
}

fn member(hub: &Hub) -> Result<&starling_harness::HubMember> {
    hub.options().member.as_ref().context("the hub is one of several")
}
