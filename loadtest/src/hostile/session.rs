//! Sessions that hostile agents hold.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use starling_proto::v1;
use starling_proto::v1::session_service_client::SessionServiceClient;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::cluster::WildCluster;
use super::{Outcome, Tally, words};
use crate::link::{Link, LinkOptions};

/// How long a session may take to open.
const OPENS_WITHIN: Duration = Duration::from_secs(15);

/// The time between what an agent says that wants to be ended for what it says, not for how often.
const BETWEEN: Duration = Duration::from_millis(100);

/// How long a liar waits for what its lies bring.
const LISTENS: Duration = Duration::from_secs(2);

/// Statuses that a flood changes over and over.
const FLOODED: u64 = 10_000;

/// A kind of agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Junk,
    Flooding,
    Endless,
    Lying,
    Deaf,
}

/// The ends of an open session.
struct Session {
    out: mpsc::Sender<v1::ConnectRequest>,
    incoming: Streaming<v1::ConnectResponse>,
    link: Arc<Link>,
}

impl Kind {
    /// Returns its name in figures.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Junk => "junk",
            Self::Flooding => "flooding",
            Self::Endless => "endless",
            Self::Lying => "lying",
            Self::Deaf => "deaf",
        }
    }

    /// Holds one session; returns when the hub has ended it, or when the agent has said all that it had to say.
    ///
    /// # Errors
    /// The session was not opened.
    pub(super) async fn run(self, wild: &WildCluster, turn: usize, tally: &Tally) -> Result<Outcome> {
        match self {
            Self::Junk if turn % 7 == 6 => wild.target.speak_in_tongues(&wild.credential).await,
            Self::Junk => {
                let session = Session::open(wild, words::hello(&wild.name, None)).await?;
                session.say(words::junk(turn % 7)).await;
                Ok(Outcome::Ended)
            }
            Self::Flooding => {
                let session = Session::open(wild, words::hello(&wild.name, None)).await?;
                let batch = |sequence: u64| {
                    let kind = if sequence == 1 { v1::BatchKind::SnapshotWhole } else { v1::BatchKind::Delta };
                    let first = sequence * words::FLOOD_BATCH % FLOODED;
                    words::statuses(sequence, kind, first..first + words::FLOOD_BATCH)
                };
                session.pour(tally, self, batch).await;
                Ok(Outcome::Ended)
            }
            Self::Endless => {
                let session = Session::open(wild, words::hello(&wild.name, None)).await?;
                let batch = |sequence: u64| {
                    let kind = if sequence == 1 { v1::BatchKind::SnapshotStart } else { v1::BatchKind::SnapshotPart };
                    let first = sequence * words::SNAPSHOT_PART;
                    words::statuses(sequence, kind, first..first + words::SNAPSHOT_PART)
                };
                session.pour(tally, self, batch).await;
                Ok(Outcome::Ended)
            }
            Self::Lying => lie(wild, turn).await,
            Self::Deaf => {
                let session = Session::open(wild, words::hello(&wild.name, None)).await?;
                session.link.deafen();
                for sequence in 1.. {
                    if session.out.send(words::heartbeat(sequence)).await.is_err() {
                        break;
                    }
                    sleep(BETWEEN).await;
                }
                Ok(Outcome::Ended)
            }
        }
    }
}

/// Claims in turn a fence of the future, one of the past, to be another cluster, and what never was.
async fn lie(wild: &WildCluster, turn: usize) -> Result<Outcome> {
    let hello = match turn % 4 {
        0 => words::hello(&wild.name, Some(words::fence(u64::MAX))),
        1 => words::hello(&wild.name, Some(words::fence(0))),
        2 => words::hello(&words::victim(), None),
        _ => words::hello(&wild.name, None),
    };
    let session = Session::open(wild, hello).await?;
    // The hub need not end what it does not believe.
    let ended = timeout(LISTENS, session.say(words::lies())).await;
    Ok(if ended.is_ok() { Outcome::Ended } else { Outcome::HeardOut })
}

impl Session {
    /// Opens a session, and waits for the hub's welcome.
    async fn open(wild: &WildCluster, hello: v1::ConnectRequest) -> Result<Self> {
        let link = Link::new(LinkOptions::default(), Arc::default());
        let channel = wild.target.channel(Some(&wild.credential), &link).await?;
        let (out, messages) = mpsc::channel(4);
        out.send(hello).await.context("say hello")?;
        let mut client = SessionServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let opened = async {
            let mut incoming = client.connect(ReceiverStream::new(messages)).await?.into_inner();
            let welcome = incoming.message().await?.and_then(|message| message.message);
            anyhow::Ok((incoming, welcome))
        };
        let (incoming, welcome) = timeout(OPENS_WITHIN, opened).await.context("open a session")??;
        ensure!(matches!(welcome, Some(v1::connect_response::Message::Welcome(_))), "the hub does not say welcome");
        Ok(Self { out, incoming, link })
    }

    /// Says all of it, and reads until the hub ends the session.
    async fn say(self, messages: Vec<v1::ConnectRequest>) {
        let Self { out, incoming, link: _ } = self;
        let speaking = async {
            for message in messages {
                if out.send(message).await.is_err() {
                    break;
                }
            }
            pending::<()>().await;
        };
        tokio::select! {
            () = speaking => {}
            () = until_ended(incoming) => {}
        }
    }

    /// Sends batches as fast as the hub takes them, until it ends the session.
    async fn pour(self, tally: &Tally, kind: Kind, batch: impl Fn(u64) -> v1::ConnectRequest) {
        let Self { out, incoming, link: _ } = self;
        let speaking = async {
            for sequence in 1.. {
                if out.send(batch(sequence)).await.is_err() {
                    break;
                }
                tally.add(kind.name(), "batches", 1);
            }
            pending::<()>().await;
        };
        tokio::select! {
            () = speaking => {}
            () = until_ended(incoming) => {}
        }
    }
}

/// Reads until the stream ends.
async fn until_ended(mut incoming: Streaming<v1::ConnectResponse>) {
    while let Ok(Some(_)) = incoming.message().await {}
}
