//! Questions that are asked all the time, each when it is due, whether or not those before it were answered.
//!
//! A question's time counts from when it was due, so that a hub that stands still for a second shows in all that were due in it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rand::RngExt as _;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::drivers::Driver;
use super::hub::HubUnderTest;
use crate::drive::{Answer, Moment, Order};
use crate::latency::Latency;
use crate::scenario::Probes;

/// Questions under way at most; one that is due beyond that counts as not asked.
const UNDER_WAY: usize = 256;

/// The wait between two looks for a status: short against what is timed.
const LOOK: Duration = Duration::from_millis(2);

/// How long a status may take to be seen before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// The wait before a question that failed is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// Objects of a page that is asked for.
const PAGE: u32 = 100;

/// What was timed since somebody last took it.
#[derive(Clone, Debug, Default)]
pub(super) struct Probed {
    /// From a status to its being in an answer.
    pub(super) visible: Latency,
    /// A page of objects.
    pub(super) page: Latency,
    /// The count of everything.
    pub(super) count: Latency,
    /// Calls that failed; each was made again.
    pub(super) failed: u64,
    /// Questions that were due and not asked, since too many were under way.
    pub(super) unasked: u64,
    /// Statuses that were not seen in time.
    pub(super) lost: u64,
}

/// The results of the probes, shared with whoever reads them.
#[derive(Clone, Default)]
pub(super) struct ProbeLog(Arc<Mutex<Probed>>);

/// What is asked.
#[derive(Clone, Copy, Debug)]
enum Question {
    Visible,
    Page,
    Count,
}

impl ProbeLog {
    /// Returns what was timed since this was last called.
    pub(super) fn taken(&self) -> Probed {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the 99th percentile of what becomes visible, as known by now; for people who watch.
    pub(super) fn visible_p99_ms(&self) -> Option<f64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).visible.quantile_ms(0.99)
    }

    fn note(&self, change: impl FnOnce(&mut Probed)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Asks until dropped.
    pub(super) async fn ask(self, probes: Probes, hub: Arc<HubUnderTest>, drivers: Arc<Vec<Driver>>, seed: u64) {
        let mut kinds = JoinSet::new();
        for (question, per_second) in [
            (Question::Visible, probes.statuses_per_second),
            (Question::Page, probes.queries_per_second),
            (Question::Count, probes.queries_per_second),
        ] {
            if per_second > 0 {
                let every = Duration::from_secs(1) / u32::try_from(per_second).unwrap_or(u32::MAX);
                let (log, hub, drivers) = (self.clone(), Arc::clone(&hub), Arc::clone(&drivers));
                kinds.spawn(log.pace(question, every, hub, drivers, seed));
            }
        }
        while kinds.join_next().await.is_some() {}
    }

    async fn pace(
        self,
        question: Question,
        every: Duration,
        hub: Arc<HubUnderTest>,
        drivers: Arc<Vec<Driver>>,
        seed: u64,
    ) {
        let room = Arc::new(Semaphore::new(UNDER_WAY));
        let mut random = StdRng::seed_from_u64(seed ^ question as u64);
        let mut due = Instant::now();
        let mut asked = JoinSet::new();
        loop {
            due += every;
            sleep_until(due.into()).await;
            while asked.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                self.note(|probed| probed.unasked += 1);
                continue;
            };
            let (log, hub, drivers) = (self.clone(), Arc::clone(&hub), Arc::clone(&drivers));
            let drawn = (random.random_range(0..u32::MAX), random.random_range(0..u32::MAX));
            asked.spawn(async move {
                let _place = place;
                log.one(question, due, &hub, &drivers, drawn).await;
            });
        }
    }

    async fn one(&self, question: Question, due: Instant, hub: &HubUnderTest, drivers: &[Driver], drawn: (u32, u32)) {
        match question {
            Question::Visible => match visible(hub, drivers, drawn).await {
                Ok(Some(latency)) => self.note(|probed| probed.visible.record(latency)),
                Ok(None) => self.note(|probed| probed.lost += 1),
                Err(_) => self.note(|probed| probed.failed += 1),
            },
            Question::Page => {
                let answered = self.until_answered(question, due, hub).await;
                answered.into_iter().for_each(|latency| self.note(|probed| probed.page.record(latency)));
            }
            Question::Count => {
                let answered = self.until_answered(question, due, hub).await;
                answered.into_iter().for_each(|latency| self.note(|probed| probed.count.record(latency)));
            }
        }
    }
}

impl ProbeLog {
    /// Asks again after a failure, as a person would, and returns how long it took from when the question was due until it was
    /// answered; `None` if it was not. What was asked while the hub was down is thus no shorter than the hub was.
    async fn until_answered(&self, question: Question, due: Instant, hub: &HubUnderTest) -> Option<Duration> {
        while due.elapsed() < PATIENCE {
            let answer = match question {
                Question::Page => hub.objects(PAGE, String::new()).await.map(drop),
                Question::Count | Question::Visible => hub.status().await.map(drop),
            };
            if answer.is_ok() {
                return Some(due.elapsed());
            }
            self.note(|probed| probed.failed += 1);
            sleep(AGAIN).await;
        }
        None
    }
}

/// Changes a status and looks for it; `None` if it is not seen in time.
async fn visible(hub: &HubUnderTest, drivers: &[Driver], (cluster, object): (u32, u32)) -> Result<Option<Duration>> {
    let clusters: u32 = drivers.iter().map(|driver| driver.clusters).sum();
    let cluster = cluster % clusters.max(1);
    let Some(driver) = drivers.iter().find(|driver| cluster < driver.first + driver.clusters) else {
        bail!("no driver runs cluster {cluster}");
    };
    let answer = driver.order(Order::Touch { cluster, object }).await?;
    let Answer::Touched { cluster, key, revision, at } = answer else { bail!("a driver does not say what it changed") };
    let mut failure = None;
    while Moment::now().since(at) < PATIENCE {
        match hub.revision_of(&cluster, &key).await {
            // Revisions of an object count up in text of one length. A storm may have moved it on: then it was seen, too.
            Ok(seen) if seen >= revision => return Ok(Some(Moment::now().since(at))),
            Ok(_) => failure = None,
            Err(error) => failure = Some(error),
        }
        sleep(LOOK).await;
    }
    failure.map_or(Ok(None), Err)
}
