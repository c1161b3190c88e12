//! Questions about the whole fleet: each process answers for its clusters, and the answers are put together.
//!
//! Owns whom to ask, how long to wait, and that each cluster is told of once, also while it moves from one process to another.
//! Does not own what a process knows of its clusters ([`crate::shard`]) nor how it is reached ([`Others`]). A process that is
//! the whole hub asks itself alone.

pub mod heard;
mod local;
mod merge;
mod question;
mod release;
mod summary;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use starling_hub_core::fleet::Fleet;
use starling_hub_core::index::{Cursor, Filter};
use starling_hub_core::status::Tally;
use starling_model::session::{Command, CommandResult};
use starling_model::{ClusterId, Millis, Uid};
use tokio::sync::watch;

use crate::api::{FoundProblem, Problems};
use crate::load::Load;
use crate::shard::{ClusterView, CommandError, Division, Overview, ProcessFigures, Shard};

pub use question::{
    Answer, Asked, HeldInstalls, InstallPage, InstallQuery, Obeyed, ObjectPage, Ordered, Part, Question,
};
pub use summary::{Summaries, Summary, SummaryWriter};

/// How long another process may take to answer a question.
pub const ANSWERS_WITHIN: Duration = Duration::from_millis(2_000);

/// The other processes of the hub, as questions reach them.
#[async_trait]
pub trait Others: Send + Sync + 'static {
    /// Returns the names of all other processes that own clusters or answered lately.
    fn names(&self) -> BTreeSet<String>;

    /// Asks one process; `None` if it did not answer in time.
    async fn ask(&self, name: &str, asked: &Asked) -> Option<Part>;

    /// Lets one process command an agent; `None` if it did not answer in time.
    async fn order(&self, name: &str, ordered: &Ordered) -> Option<Obeyed>;

    /// Follows a number that grows whenever an answer of any of them may have changed.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// An answer, and the processes that are missing from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gathered<T> {
    /// The answer.
    pub value: T,
    /// The processes that did not answer in time: what they own is missing.
    pub unanswered: BTreeSet<String>,
}

/// Asks every process of the hub; cheap to clone.
#[derive(Clone)]
pub struct Gather {
    shard: Arc<Shard>,
    others: Option<Arc<dyn Others>>,
    /// What was last known of clusters; `None` in a process that is the whole hub.
    summaries: Option<watch::Receiver<Arc<Summaries>>>,
    fleet: watch::Receiver<Arc<Fleet>>,
    problems: Problems,
    load: Load,
}

/// The parts of an answer, by process; the first is this process's own.
struct Parts {
    answers: Vec<(String, Part)>,
    unanswered: BTreeSet<String>,
}

impl Gather {
    /// Asks this process, and the others where there are any.
    #[must_use]
    pub fn new(
        shard: Arc<Shard>,
        others: Option<Arc<dyn Others>>,
        summaries: Option<watch::Receiver<Arc<Summaries>>>,
        load: Load,
    ) -> Self {
        let fleet = shard.parts.fleet.clone();
        Self { shard, others, summaries, fleet, problems: Problems::default(), load }
    }

    /// Returns the clusters in numbers.
    pub async fn overview(&self) -> Gathered<Overview> {
        self.ask(Question::Overview).await.put_together(merge::overview)
    }

    /// Returns every cluster that was heard, or those of the given ones, by identity; of one that nobody has heard, what was last
    /// known.
    pub async fn views(&self, ids: Option<BTreeSet<ClusterId>>) -> Gathered<BTreeMap<ClusterId, ClusterView>> {
        let mut views = self.ask(Question::Views(ids.clone())).await.put_together(merge::views);
        let Some(summaries) = &self.summaries else { return views };
        let fleet = Arc::clone(&self.fleet.borrow());
        let wanted = ids.unwrap_or_else(|| fleet.managed_clusters().map(|cluster| cluster.id).collect());
        let missing: BTreeSet<ClusterId> = wanted.into_iter().filter(|id| !views.value.contains_key(id)).collect();
        if !missing.is_empty() {
            let found = summaries.borrow().find(&missing);
            // A cluster that let go is nothing to show.
            let found = found.into_iter().filter(|(id, _)| fleet.is_attached(*id));
            views.value.extend(found.map(|(id, summary)| (id, summary.into_view())));
        }
        views
    }

    /// Returns what was last known of the clusters that this process owns and has not heard, and how many records of it are stored.
    fn inherited(&self, heard: &BTreeSet<ClusterId>) -> (BTreeMap<ClusterId, Summary>, usize) {
        let Some(summaries) = &self.summaries else { return (BTreeMap::new(), 0) };
        let (fleet, own) = (Arc::clone(&self.fleet.borrow()), self.own_name());
        let managed = fleet.managed_clusters().map(|cluster| cluster.id).filter(|id| !heard.contains(id));
        let missing = managed.filter(|id| fleet.is_attached(*id) && self.shard.owns(&fleet, id)).collect();
        let summaries = summaries.borrow();
        let records = summaries.0.keys().filter(|(name, _)| name == own).map(|(_, number)| *number as usize + 1);
        (summaries.find(&missing), records.max().unwrap_or(0))
    }

    /// Returns the clusters that this process tells of.
    pub(crate) fn own_views(&self) -> Vec<ClusterView> {
        self.shard.views_of(&self.shard.told(&Division::default()), None)
    }

    /// Returns one cluster; `None` when it was not heard.
    pub async fn view(&self, id: ClusterId) -> Option<ClusterView> {
        self.views(Some([id].into())).await.value.remove(&id)
    }

    /// Answers a filter with at most `size` objects behind `after`.
    pub async fn objects(&self, filter: &Filter, after: Option<&Cursor>, size: usize) -> Gathered<ObjectPage> {
        let question = Question::Objects { filter: filter.clone(), after: after.cloned(), size };
        self.ask(question).await.put_together(|answers| merge::objects(answers, size))
    }

    /// Returns a page of installs.
    pub async fn installs(&self, query: InstallQuery) -> Gathered<InstallPage> {
        let size = query.size;
        self.ask(Question::Installs(query)).await.put_together(|answers| merge::installs(answers, size))
    }

    /// Returns how far each assignment came.
    pub async fn tallies(&self) -> Gathered<BTreeMap<Uid, Tally>> {
        self.ask(Question::Tallies).await.put_together(merge::tallies)
    }

    /// Returns what clusters hold; one whose process does not answer is not among them, and one whose process is behind counts as not
    /// heard.
    pub async fn held(&self, ids: BTreeSet<ClusterId>) -> Gathered<BTreeMap<ClusterId, HeldInstalls>> {
        let position = self.fleet.borrow().position();
        self.ask(Question::Held { clusters: ids, position }).await.put_together(merge::held)
    }

    /// Returns the clusters that were heard and that nobody manages.
    pub async fn unassigned(&self) -> Gathered<BTreeSet<ClusterId>> {
        self.ask(Question::Unassigned).await.put_together(merge::unassigned)
    }

    /// Returns what could not be taken of the resources.
    pub async fn problems(&self) -> Gathered<Vec<FoundProblem>> {
        self.ask(Question::Problems).await.put_together(merge::problems)
    }

    /// Returns where what this process cannot take is shown.
    #[must_use]
    pub fn own_problems(&self) -> &Problems {
        &self.problems
    }

    /// Returns what each process is and does, by name; this process is the first of the two.
    pub async fn processes(&self) -> Gathered<BTreeMap<String, ProcessFigures>> {
        let parts = self.round(&Question::Process, |_| Division::default()).await;
        let figures = parts.answers.into_iter().filter_map(|(name, part)| match part.answer {
            Answer::Process(figures) => Some((name, figures)),
            _ => None,
        });
        Gathered { value: figures.collect(), unanswered: parts.unanswered }
    }

    /// Returns the name of this process.
    #[must_use]
    pub fn own_name(&self) -> &str {
        &self.shard.parts.hub
    }

    /// Sends a command to a cluster's agent through the process that has its session, and waits for the result.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn command(
        &self,
        cluster: ClusterId,
        command: Command,
        within: Duration,
    ) -> Result<CommandResult, CommandError> {
        let here = self.shard.send_command(&cluster, command.clone(), within).await;
        let Some(others) = self.others.as_ref().filter(|_| here == Err(CommandError::NotConnected)) else {
            return here;
        };
        let within_millis = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let ordered = Ordered { cluster, command, within_millis };
        let owner = self.fleet.borrow().owner(&cluster).map(|member| member.name.clone());
        let mut names: Vec<String> = owner.into_iter().filter(|owner| owner != self.own_name()).collect();
        // While a cluster moves, its agent may be at a process that is no longer its owner.
        let rest = others.names().into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>();
        names.extend(rest);
        for name in names {
            match others.order(&name, &ordered).await {
                Some(Err(CommandError::NotConnected)) => {}
                Some(obeyed) => return obeyed,
                // It may have been carried out: asking somebody else could do it twice.
                None => return Err(CommandError::Lost),
            }
        }
        Err(CommandError::NotConnected)
    }

    /// Follows what this process knows, and what the others know.
    #[must_use]
    pub fn changes(&self) -> (watch::Receiver<u64>, Option<watch::Receiver<u64>>) {
        (self.shard.changes(), self.others.as_ref().map(|others| others.changes()))
    }

    /// Answers what another process asks.
    #[must_use]
    pub fn answer(&self, asked: &Asked) -> Part {
        local::answer(&self.shard, &self.problems, &self.load, asked)
    }

    /// Does what another process orders.
    pub async fn obey(&self, ordered: Ordered) -> Obeyed {
        let within = Duration::from_millis(ordered.within_millis);
        self.shard.send_command(&ordered.cluster, ordered.command, within).await
    }

    /// Asks every process, so that each cluster is told of by one.
    ///
    /// All answers are by one ring, by which each cluster has one owner. Where a process tells of clusters that are another's, it
    /// is decided who tells of each, and all are asked again by the same ring.
    async fn ask(&self, question: Question) -> Parts {
        let epoch = self.shard.newest_epoch();
        let mut parts = self.round(&question, |_| Division { epoch: Some(epoch), ..Division::default() }).await;
        // Not every process knows the newest ring at the same moment; one that knows it remembers those before.
        let oldest = parts.answers.iter().map(|(_, part)| part.epoch).min().unwrap_or(epoch);
        if parts.answers.iter().any(|(_, part)| part.epoch != oldest) {
            parts = self.round(&question, |_| Division { epoch: Some(oldest), ..Division::default() }).await;
        }
        let epoch = parts.usual_epoch().unwrap_or(epoch);
        parts.keep_those_by(epoch);
        let tellers = self.tellers(&parts, epoch).await;
        if tellers.is_empty() {
            return parts;
        }
        let mut parts = self.round(&question, |name| divide(&tellers, epoch, name)).await;
        parts.keep_those_by(epoch);
        parts
    }

    /// Asks every process once.
    async fn round(&self, question: &Question, division: impl Fn(&str) -> Division) -> Parts {
        let asked = |name: &str| Asked { question: question.clone(), division: division(name) };
        let own = self.own_name().to_owned();
        let Some(others) = &self.others else {
            return Parts { answers: vec![(own.clone(), self.answer(&asked(&own)))], unanswered: BTreeSet::new() };
        };
        let names = others.names();
        let answers = names.iter().map(|name| {
            let asked = asked(name);
            async move { (name.clone(), others.ask(name, &asked).await) }
        });
        let (mut answers_of_all, mut unanswered) = (Vec::new(), BTreeSet::new());
        for (name, part) in join_all(answers).await {
            match part {
                Some(part) => answers_of_all.push((name, part)),
                None => drop(unanswered.insert(name)),
            }
        }
        answers_of_all.insert(0, (own.clone(), self.answer(&asked(&own))));
        Parts { answers: answers_of_all, unanswered }
    }

    /// Returns which process tells of each cluster that one has although it is another's: its owner once the picture is whole
    /// there, and until then whoever heard it last.
    async fn tellers(&self, parts: &Parts, epoch: u64) -> BTreeMap<ClusterId, String> {
        let mut keepers: BTreeMap<ClusterId, (Millis, String)> = BTreeMap::new();
        for (name, part) in &parts.answers {
            for (id, heard) in &part.extra {
                let keeper = (*heard, name.clone());
                let best = keepers.entry(*id).or_insert_with(|| keeper.clone());
                *best = keeper.max(best.clone());
            }
        }
        if keepers.is_empty() {
            return BTreeMap::new();
        }
        let question = Question::Complete(keepers.keys().copied().collect());
        let complete = self.round(&question, |_| Division::default()).await.answers.into_iter();
        let complete: BTreeMap<String, BTreeSet<ClusterId>> = complete
            .filter_map(|(name, part)| match part.answer {
                Answer::Complete(ids) => Some((name, ids)),
                _ => None,
            })
            .collect();
        let teller = |(id, (_, keeper)): (ClusterId, (Millis, String))| {
            let owner = self.shard.owner_at(epoch, &id);
            let at_home = owner.filter(|owner| complete.get(owner).is_some_and(|ids| ids.contains(&id)));
            (id, at_home.unwrap_or(keeper))
        };
        keepers.into_iter().map(teller).collect()
    }
}

/// Returns what one process is to tell of where the tellers of some clusters are decided.
fn divide(tellers: &BTreeMap<ClusterId, String>, epoch: u64, name: &str) -> Division {
    let (keeps, without) = tellers.iter().partition::<Vec<_>, _>(|(_, teller)| *teller == name);
    let ids = |entries: Vec<(&ClusterId, &String)>| entries.into_iter().map(|(id, _)| *id).collect();
    Division { epoch: Some(epoch), without: ids(without), keeps: Some(ids(keeps)) }
}

impl Parts {
    /// Returns the epoch of most answers; the newest of several.
    fn usual_epoch(&self) -> Option<u64> {
        let mut answers: BTreeMap<u64, usize> = BTreeMap::new();
        for (_, part) in &self.answers {
            *answers.entry(part.epoch).or_default() += 1;
        }
        answers.into_iter().max_by_key(|(epoch, count)| (*count, *epoch)).map(|(epoch, _)| epoch)
    }

    /// Leaves out what is told by another ring: it may tell of clusters that another process tells of, too.
    fn keep_those_by(&mut self, epoch: u64) {
        let (by_it, others) =
            std::mem::take(&mut self.answers).into_iter().partition(|(_, part): &(_, Part)| part.epoch == epoch);
        self.answers = by_it;
        self.unanswered.extend(others.into_iter().map(|(name, _)| name));
    }

    fn put_together<T>(self, merge: impl FnOnce(Vec<Answer>) -> T) -> Gathered<T> {
        let answers = self.answers.into_iter().map(|(_, part)| part.answer).collect();
        Gathered { value: merge(answers), unanswered: self.unanswered }
    }
}

#[cfg(test)]
mod tests;
