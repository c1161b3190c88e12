//! When which install is looked at again: at once when something happened to it, later when it failed.

use std::collections::BTreeMap;
use std::time::Duration;

use starling_agent_core::reconcile::Purpose;
use starling_model::{InstallKey, Millis};

/// The first and the longest wait after a failure or a repair.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// After how long without a failure or a repair the backoff begins anew.
const QUIET: Duration = Duration::from_secs(300);

/// What is to be done, by install; bounded by what is held.
#[derive(Default)]
pub(super) struct Agenda {
    items: BTreeMap<InstallKey, Item>,
}

struct Item {
    due: Option<Millis>,
    purpose: Purpose,
    not_before: Millis,
    setbacks: u32,
    last_setback: Millis,
}

impl Agenda {
    /// Puts an install on the agenda, as soon as its backoff allows.
    pub(super) fn mark(&mut self, install: &InstallKey, purpose: Purpose, at: Millis) {
        let item = self.items.entry(install.clone()).or_insert_with(Item::idle);
        item.due = Some(item.due.map_or(at, |due| due.min(at)));
        if purpose == Purpose::Write {
            item.purpose = Purpose::Write;
        }
    }

    /// Lets a new intent begin at once, whatever failed before it.
    pub(super) fn forgive(&mut self, install: &InstallKey) {
        if let Some(item) = self.items.get_mut(install) {
            item.not_before = Millis(0);
            item.setbacks = 0;
        }
    }

    /// Counts a failure or a repair: the install is looked at again after a wait that grows.
    pub(super) fn set_back(&mut self, install: &InstallKey, uptime: Millis) -> Duration {
        let item = self.items.entry(install.clone()).or_insert_with(Item::idle);
        if uptime.since(item.last_setback) > QUIET {
            item.setbacks = 0;
        }
        let wait = BACKOFF.0.saturating_mul(1 << item.setbacks.min(10)).min(BACKOFF.1);
        item.setbacks = item.setbacks.saturating_add(1);
        item.last_setback = uptime;
        item.not_before = uptime.plus(wait);
        wait
    }

    /// Takes the next install whose time has come.
    pub(super) fn take(&mut self, uptime: Millis) -> Option<(InstallKey, Purpose)> {
        let (install, item) = self.items.iter_mut().find(|(_, item)| item.time().is_some_and(|time| time <= uptime))?;
        item.due = None;
        let purpose = std::mem::replace(&mut item.purpose, Purpose::Repair);
        Some((install.clone(), purpose))
    }

    /// Returns when the next install's time comes.
    pub(super) fn next(&self) -> Option<Millis> {
        self.items.values().filter_map(Item::time).min()
    }

    /// Forgets installs that are no longer held.
    pub(super) fn retain(&mut self, held: impl Fn(&InstallKey) -> bool) {
        self.items.retain(|install, _| held(install));
    }
}

impl Item {
    fn idle() -> Self {
        Self { due: None, purpose: Purpose::Repair, not_before: Millis(0), setbacks: 0, last_setback: Millis(0) }
    }

    fn time(&self) -> Option<Millis> {
        self.due.map(|due| due.max(self.not_before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(name: &str) -> InstallKey {
        InstallKey::new("addons", name)
    }

    #[test]
    fn failures_wait_longer_and_longer_and_a_new_intent_does_not() {
        let mut agenda = Agenda::default();
        agenda.mark(&install("a"), Purpose::Write, Millis(1000));
        assert_eq!(agenda.take(Millis(1000)), Some((install("a"), Purpose::Write)));
        assert_eq!(agenda.take(Millis(1000)), None);
        assert_eq!(agenda.set_back(&install("a"), Millis(1000)), Duration::from_secs(1));
        agenda.mark(&install("a"), Purpose::Repair, Millis(1000));
        assert_eq!(agenda.next(), Some(Millis(2000)));
        assert_eq!(agenda.set_back(&install("a"), Millis(2000)), Duration::from_secs(2));
        agenda.forgive(&install("a"));
        assert_eq!(agenda.take(Millis(2000)), Some((install("a"), Purpose::Repair)));
    }

    #[test]
    fn quiet_ends_the_backoff() {
        let mut agenda = Agenda::default();
        for _ in 0..9 {
            agenda.set_back(&install("a"), Millis(1000));
        }
        assert_eq!(agenda.set_back(&install("a"), Millis(1000)), Duration::from_secs(60));
        assert_eq!(agenda.set_back(&install("a"), Millis(1_000_000)), Duration::from_secs(1));
    }

    #[test]
    fn writing_outweighs_repairing() {
        let mut agenda = Agenda::default();
        agenda.mark(&install("a"), Purpose::Write, Millis(5));
        agenda.mark(&install("a"), Purpose::Repair, Millis(3));
        assert_eq!(agenda.take(Millis(3)), Some((install("a"), Purpose::Write)));
    }
}
