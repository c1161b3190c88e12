//! A small network of namespaces: each has two sides that can be cut apart, one by one and without a sound.
//!
//! Owns namespaces, their links and addresses. A namespace is held by a process of its own, and the links hang on it, so that
//! the kernel removes all of it when this process dies, however it does. One further namespace is the switch: it holds a bridge
//! a side, and the machine itself has an address on both. A cut is never a refusal: packets leave for a hardware address that
//! nobody has, as they would into a broken wire.

mod block;
mod holder;
mod tool;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result, create_folder};
use block::Block;
use holder::Holder;

/// Namespaces that one network takes in its life.
const LARGEST: u8 = 200;

/// A hardware address that no link has.
const NOWHERE: &str = "02:de:ad:00:00:00";

/// One of the two links that each namespace has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Towards those who call it.
    Front,
    /// Towards what it calls itself.
    Back,
}

/// A running network; everything in it is gone when this is dropped, or when this process ends.
#[derive(Debug)]
pub struct Network {
    block: Block,
    folder: PathBuf,
    switch: Holder,
    members: Mutex<Vec<Namespace>>,
}

/// A network namespace with one address on each side; lives as long as something holds a clone of it.
#[derive(Debug, Clone)]
pub struct Namespace {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    number: u8,
    addresses: [Ipv4Addr; 2],
    holder: Holder,
}

/// One end of a cut.
#[derive(Debug, Clone, Copy)]
pub enum End<'a> {
    /// The machine itself, with everything that runs in no namespace of the network.
    Machine,
    /// A namespace.
    Namespace(&'a Namespace),
}

impl Side {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::Front, Self::Back];

    fn link(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Back => "back",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Front => 0,
            Self::Back => 1,
        }
    }
}

impl Network {
    /// Makes a network without namespaces; its few files go into `folder`. Needs root, and `ip` of iproute2.
    pub fn start(folder: &Path) -> Result<Self> {
        tool::require()?;
        let folder = create_folder(folder)?;
        let block = Block::reserve()?;
        let switch = Holder::start(&folder, "switch")?;
        let id = switch.id()?;
        for side in Side::BOTH {
            let (bridge, machine) = (side.link(), block.machine_link(side));
            tool::ip(Some(&switch), &[format!("link add {bridge} type bridge"), format!("link set {bridge} up")])?;
            let (hardware, address) = (block.hardware(side, 1), block.address(side, 1));
            let there = [
                format!("link add {machine} address {hardware} type veth peer name machine-{bridge} netns {id}"),
                format!("address add {address}/24 dev {machine}"),
                format!("link set {machine} up"),
            ];
            tool::ip(None, &there)?;
            tool::ip(Some(&switch), &[format!("link set machine-{bridge} master {bridge} up")])?;
        }
        Ok(Self { block, folder, switch, members: Mutex::default() })
    }

    /// The machine's own address on a side, which namespaces reach.
    pub fn machine(&self, side: Side) -> Ipv4Addr {
        self.block.address(side, 1)
    }

    /// Adds a namespace, with an address on each side that the machine and all other namespaces reach.
    pub fn attach(&self, name: &str) -> Result<Namespace> {
        let mut members = self.lock();
        let number = u8::try_from(members.len()).ok().filter(|number| *number < LARGEST);
        let Some(number) = number.map(|number| number + 10) else {
            return Err(self.unexpected(&format!("it has had {LARGEST} of them: start another network")));
        };
        let holder = Holder::start(&self.folder, name)?;
        let addresses = Side::BOTH.map(|side| self.block.address(side, number));
        let namespace = Namespace { inner: Arc::new(Inner { name: name.to_owned(), number, addresses, holder }) };
        let switch = self.switch.id()?;
        tool::ip(Some(&namespace.inner.holder), &["link set lo up".to_owned()])?;
        for side in Side::BOTH {
            let (link, hardware) = (side.link(), self.block.hardware(side, number));
            let (port, address) = (port(side, number), namespace.address(side));
            let there = [
                format!("link add {link} address {hardware} type veth peer name {port} netns {switch}"),
                format!("address add {address}/24 dev {link}"),
                format!("link set {link} up"),
            ];
            tool::ip(Some(&namespace.inner.holder), &there)?;
            tool::ip(Some(&self.switch), &[format!("link set {port} master {link} up")])?;
        }
        // Whom everybody knows by heart nobody has to ask for, so that a cut stays silent for as long as it lasts.
        let known = members.iter().map(End::Namespace).chain([End::Machine]);
        for other in known {
            for side in Side::BOTH {
                self.teach(side, other, End::Namespace(&namespace), false)?;
                self.teach(side, End::Namespace(&namespace), other, false)?;
            }
        }
        members.push(namespace.clone());
        Ok(namespace)
    }

    /// Cuts a namespace off from everybody on a side, in both directions, until [`Network::heal`].
    pub fn isolate(&self, namespace: &Namespace, side: Side) -> Result<()> {
        let port = port(side, namespace.inner.number);
        tool::ip(Some(&self.switch), &[format!("link set {port} nomaster")])
    }

    /// Ends what [`Network::isolate`] began.
    pub fn heal(&self, namespace: &Namespace, side: Side) -> Result<()> {
        let port = port(side, namespace.inner.number);
        tool::ip(Some(&self.switch), &[format!("link set {port} master {}", side.link())])
    }

    /// Loses every packet from one end to another on a side, in this direction only, until [`Network::mend`].
    pub fn cut(&self, side: Side, from: End<'_>, to: End<'_>) -> Result<()> {
        self.teach(side, from, to, true)
    }

    /// Ends what [`Network::cut`] began.
    pub fn mend(&self, side: Side, from: End<'_>, to: End<'_>) -> Result<()> {
        self.teach(side, from, to, false)
    }

    /// Says to one end which hardware address another has: its own, or nobody's.
    fn teach(&self, side: Side, from: End<'_>, to: End<'_>, lost: bool) -> Result<()> {
        let number = |end: End<'_>| match end {
            End::Machine => 1,
            End::Namespace(namespace) => namespace.inner.number,
        };
        let address = self.block.address(side, number(to));
        let hardware = if lost { NOWHERE.to_owned() } else { self.block.hardware(side, number(to)) };
        let (holder, link) = match from {
            End::Machine => (None, self.block.machine_link(side)),
            End::Namespace(namespace) => (Some(&namespace.inner.holder), side.link().to_owned()),
        };
        tool::ip(holder, &[format!("neighbour replace {address} lladdr {hardware} dev {link} nud permanent")])
    }

    fn unexpected(&self, detail: &str) -> Error {
        Error::Unexpected {
            what: format!("add a namespace to network {}", self.block.machine_link(Side::Front)),
            detail: detail.to_owned(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Namespace>> {
        // A panic of another thread can leave out the newest namespace at most.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Namespace {
    /// The name it was attached with.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its address on a side.
    pub fn address(&self, side: Side) -> Ipv4Addr {
        self.inner.addresses[side.index()]
    }

    /// The argument that makes `nsenter` enter it.
    pub(crate) fn enter(&self) -> Result<OsString> {
        self.inner.holder.enter()
    }
}

/// The name of a namespace's link at the switch.
fn port(side: Side, number: u8) -> String {
    format!("{}-{number}", side.link())
}

#[cfg(test)]
mod tests;
