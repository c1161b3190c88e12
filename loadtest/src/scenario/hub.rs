//! The hub that a run starts.

use serde::{Deserialize, Serialize};

use super::{ScenarioError, Step};

/// The most processes of one machine.
const PROCESSES_LIMIT: u64 = 32;

/// The hub that the run starts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HubSpec {
    /// How many processes: one has its store in a file, several have theirs in an etcd that the run starts, too.
    pub processes: u64,
}

/// Which of several hub processes something happens to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The one that writes what concerns the whole fleet.
    Steward,
    /// One that does not.
    #[default]
    Other,
}

impl HubSpec {
    /// Checks it, with the steps that are to happen to it.
    pub(super) fn check(self, steps: &[Step]) -> Result<(), ScenarioError> {
        let processes = self.processes;
        if !(1..=PROCESSES_LIMIT).contains(&processes) {
            return Err(ScenarioError(format!("hub.processes: {processes} is not between 1 and {PROCESSES_LIMIT}")));
        }
        let lonely = steps.iter().find(|step| step.action.needs_several_processes()).filter(|_| processes == 1);
        match lonely {
            None => Ok(()),
            Some(step) => Err(ScenarioError(format!(
                "step {}: a hub of one process has no shards: say `processes = 3` in the section [hub]",
                step.action.kind()
            ))),
        }
    }
}

impl Default for HubSpec {
    fn default() -> Self {
        Self { processes: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Scenario};
    use super::*;

    const SHARDED: &str = "name = \"sharded\"\n[fleet]\nclusters = 3\n[hub]\nprocesses = 3\n\
        [[step]]\nkind = \"kill-shard\"\naway-seconds = 30\nwhich = \"steward\"\n\
        [[step]]\nkind = \"rolling-restart\"\naway-seconds = 0\n[[step]]\nkind = \"join-shard\"\n";

    #[test]
    fn a_hub_has_as_many_processes_as_it_says() {
        let scenario = Scenario::parse(SHARDED).expect("a scenario");
        assert_eq!(scenario.hub.processes, 3);
        assert!(matches!(scenario.steps[0].action, Action::KillShard { which: Which::Steward, .. }));
        let one = Scenario::parse("name = \"one\"\n[fleet]\nclusters = 3\n").expect("a scenario");
        assert_eq!(one.hub.processes, 1);
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let wrong = |from: &str, to: &str| {
            let text = SHARDED.replace(from, to);
            assert_ne!(text, SHARDED);
            Scenario::parse(&text).expect_err("it is wrong").to_string()
        };
        assert!(
            wrong("processes = 3", "processes = 1").contains("step kill-shard: a hub of one process has no shards")
        );
        assert!(wrong("[hub]\nprocesses = 3\n", "").contains("say `processes = 3`"));
        assert!(wrong("processes = 3", "processes = 0").contains("not between 1 and 32"));
        assert!(wrong("processes = 3", "processes = 3\nstore = \"etcd\"").contains("store"));
        assert!(wrong("\"steward\"", "\"first\"").contains("first"));
        assert!(wrong("\"join-shard\"", "\"join-shard\"\nshards = 2").contains("shards"));
    }
}
