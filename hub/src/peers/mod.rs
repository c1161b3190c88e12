//! The other processes of the hub: reached, asked, and answered.
//!
//! Owns channels to them, who may be asked at all (a process that did not answer rests for a while), and the gRPC service that
//! they call. Does not own what is asked ([`crate::gather`]) nor who decides ([`crate::member`]).

mod changes;
mod proxy;
mod service;
mod submit;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use starling_hub_core::fleet::Fleet;
use starling_model::Millis;
use starling_proto::v1;
use starling_proto::v1::peer_service_client::PeerServiceClient;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;

use crate::channel::{self, AddressError};
use crate::gather::{ANSWERS_WITHIN, Asked, Obeyed, Ordered, Others, Part};
use crate::keyring::{AuthorityError, Keyring, SERVER_LIFETIME};
use crate::member::{Identity, MemberRecord, Neighbour, Seen, Term};
use crate::ports::{Clock, Dialer, Entropy};
use crate::shard::Forwarder;
use crate::tls::{self, TlsError};

pub use proxy::ToSteward;
pub use service::{Peer, PeerParts as ServiceParts};

/// The largest message between processes, in bytes: what one of them knows of ten thousand clusters and more.
const MESSAGE: usize = 128 * 1024 * 1024;

/// How long a process that did not answer is not asked again.
const REST: Duration = Duration::from_secs(3);

/// What reaching the others works with.
pub struct PeersParts {
    /// Which process this is.
    pub identity: Identity,
    /// The fleet's secrets.
    pub keyring: Arc<Keyring>,
    /// The network.
    pub dialer: Arc<dyn Dialer>,
    /// The fleet as every reader of the process sees it.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// What is seen of the processes.
    pub seen: Seen,
    /// This process's term, while it has one.
    pub term: watch::Receiver<Option<Term>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
}

/// The other processes, as this one reaches them.
pub struct Peers {
    parts: PeersParts,
    lines: Mutex<Lines>,
    changes: watch::Sender<u64>,
}

/// The channels that are there, and who rests.
#[derive(Default)]
struct Lines {
    channels: BTreeMap<(Use, String), Channel>,
    /// Until when a process is not asked, by name, uptime.
    resting: BTreeMap<String, Millis>,
    tls: Option<(Arc<ClientConfig>, Millis)>,
}

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// What processes ask and tell one another.
    Questions,
    /// Calls that are passed on.
    Calls,
}

/// A process that cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Its address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// This process's own certificate.
    #[error(transparent)]
    Certificate(#[from] AuthorityError),
    /// This process's own certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody knows where it is.
    #[error("no address of hub process {0:?} is known")]
    Unknown(String),
    /// It did not answer, or refused.
    #[error("{}", .0.message())]
    Status(#[from] Status),
    /// It did not answer in time.
    #[error("hub process {0:?} did not answer in time")]
    Late(String),
    /// It answered something else, being of another version.
    #[error("hub process answered what this version does not understand: {0}")]
    Garbled(#[from] serde_json::Error),
}

impl Peers {
    /// Makes the ways to all others.
    #[must_use]
    pub fn new(parts: PeersParts) -> Arc<Self> {
        Arc::new(Self { parts, lines: Mutex::default(), changes: watch::Sender::new(0) })
    }

    /// Returns a channel to an address, which is dialled when it is used.
    ///
    /// # Errors
    /// The address, or the certificate of this process.
    pub fn channel(&self, address: &str) -> Result<Channel, PeerError> {
        self.channel_for(Use::Questions, address)
    }

    /// Returns a channel for calls of people, which may take all the room that there is on it.
    fn call_channel(&self, address: &str) -> Result<Channel, PeerError> {
        self.channel_for(Use::Calls, address)
    }

    fn channel_for(&self, purpose: Use, address: &str) -> Result<Channel, PeerError> {
        let mut lines = self.lines();
        let tls = self.tls(&mut lines)?;
        let key = (purpose, address.to_owned());
        if let Some(channel) = lines.channels.get(&key) {
            return Ok(channel.clone());
        }
        let channel = channel::lazy(&self.parts.dialer, address, Some(tls))?;
        let known = self.addresses();
        lines.channels.retain(|(_, address), _| known.contains(address));
        lines.channels.insert(key, channel.clone());
        Ok(channel)
    }

    /// Returns a channel of its own to an address, for a stream that lasts.
    ///
    /// # Errors
    /// As [`Self::channel`].
    pub fn own_channel(&self, address: &str) -> Result<Channel, PeerError> {
        let tls = self.tls(&mut self.lines())?;
        Ok(channel::lazy(&self.parts.dialer, address, Some(tls))?)
    }

    /// Returns the address of a process: where it lives, else where the ring says that it was.
    fn address(&self, name: &str) -> Option<String> {
        let seen = self.parts.seen.borrow();
        if let Some(member) = seen.members.get(name) {
            return Some(member.address.clone());
        }
        let fleet = self.parts.fleet.borrow();
        let member = fleet.ring()?.members.iter().find(|member| member.name == name)?;
        Some(member.address.clone())
    }

    fn addresses(&self) -> BTreeSet<String> {
        let names = self.names();
        names.iter().filter_map(|name| self.address(name)).collect()
    }

    /// Returns the configuration of connections, with a certificate that is not about to end.
    fn tls(&self, lines: &mut Lines) -> Result<Arc<ClientConfig>, PeerError> {
        let now = self.parts.clock.now();
        if let Some((config, _)) = lines.tls.as_ref().filter(|(_, ends)| *ends > now.plus(SERVER_LIFETIME / 3)) {
            return Ok(Arc::clone(config));
        }
        let ports = (self.parts.clock.as_ref(), self.parts.entropy.as_ref());
        let (identity, ends) = self.parts.keyring.issue_process(&self.parts.identity.name, ports)?;
        let config = tls::process_config(&self.parts.keyring, &identity, &self.parts.clock)?;
        lines.tls = Some((Arc::clone(&config), ends));
        // Those that are open show the certificate before.
        lines.channels.clear();
        Ok(config)
    }

    fn client(&self, address: &str) -> Result<PeerServiceClient<Channel>, PeerError> {
        let client = PeerServiceClient::new(self.channel(address)?);
        Ok(client.max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE))
    }

    fn client_of(&self, name: &str) -> Result<PeerServiceClient<Channel>, PeerError> {
        let address = self.address(name).ok_or_else(|| PeerError::Unknown(name.to_owned()))?;
        self.client(&address)
    }

    async fn ask_one(&self, name: &str, asked: &Asked) -> Result<Part, PeerError> {
        let mut client = self.client_of(name)?;
        let request = v1::AskRequest { asked: to_json(asked) };
        let late = |_| PeerError::Late(name.to_owned());
        let answer = timeout(ANSWERS_WITHIN, client.ask(request)).await.map_err(late)??;
        from_json(&answer.into_inner().part)
    }

    async fn order_one(&self, name: &str, ordered: &Ordered) -> Result<Obeyed, PeerError> {
        let mut client = self.client_of(name)?;
        let request = v1::OrderRequest { ordered: to_json(ordered) };
        let within = Duration::from_millis(ordered.within_millis).saturating_add(ANSWERS_WITHIN);
        let late = |_| PeerError::Late(name.to_owned());
        let answer = timeout(within, client.order(request)).await.map_err(late)??;
        from_json(&answer.into_inner().obeyed)
    }

    fn is_resting(&self, name: &str) -> bool {
        let uptime = self.parts.clock.uptime();
        self.lines().resting.get(name).is_some_and(|until| uptime < *until)
    }

    fn note<T>(&self, name: &str, outcome: Result<T, PeerError>) -> Option<T> {
        let uptime = self.parts.clock.uptime();
        let mut lines = self.lines();
        match outcome {
            Ok(value) => {
                lines.resting.remove(name);
                Some(value)
            }
            Err(error) => {
                let is_news = lines.resting.insert(name.to_owned(), uptime.plus(REST)).is_none();
                drop(lines);
                if is_news {
                    tracing::info!(name, %error, "another hub process does not answer");
                }
                None
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Others for Peers {
    fn names(&self) -> BTreeSet<String> {
        let fleet = self.parts.fleet.borrow();
        let owners = fleet.ring().into_iter().flat_map(|ring| &ring.members).map(|member| member.name.clone());
        let mut names: BTreeSet<String> = owners.collect();
        names.extend(self.parts.seen.borrow().members.keys().cloned());
        names.remove(&self.parts.identity.name);
        names
    }

    async fn ask(&self, name: &str, asked: &Asked) -> Option<Part> {
        if self.is_resting(name) {
            return None;
        }
        let outcome = self.ask_one(name, asked).await;
        self.note(name, outcome)
    }

    async fn order(&self, name: &str, ordered: &Ordered) -> Option<Obeyed> {
        if self.is_resting(name) {
            // Nothing was sent: it is as if the agent were not there.
            return Some(Err(crate::shard::CommandError::NotConnected));
        }
        let outcome = self.order_one(name, ordered).await;
        self.note(name, outcome)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[async_trait]
impl Neighbour for Peers {
    async fn answers(&self, name: &str, record: &MemberRecord) -> bool {
        let Ok(mut client) = self.client(&record.address) else { return false };
        let Ok(answer) = client.identify(v1::IdentifyRequest {}).await else { return false };
        let answer = answer.into_inner();
        answer.name == name && answer.incarnation == record.incarnation.0
    }
}

impl Forwarder for Peers {
    fn stream_to(&self, address: &str) -> Result<Channel, String> {
        self.own_channel(address).map_err(|error| error.to_string())
    }
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("what processes say to one another is JSON")
}

fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, PeerError> {
    Ok(serde_json::from_slice(json)?)
}
