//! One session's task: reads what its agent says, and says what is due.

use std::sync::Arc;
use std::time::Duration;

use starling_hub_core::session::rate::Rate;
use starling_hub_core::session::sequence::Sequence;
use starling_model::Millis;
use starling_model::limits::{HEARTBEAT_INTERVAL, HELLO_TIMEOUT, RECONNECT_WINDOW, SESSION_TIMEOUT};
use starling_model::session::{AgentMessage, Hello, HubMessage, Welcome};
use starling_proto::fragment::Assembler;
use starling_proto::v1;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Status, Streaming};

use super::outgoing::Outgoing;
use super::{Caller, End, Outbox, Pending, Sessions, forward};
use crate::shard::{OpenSession, Opened, Routing};

/// How long the last message of a session may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves one stream to its end.
pub(super) async fn serve(
    sessions: Sessions,
    caller: Caller,
    pending: Pending,
    mut incoming: Streaming<v1::ConnectRequest>,
    outbox: Outbox,
) {
    // Boxed, here and below, so that an idle session keeps room for what it waits in alone.
    let begun = Box::pin(begin(&sessions, &caller, &mut incoming)).await;
    drop(pending);
    let end = match begun {
        Err(Unbegun { end: End::PassOn { address }, first: Some(first) }) => {
            Box::pin(pass_on(&sessions, &address, &caller, *first, &mut incoming, &outbox)).await
        }
        // It was let in while the process began to stop, and nobody else tells it.
        Ok(_) if sessions.shard.tasks.is_closed() => End::Draining,
        Ok((opened, hello)) => {
            let task = Box::new(Task::new(&sessions, &caller, opened, *hello));
            Box::pin(task.run(&mut incoming, &outbox)).await
        }
        Err(unbegun) => unbegun.end,
    };
    sessions.shard.counters.count_end(end.as_str());
    tracing::debug!(cluster = %caller.cluster, reason = end.as_str(), "session ended");
    // A peer that does not read gets no farewell.
    let _ = Box::pin(timeout(FAREWELL, part(end, &outbox))).await;
}

/// Says what belongs to an end, if there is anybody to hear it.
async fn part(end: End, outbox: &Outbox) {
    let last = match &end {
        End::Draining => Some(HubMessage::Drain { window: RECONNECT_WINDOW }),
        End::Elsewhere { address, epoch } => Some(HubMessage::Redirect { address: address.clone(), epoch: *epoch }),
        _ => None,
    };
    if let Some(last) = last {
        let _ = outbox.send(Box::new(Ok(last.into()))).await;
    }
    if !matches!(end, End::Gone) {
        let _ = outbox.send(Box::new(Err(end.status()))).await;
    }
}

/// A session that did not begin.
struct Unbegun {
    end: End,
    /// The first message, whole, if it came.
    first: Option<Box<v1::ConnectRequest>>,
}

impl From<End> for Unbegun {
    fn from(end: End) -> Self {
        Self { end, first: None }
    }
}

async fn pass_on(
    sessions: &Sessions,
    address: &str,
    caller: &Caller,
    first: v1::ConnectRequest,
    incoming: &mut Streaming<v1::ConnectRequest>,
    outbox: &Outbox,
) -> End {
    let shard = &sessions.shard;
    let Some(forwarder) = &shard.parts.forwarder else { return End::Behind };
    shard.counters.forwarded.add(1);
    let piece = shard.parts.limits.batch_bytes as usize;
    let epoch = shard.epoch();
    let passed = async {
        match forward::pass_on(forwarder.as_ref(), address, caller, (first, piece), incoming, outbox).await {
            Ok(end) => end,
            Err(why) => owner_lost(sessions, caller, address, epoch, why).await,
        }
    };
    tokio::select! {
        end = passed => end,
        () = sessions.stopping.cancelled() => End::Draining,
    }
}

/// Keeps an agent whose owner cannot be reached until the ring names another: coming again and again would bring it nowhere, and
/// let it wait longer each time.
async fn owner_lost(sessions: &Sessions, caller: &Caller, lost: &str, epoch: u64, why: String) -> End {
    let shard = &sessions.shard;
    match shard.next_owner(caller.cluster, epoch).await {
        None => End::NotPassedOn(why),
        Some((address, epoch)) if address != lost && shard.parts.routing == Routing::Redirect => {
            shard.counters.redirected.add(1);
            End::Elsewhere { address, epoch }
        }
        Some(_) => End::Moved,
    }
}

/// Waits for Hello and opens the session.
async fn begin(
    sessions: &Sessions,
    caller: &Caller,
    incoming: &mut Streaming<v1::ConnectRequest>,
) -> Result<(Opened, Box<Hello>), Unbegun> {
    let mut assembler = Assembler::default();
    let limit = sessions.shard.parts.limits.message_bytes as usize;
    let first = async {
        loop {
            let message = incoming.message().await.map_err(|status| broken(&status))?.ok_or(End::Gone)?;
            let whole = assembler.accept(message, limit).map_err(|error| End::Hello(error.to_string()))?;
            if let Some(whole) = whole {
                return Ok::<_, End>(whole);
            }
        }
    };
    let missing = || End::Hello("the first message of a session, Hello, did not come in time".into());
    let first = timeout(HELLO_TIMEOUT, first).await.map_err(|_| missing())??;
    let message = AgentMessage::try_from(first.clone()).map_err(|error| End::Hello(error.to_string()))?;
    match message {
        AgentMessage::Hello(hello) => match sessions.shard.open(caller.cluster, caller.key, &hello, caller.forwarded) {
            Ok(opened) => Ok((opened, hello)),
            Err(end) => Err(Unbegun { end, first: Some(Box::new(first)) }),
        },
        AgentMessage::Status(_)
        | AgentMessage::Receipt(_)
        | AgentMessage::Heartbeat(_)
        | AgentMessage::CommandResult(_)
        | AgentMessage::Detached(_) => Err(End::Hello("the first message of a session must be Hello".into()).into()),
    }
}

/// A session that was let in.
pub(super) struct Task<'a> {
    pub(super) sessions: &'a Sessions,
    pub(super) caller: &'a Caller,
    pub(super) fingerprint: String,
    pub(super) session: OpenSession,
    pub(super) sequence: Sequence,
    pub(super) rate: Rate,
    pub(super) assembler: Assembler,
    pub(super) outgoing: Outgoing,
    /// Set while the agent sends faster than its limit.
    pub(super) read_after: Option<Instant>,
    /// Uptime when the agent was last heard.
    pub(super) heard: Millis,
    /// Tells the steward that the agent let go, once it has.
    pub(super) acknowledgement: Option<JoinHandle<()>>,
    /// Tells the steward that the cluster is empty, once it is.
    pub(super) emptied: Option<JoinHandle<()>>,
}

impl<'a> Task<'a> {
    fn new(sessions: &'a Sessions, caller: &'a Caller, opened: Opened, hello: Hello) -> Self {
        let shard = &sessions.shard;
        // An agent that has seen nothing has nothing to act on either.
        let lent = match hello.newest_fence {
            None => shard.lend(),
            Some(seen) => shard.lend_to(&caller.cluster, Some(seen.era)),
        };
        shard.note_lent(&opened.session.cluster, &lent);
        let welcome = Welcome {
            protocol: opened.protocol,
            hub: shard.parts.hub.clone(),
            lease: lent.lease,
            heartbeat: HEARTBEAT_INTERVAL,
            reconnect_window: RECONNECT_WINDOW,
            limits: shard.parts.limits,
            status_known: opened.status_known,
            epoch: shard.epoch(),
            hold_reason: lent.reason,
        };
        let uptime = shard.parts.clock.uptime();
        let task = Self {
            sessions,
            caller,
            fingerprint: hello.fingerprint,
            session: opened.session,
            sequence: opened.sequence,
            rate: Rate::new(&shard.parts.limits, uptime),
            assembler: Assembler::default(),
            outgoing: Outgoing::new(welcome, hello.plan_digest, hello.held),
            read_after: None,
            heard: uptime,
            acknowledgement: None,
            emptied: None,
        };
        if opened.to_record {
            task.record();
        }
        task
    }

    async fn run(mut self: Box<Self>, incoming: &mut Streaming<v1::ConnectRequest>, outbox: &Outbox) -> End {
        let mut deadline = Box::pin(sleep_until(Instant::now() + self.time_left().unwrap_or_default()));
        let mailbox = Arc::clone(&self.session.mailbox);
        loop {
            let may_read = self.read_after.is_none();
            tokio::select! {
                biased;
                () = mailbox.woken() => {
                    if let Some(end) = self.read_mail() {
                        return end;
                    }
                }
                permit = outbox.reserve(), if self.outgoing.is_waiting() => {
                    let Ok(permit) = permit else { return End::Gone };
                    if let Some(message) = self.outgoing.next(&self.session) {
                        permit.send(Box::new(Ok(message)));
                    }
                }
                () = &mut deadline => match self.time_left() {
                    Ok(left) => deadline.as_mut().reset(Instant::now() + left),
                    Err(end) => return end,
                },
                () = wait_until(self.read_after), if !may_read => self.read_after = None,
                message = incoming.message(), if may_read => {
                    let outcome = match message {
                        Ok(Some(message)) => self.receive(message),
                        Ok(None) => Err(End::Gone),
                        Err(status) => Err(broken(&status)),
                    };
                    if let Err(end) = outcome {
                        return end;
                    }
                }
            }
        }
    }

    /// Returns how long the session may stay silent yet, or its certificate is valid, whichever is shorter.
    fn time_left(&self) -> Result<Duration, End> {
        let clock = &self.sessions.shard.parts.clock;
        let silent = clock.uptime().since(self.heard);
        if silent >= SESSION_TIMEOUT {
            return Err(End::Silent);
        }
        let (expires, now) = (self.caller.expires, clock.now());
        if expires <= now {
            return Err(End::Expired);
        }
        Ok((SESSION_TIMEOUT - silent).min(expires.since(now)))
    }

    fn read_mail(&mut self) -> Option<End> {
        let mail = self.session.mailbox.open();
        self.outgoing.desired |= mail.desired;
        self.outgoing.commands |= mail.commands;
        if mail.record {
            self.record();
        }
        if let Some((address, epoch)) = mail.redirect {
            // An agent whose stream is passed on cannot go there: it begins again, and is passed on to the new owner.
            if self.caller.forwarded {
                return Some(End::Moved);
            }
            self.outgoing.redirect = Some((address, epoch));
        }
        mail.end
    }
}

async fn wait_until(instant: Option<Instant>) {
    if let Some(instant) = instant {
        sleep_until(instant).await;
    }
}

/// Names the end behind a broken stream: a message beyond the limit is the agent's doing, the rest is the network's.
fn broken(status: &Status) -> End {
    match status.code() {
        tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => End::Limit(status.message().to_owned()),
        tonic::Code::Internal if status.message().contains("decode") => End::Garbled(status.message().to_owned()),
        _ => End::Gone,
    }
}

/// Makes the bounded way out of a session.
pub(super) fn outbox() -> (Outbox, mpsc::Receiver<Box<Result<v1::ConnectResponse, Status>>>) {
    mpsc::channel(super::OUTBOX)
}
