//! Watching the faked etcd: whole revisions in order from any revision that is not compacted, as late as it is told to be.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::{PbWatchRequest, PbWatchRequestUnion, PbWatchResponse, PbWatchService};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Etcd;
use super::server::{Peer, now};

/// How often a watch that has nothing to tell says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// How long a watch lasts without a leader.
const WITHOUT_LEADER: Duration = Duration::from_secs(3);

/// How often a watch looks when something may be due without anything having changed.
const LOOK: Duration = Duration::from_millis(50);

type Answers = mpsc::Sender<Result<PbWatchResponse, Status>>;

#[derive(Clone)]
pub(super) struct Watching {
    pub(super) etcd: Arc<Etcd>,
}

#[tonic::async_trait]
impl PbWatchService for Watching {
    type WatchStream = BoxStream<'static, Result<PbWatchResponse, Status>>;

    async fn watch(&self, request: Request<Streaming<PbWatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or(Peer(String::new()));
        let (answers, stream) = mpsc::channel(16);
        let etcd = Arc::clone(&self.etcd);
        tokio::spawn(async move {
            let gone = answers.clone();
            tokio::select! {
                biased;
                () = gone.closed() => {}
                () = serve(etcd, peer, request.into_inner(), answers) => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }
}

/// Serves the one watch of a stream.
async fn serve(etcd: Arc<Etcd>, Peer(peer): Peer, mut requests: Streaming<PbWatchRequest>, answers: Answers) {
    let Ok(Some(PbWatchRequest { request_union: Some(PbWatchRequestUnion::CreateRequest(create)) })) =
        requests.message().await
    else {
        return;
    };
    while etcd.inner().faults.without_majority {
        sleep(LOOK).await;
    }
    let header = etcd.look(super::State::header);
    let mut next = if create.start_revision > 0 { create.start_revision } else { header.revision + 1 };
    let created = PbWatchResponse { header: Some(header), created: true, ..PbWatchResponse::default() };
    if answers.send(Ok(created)).await.is_err() {
        return;
    }
    let (mut changed, mut told) = (etcd.changed.subscribe(), now());
    loop {
        changed.mark_unchanged();
        let outcome = look(&etcd, &peer, &mut next);
        let is_over = matches!(&outcome, Some(Err(_))) || matches!(&outcome, Some(Ok(answer)) if answer.canceled);
        if let Some(answer) = outcome {
            told = now();
            if answers.send(answer).await.is_err() || is_over {
                return;
            }
            continue;
        }
        if now() >= told + PROGRESS {
            told = now();
            let header = etcd.look(super::State::header);
            // Late by what is kept back.
            let header = etcd_client::proto::PbResponseHeader { revision: next - 1, ..header };
            if answers.send(Ok(PbWatchResponse { header: Some(header), ..Default::default() })).await.is_err() {
                return;
            }
        }
        let is_late = etcd.inner().faults.lag.contains_key(&peer);
        let wait = if is_late || etcd.inner().faults.without_majority { LOOK } else { PROGRESS };
        tokio::select! {
            biased;
            _ = changed.changed() => {}
            () = sleep(wait) => {}
        }
    }
}

/// Returns what a watch tells next.
fn look(etcd: &Etcd, peer: &str, next: &mut i64) -> Option<Result<PbWatchResponse, Status>> {
    let mut inner = etcd.inner();
    let faults = &inner.faults;
    if faults.without_majority {
        // A member that is alone serves what it has for a moment, and then ends its watches.
        let is_over = now() >= faults.without_majority_since + WITHOUT_LEADER;
        return is_over.then(|| Err(Status::unavailable("etcdserver: no leader")));
    }
    let header = Some(inner.state.header());
    if *next <= inner.state.compacted {
        let compact_revision = inner.state.compacted;
        return Some(Ok(PbWatchResponse { header, canceled: true, compact_revision, ..Default::default() }));
    }
    let lag = faults.lag.get(peer).copied().unwrap_or_default();
    let skips = faults.skips;
    // Several revisions in one answer now and then, as etcd does.
    let most = inner.draws.within(1..4);
    let mut events = Vec::new();
    let start = inner.state.commits.partition_point(|commit| commit.revision < *next);
    for (told, commit) in (0..).zip(&inner.state.commits[start..]) {
        if told >= most || now() < commit.at + lag {
            break;
        }
        *next = commit.revision + 1;
        let is_skipped = skips.is_some_and(|one_in| commit.revision % i64::try_from(one_in).unwrap_or(1) == 0);
        if !is_skipped {
            events.extend(commit.events.iter().cloned());
        }
    }
    (!events.is_empty()).then(|| Ok(PbWatchResponse { header, events, ..PbWatchResponse::default() }))
}
