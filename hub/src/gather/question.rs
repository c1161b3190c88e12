//! What processes of the hub ask one another about their clusters, and what they answer.
//!
//! Owns the shapes, which travel as JSON between processes of neighbouring versions: fields may be added with a default, and none
//! may change its meaning. Does not own who is asked nor how answers are put together ([`super::Gather`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use starling_hub_core::index::{Cursor, Filter, Page, Visible};
use starling_hub_core::status::Tally;
use starling_model::session::{Command, CommandResult};
use starling_model::{ClusterId, InstallKey, Millis, Position, Uid};

use crate::api::FoundProblem;
use crate::shard::{ClusterView, CommandError, Division, InstallRow, Overview, ProcessFigures};

/// What is asked of a process, about the clusters that it tells of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// How the clusters are, in numbers.
    Overview,
    /// Each of these clusters, or of all, that was heard.
    Views(Option<BTreeSet<ClusterId>>),
    /// A page of Flux objects.
    Objects {
        /// Which objects.
        filter: Filter,
        /// The place behind which the page begins.
        after: Option<Cursor>,
        /// The most objects of a page.
        size: usize,
    },
    /// A page of installs.
    Installs(InstallQuery),
    /// How far each assignment came, over all clusters.
    Tallies,
    /// Which installs each of some clusters holds.
    Held {
        /// The clusters.
        clusters: BTreeSet<ClusterId>,
        /// The position of whoever asks: a process that is behind it does not know what is planned for them.
        position: Position,
    },
    /// Which of these clusters' pictures are complete.
    Complete(BTreeSet<ClusterId>),
    /// Clusters that were heard and that nobody manages.
    Unassigned,
    /// What the process could not take of the resources, if it reads them.
    Problems,
    /// What the process is and does.
    Process,
}

/// Which installs, and which page of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallQuery {
    /// Only those of these clusters; `None` is all.
    pub clusters: Option<BTreeSet<ClusterId>>,
    /// Only those that whoever asks may see; `None` is all.
    pub visible: Option<Visible>,
    /// Only those of the assignment of this name, `namespace/name`; empty is all.
    pub assignment: String,
    /// The place behind which the page begins, as of [`InstallRow::place`]; empty is the first page.
    pub after: String,
    /// The most rows of a page.
    pub size: usize,
}

/// A page of installs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstallPage {
    /// The rows, by place.
    pub rows: Vec<InstallRow>,
    /// How many there are in all, on every page.
    pub total: u64,
}

/// A page of objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectPage {
    /// The objects.
    pub page: Page,
    /// When each cluster of the page that has no open session was last heard.
    pub old: BTreeMap<ClusterId, Millis>,
}

/// The installs that a cluster holds, each with its assignment; `None` if it was not heard in this era.
pub type HeldInstalls = Option<BTreeSet<(InstallKey, Uid)>>;

/// What a process answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Question::Overview`].
    Overview(Overview),
    /// To [`Question::Views`].
    Views(Vec<ClusterView>),
    /// To [`Question::Objects`].
    Objects(ObjectPage),
    /// To [`Question::Installs`].
    Installs(InstallPage),
    /// To [`Question::Tallies`].
    Tallies(BTreeMap<Uid, Tally>),
    /// To [`Question::Held`]: only clusters that the process tells of.
    Held(Vec<(ClusterId, HeldInstalls)>),
    /// To [`Question::Complete`].
    Complete(BTreeSet<ClusterId>),
    /// To [`Question::Unassigned`].
    Unassigned(BTreeSet<ClusterId>),
    /// To [`Question::Problems`].
    Problems(Vec<FoundProblem>),
    /// To [`Question::Process`].
    Process(ProcessFigures),
}

/// A question as it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The question.
    pub question: Question,
    /// The clusters that the process is to tell of.
    pub division: Division,
}

/// One process's part of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The answer.
    pub answer: Answer,
    /// The epoch of the ring by which the clusters are divided: an older one than was asked for where the process does not know that
    /// one yet, a newer one where it was forgotten.
    pub epoch: u64,
    /// Clusters that it tells of although they are another's by now, with when they were last heard: their new owner may not
    /// have their whole picture yet.
    pub extra: BTreeMap<ClusterId, Millis>,
}

/// A command for one cluster, as it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ordered {
    /// The cluster.
    pub cluster: ClusterId,
    /// The command.
    pub command: Command,
    /// How long its agent may take, in milliseconds.
    pub within_millis: u64,
}

/// What became of a command.
pub type Obeyed = Result<CommandResult, CommandError>;
