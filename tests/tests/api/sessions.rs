//! Sessions that no agent would hold: without a certificate, without manners, with messages beyond the limits.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rcgen::KeyPair;
use starling_model::Uid;
use starling_model::limits::{LARGEST_BATCH_BYTES, Limits};
use starling_model::session::{AgentMessage, Hello};
use starling_proto::v1;
use starling_proto::v1::session_service_client::SessionServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::bed::{Agent, Bed, cluster, on_a_hub};
use crate::client::{self, Identity};

/// The ends of a session.
struct Session {
    out: mpsc::Sender<v1::ConnectRequest>,
    incoming: Streaming<v1::ConnectResponse>,
}

#[test]
fn a_session_needs_a_certificate() -> Result<()> {
    on_a_hub("sessions-certificate", &[], |bed| {
        let adoption = bed.adopt("edge", &[])?;
        let status = bed.runtime.block_on(async { Session::open(bed, &adoption.trust_pem, None).await })?;
        let status = status.err().context("a session without a certificate is opened")?;
        ensure!(status.code() == Code::Unauthenticated && status.message().contains("join first"), "{status:?}");
        Ok(())
    })
}

#[test]
fn messages_beyond_the_limits_end_the_session_that_sent_them_alone() -> Result<()> {
    on_a_hub("sessions-oversized", &[], |bed| {
        let _neighbour = neighbour(bed)?;
        let (trust_pem, identity) = joined(bed)?;
        let limit = Limits::DEFAULT.message_bytes as usize;
        let piece = LARGEST_BATCH_BYTES as usize;

        // Many small pieces of one message that never ends.
        let fragments = (0..=limit / piece).map(|_| fragment(piece, false));
        told(bed, &trust_pem, &identity, fragments, &format!("message exceeds {limit} bytes"))?;
        // One piece that is too large by itself.
        told(bed, &trust_pem, &identity, [fragment(limit + 1024, true)], "too large")?;
        // Pieces that are put together to nothing.
        told(bed, &trust_pem, &identity, [fragment(piece, true)], "cannot be decoded")?;
        // A second Hello.
        told(bed, &trust_pem, &identity, [hello()], "Hello comes once")?;
        // A batch without a kind.
        let batch = v1::StatusBatch { sequence: 1, ..v1::StatusBatch::default() };
        let batch = v1::ConnectRequest {
            message: Some(v1::connect_request::Message::Status(batch)),
            ..v1::ConnectRequest::default()
        };
        told(bed, &trust_pem, &identity, [batch], "")?;
        // Nothing at all.
        told(bed, &trust_pem, &identity, [v1::ConnectRequest::default()], "")?;
        bed.wait_live("neighbour")
    })
}

#[test]
fn a_stream_that_does_not_say_hello_is_ended() -> Result<()> {
    on_a_hub("sessions-no-hello", &[], |bed| {
        let _neighbour = neighbour(bed)?;
        let (trust_pem, identity) = joined(bed)?;
        let silent = bed.runtime.block_on(async {
            let mut session = Session::open(bed, &trust_pem, Some(&identity)).await?.context("a stream is opened")?;
            session.end().await
        })?;
        ensure!(silent.message().contains("Hello") && silent.message().contains("in time"), "{silent:?}");
        let rude = bed.runtime.block_on(async {
            let mut session = Session::open(bed, &trust_pem, Some(&identity)).await?.context("a stream is opened")?;
            let heartbeat = v1::connect_request::Message::Heartbeat(v1::Heartbeat { sequence: 1, dropped: 0 });
            let first = v1::ConnectRequest { message: Some(heartbeat), ..v1::ConnectRequest::default() };
            session.out.send(first).await.context("send")?;
            session.end().await
        })?;
        ensure!(rude.message().contains("must be Hello"), "{rude:?}");
        bed.wait_live("neighbour")
    })
}

/// Opens a session, says something that is wrong, and waits to be told so.
fn told(
    bed: &Bed,
    trust_pem: &str,
    identity: &Identity,
    wrong: impl IntoIterator<Item = v1::ConnectRequest>,
    words: &str,
) -> Result<()> {
    let status = bed.runtime.block_on(async {
        let mut session = Session::open(bed, trust_pem, Some(identity)).await?.context("a stream is opened")?;
        session.out.send(hello()).await.context("say hello")?;
        let welcome = session.incoming.message().await.context("read")?.and_then(|message| message.message);
        ensure!(matches!(welcome, Some(v1::connect_response::Message::Welcome(_))), "{welcome:?}");
        for message in wrong {
            // The hub may have ended the stream already, with what it says below.
            if session.out.send(message).await.is_err() {
                break;
            }
        }
        session.end().await
    })?;
    let named = status.metadata().get("starling-error").and_then(|code| code.to_str().ok()).unwrap_or_default();
    let is_clear = ["invalid-request", "limit-exceeded"].contains(&named) && status.message().contains(words);
    ensure!(is_clear && !status.message().is_empty(), "{words:?} is expected: {status:?}");
    Ok(())
}

/// Joins a cluster of which nothing but the identity exists.
fn joined(bed: &Bed) -> Result<(String, Identity)> {
    let adoption = bed.adopt("wild", &[])?;
    let key = KeyPair::generate()?;
    let address = bed.hub.address();
    let joined = client::join(&address, &adoption.trust_pem, &adoption.token, &key);
    let joined = bed.runtime.block_on(joined)?.context("join")?;
    let certificate = String::from_utf8(joined.certificate_pem).context("read the certificate")?;
    Ok((adoption.trust_pem, Identity { certificate, key: key.serialize_pem() }))
}

/// Runs a good agent beside.
fn neighbour(bed: &Bed) -> Result<Agent> {
    let agent = bed.run_agent(&cluster("neighbour"), &bed.adopt("neighbour", &[])?, "identity");
    bed.wait_live("neighbour")?;
    Ok(agent)
}

fn hello() -> v1::ConnectRequest {
    AgentMessage::Hello(Box::new(Hello {
        protocols: (1, 1),
        fingerprint: "a-fingerprint".to_owned(),
        instance: Uid::from_entropy([7; 16]),
        agent_version: "wild".to_owned(),
        facts: starling_model::Facts::default(),
        plan_digest: None,
        held: Vec::new(),
        kinds: Vec::new(),
        installs_digest: starling_model::Digest::default(),
        newest_fence: None,
        newest_epoch: 0,
        forward: false,
    }))
    .into()
}

fn fragment(bytes: usize, last: bool) -> v1::ConnectRequest {
    let fragment = v1::Fragment { message: 1, content: vec![0xff; bytes].into(), last };
    v1::ConnectRequest {
        message: Some(v1::connect_request::Message::Fragment(fragment)),
        ..v1::ConnectRequest::default()
    }
}

impl Session {
    /// Opens a stream; the inner error is what the hub answered at once.
    async fn open(bed: &Bed, trust_pem: &str, identity: Option<&Identity>) -> Result<Result<Self, Status>> {
        let channel = client::channel(&bed.hub.address(), client::tls(trust_pem, identity)?).await?;
        let (out, messages) = mpsc::channel(4);
        let opened = SessionServiceClient::new(channel).connect(ReceiverStream::new(messages)).await;
        Ok(opened.map(|response| Self { out, incoming: response.into_inner() }))
    }

    /// Waits for the end of the stream, and returns how it ended.
    async fn end(&mut self) -> Result<Status> {
        let read = async {
            loop {
                match self.incoming.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => bail!("the stream ended without a word"),
                    Err(status) => return Ok(status),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), read).await.context("the hub does not end the stream")?
    }
}
