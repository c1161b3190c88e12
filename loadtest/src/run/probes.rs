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
use tokio_util::sync::CancellationToken;

use super::drivers::{Driver, pick};
use super::hub::{HubUnderTest, rest};
use crate::drive::{Answer, Moment, Order};
use crate::latency::Latency;
use crate::scenario::{Probes, Share};

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

/// What was timed of the questions that were due in one step, whenever they were answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Probed {
    /// From a status to its being in an answer.
    pub(super) visible: Latency,
    /// A page of objects.
    pub(super) page: Latency,
    /// The count of everything.
    pub(super) count: Latency,
    /// Questions that were due.
    pub(super) due: u64,
    /// Of these, questions that came to an end, answered or not.
    pub(super) ended: u64,
    /// Calls that failed; each was made again.
    pub(super) failed: u64,
    /// Questions that were due and not asked, since too many were under way.
    pub(super) unasked: u64,
    /// Questions that were not answered, and statuses that were not seen, in time.
    pub(super) lost: u64,
}

/// The results of one step, shared with the questions that are still under way.
#[derive(Clone, Default)]
pub(super) struct Booked(Arc<Mutex<Probed>>);

/// The probes; clones share everything.
#[derive(Clone, Default)]
pub(super) struct ProbeLog {
    step: Arc<Mutex<Booked>>,
    /// Clusters whose statuses are not changed: they are away on purpose.
    spared: Arc<Mutex<Option<Share>>>,
    stopped: CancellationToken,
}

impl Booked {
    /// Returns what is known by now; what has not ended counts as lost.
    pub(super) fn sum(&self) -> Probed {
        let mut probed = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        probed.lost += probed.due - probed.ended - probed.unasked;
        probed
    }

    fn note(&self, change: impl FnOnce(&mut Probed)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
enum Question {
    Visible,
    Page,
    Count,
}

impl ProbeLog {
    /// Begins another step: what is due from now on is booked to it.
    pub(super) fn begin(&self) -> Booked {
        let booked = Booked::default();
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = booked.clone();
        booked
    }

    /// Changes no statuses of these clusters until told otherwise.
    pub(super) fn spare(&self, share: Option<Share>) {
        *self.spared.lock().unwrap_or_else(PoisonError::into_inner) = share;
    }

    /// Lets nothing become due any more; [`Self::ask`] ends with the last answer.
    pub(super) fn stop(&self) {
        self.stopped.cancel();
    }

    /// Returns the 99th percentile of what becomes visible in the present step, as known by now; for people who watch.
    pub(super) fn visible_p99_ms(&self) -> Option<f64> {
        self.present().0.lock().unwrap_or_else(PoisonError::into_inner).visible.quantile_ms(0.99)
    }

    fn present(&self) -> Booked {
        self.step.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks until stopped, and waits for the answers.
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
            tokio::select! {
                biased;
                () = self.stopped.cancelled() => break,
                () = sleep_until(due.into()) => {}
            }
            while asked.try_join_next().is_some() {}
            let booked = self.present();
            let spared = *self.spared.lock().unwrap_or_else(PoisonError::into_inner);
            let drawn = (random.random_range(0..u32::MAX), random.random_range(0..u32::MAX));
            if matches!(question, Question::Visible) && pick(&drivers, drawn.0, spared).is_none() {
                // Everybody is away on purpose: there is nothing to ask.
                continue;
            }
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                booked.note(|probed| (probed.due, probed.unasked) = (probed.due + 1, probed.unasked + 1));
                continue;
            };
            booked.note(|probed| probed.due += 1);
            let (hub, drivers) = (Arc::clone(&hub), Arc::clone(&drivers));
            asked.spawn(async move {
                let _place = place;
                let latency = one(question, due, &hub, &drivers, (drawn, spared), &booked).await;
                booked.note(|probed| {
                    probed.ended += 1;
                    let Some(latency) = latency else { return probed.lost += 1 };
                    match question {
                        Question::Visible => probed.visible.record(latency),
                        Question::Page => probed.page.record(latency),
                        Question::Count => probed.count.record(latency),
                    }
                });
            });
        }
        while asked.join_next().await.is_some() {}
    }
}

/// Asks one question until it is answered, again after a failure, as a person would. Returns how long it took from when it was due,
/// so that what was asked while the hub was down is no shorter than the hub was; `None` if it was not answered.
async fn one(
    question: Question,
    due: Instant,
    hub: &HubUnderTest,
    drivers: &[Driver],
    (drawn, spared): ((u32, u32), Option<Share>),
    booked: &Booked,
) -> Option<Duration> {
    if let Question::Visible = question {
        let (driver, cluster) = pick(drivers, drawn.0, spared)?;
        return visible(hub, driver, (cluster, drawn.1), booked).await.ok().flatten();
    }
    while due.elapsed() < PATIENCE {
        let answer = match question {
            Question::Page => hub.objects(PAGE, String::new()).await.map(drop),
            Question::Count | Question::Visible => hub.status().await.map(drop),
        };
        if answer.is_ok() {
            return Some(due.elapsed());
        }
        booked.note(|probed| probed.failed += 1);
        sleep(AGAIN).await;
    }
    None
}

/// Changes a status and looks for it; `None` if it is not seen in time.
async fn visible(
    hub: &HubUnderTest,
    driver: &Driver,
    (cluster, object): (u32, u32),
    booked: &Booked,
) -> Result<Option<Duration>> {
    let answer = driver.order(Order::Touch { cluster, object }, PATIENCE).await?;
    let Answer::Touched { cluster, key, revision, at } = answer else { bail!("a driver does not say what it changed") };
    while Moment::now().since(at) < PATIENCE {
        let looked = Instant::now();
        match hub.revision_of(&cluster, &key).await {
            // Revisions of an object count up in text of one length. A storm may have moved it on: then it was seen, too.
            Ok(seen) if seen >= revision => return Ok(Some(Moment::now().since(at))),
            // Of many that wait for a hub that is slow, none is to make it slower.
            Ok(_) => sleep(rest(LOOK, looked.elapsed())).await,
            Err(_) => {
                booked.note(|probed| probed.failed += 1);
                sleep(AGAIN).await;
            }
        }
    }
    Ok(None)
}
