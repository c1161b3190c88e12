//! Changes of assignments while faults happen: written, moved to another version, deleted with approval.
//!
//! Owns what the fleet should be like in the end, and what may have been removed on the way there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use starling_harness::CommandLine;

use crate::documents::{self, PLATFORM, VERSIONS};
use crate::random::Random;

/// Assignments that there are at least and at most.
const FEWEST: usize = 2;
const MOST: usize = 4;

/// How long one try of a deletion may take.
const TRY_WITHIN: &str = "10s";

/// The exit codes of `starling`: an approval is required; not found.
const APPROVAL_REQUIRED: i32 = 3;
const NOT_FOUND: i32 = 4;

/// What the fleet should be like.
#[derive(Debug)]
pub(crate) struct World {
    directory: PathBuf,
    random: Random,
    next_number: u32,
    /// Assignments by name, with their versions.
    standing: BTreeMap<String, &'static str>,
    deleted: BTreeSet<String>,
    /// A deletion that no hub has confirmed yet.
    deleting: Option<String>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new assignment.
    Assigned(String),
    /// Another version of one.
    Upgraded(String, &'static str),
    /// One is deleted, with approval.
    Deleted(String),
}

impl World {
    /// Writes the first assignments.
    pub(crate) fn start(directory: &Path, seed: u64) -> Result<Self> {
        let mut world = Self {
            directory: directory.to_owned(),
            random: Random::new(seed, 2),
            next_number: 1,
            standing: BTreeMap::new(),
            deleted: BTreeSet::new(),
            deleting: None,
        };
        for _ in 0..FEWEST {
            let change = world.assign();
            world.make(&change)?;
        }
        Ok(world)
    }

    /// Draws the next change.
    pub(crate) fn draw(&mut self) -> Change {
        let name = self.standing.keys().nth(self.random.index(self.standing.len())).cloned().unwrap_or_default();
        match self.random.index(3) {
            0 if self.standing.len() < MOST => self.assign(),
            1 if self.standing.len() > FEWEST => Change::Deleted(name),
            _ => {
                let version = if self.standing.get(&name) == Some(&VERSIONS[0]) { VERSIONS[1] } else { VERSIONS[0] };
                Change::Upgraded(name, version)
            }
        }
    }

    /// Begins a change; a deletion needs [`World::push`] until a hub confirms it.
    pub(crate) fn make(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::Assigned(name) => self.write(name, VERSIONS[0]),
            Change::Upgraded(name, version) => self.write(name, version),
            Change::Deleted(name) => {
                self.standing.remove(name);
                // Removals may begin before the answer is here.
                self.deleted.insert(name.clone());
                self.deleting = Some(name.clone());
                Ok(())
            }
        }
    }

    /// Tries the deletion that waits, if there is one, as a person would: looks at the count, then approves it.
    ///
    /// # Errors
    /// It was not confirmed; it can be tried again.
    pub(crate) fn push(&mut self, hub: &CommandLine) -> Result<()> {
        let Some(name) = &self.deleting else {
            return Ok(());
        };
        let hub = hub.clone().within(TRY_WITHIN);
        let delete = ["delete", "assignment", name, "-n", PLATFORM];
        let mut printed = hub.starling(&delete)?;
        if printed.code == APPROVAL_REQUIRED
            && let Some(count) = approval(&printed.stderr)
        {
            printed = hub.starling(&[&delete[..], &["--approve", &count]].concat())?;
        }
        // One that is not found was deleted by a try whose answer was lost.
        if ![0, NOT_FOUND].contains(&printed.code) {
            bail!("deleting {name} ended with {}: {}", printed.code, printed.stderr.trim());
        }
        self.deleting = None;
        Ok(())
    }

    /// The assignments that there should be, with their versions.
    pub(crate) fn standing(&self) -> &BTreeMap<String, &'static str> {
        &self.standing
    }

    /// The assignments whose installs may be removed.
    pub(crate) fn deleted(&self) -> &BTreeSet<String> {
        &self.deleted
    }

    fn assign(&mut self) -> Change {
        // Of one width, so that no name is the beginning of another.
        let name = format!("extra-{:04}", self.next_number);
        self.next_number += 1;
        Change::Assigned(name)
    }

    fn write(&mut self, name: &str, version: &'static str) -> Result<()> {
        documents::write_assignment(&self.directory, name, version)?;
        self.standing.insert(name.to_owned(), version);
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assigned(name) => write!(f, "{name} assigned"),
            Self::Upgraded(name, version) => write!(f, "{name} to {version}"),
            Self::Deleted(name) => write!(f, "{name} deleted"),
        }
    }
}

/// Reads the count out of the hint `--approve COUNT`.
fn approval(text: &str) -> Option<String> {
    let (_, rest) = text.rsplit_once("--approve ")?;
    let count: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (!count.is_empty()).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_out_of_the_hint() {
        assert_eq!(approval("error: 12 installs\n  approve the count: --approve 12\n").as_deref(), Some("12"));
        assert_eq!(approval("error: nothing like it"), None);
    }

    #[test]
    fn there_are_always_some_assignments_and_never_many() {
        let folder = std::env::temp_dir().join(format!("starling-chaos-changes-{}", std::process::id()));
        documents::write_catalogue(&folder).unwrap();
        let mut world = World::start(&folder, 3).unwrap();
        let mut kinds = BTreeSet::new();
        for _ in 0..200 {
            let change = world.draw();
            world.make(&change).unwrap();
            world.deleting = None;
            kinds.insert(std::mem::discriminant(&change) == std::mem::discriminant(&Change::Deleted(String::new())));
            assert!((FEWEST..=MOST).contains(&world.standing().len()));
            assert!(world.standing().keys().all(|name| !world.deleted().contains(name)));
        }
        assert_eq!(kinds.len(), 2, "some were deletions and some were not");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
