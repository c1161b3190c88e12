//! How many objects have which health.

use serde::{Deserialize, Serialize};
use starling_model::Health;

/// Numbers of objects by health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HealthCounts([u32; Health::ALL.len()]);

/// A set of healths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HealthSet(u16);

impl HealthCounts {
    /// Returns the number of objects with a health.
    #[must_use]
    pub fn get(&self, health: Health) -> u32 {
        self.0[health as usize]
    }

    /// Returns the number of all objects.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// Returns the number of objects whose health is in a set.
    #[must_use]
    pub fn in_set(&self, set: HealthSet) -> u64 {
        self.iter().filter(|(health, _)| set.contains(*health)).map(|(_, count)| u64::from(count)).sum()
    }

    /// Lists the counts, worst health first, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (Health, u32)> + '_ {
        Health::ALL.into_iter().zip(self.0)
    }

    /// Returns the worst health that any object has.
    #[must_use]
    pub fn worst(&self) -> Option<Health> {
        self.iter().find(|(_, count)| *count > 0).map(|(health, _)| health)
    }

    /// Adds all counts of another.
    pub fn add_all(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// Counts one object more.
    pub fn add(&mut self, health: Health) {
        self.0[health as usize] += 1;
    }

    pub(crate) fn subtract(&mut self, health: Health) {
        self.0[health as usize] -= 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }
}

impl HealthSet {
    /// Every health.
    pub const ALL: Self = Self(u16::MAX);

    /// Tells whether a health is in the set.
    #[must_use]
    pub fn contains(self, health: Health) -> bool {
        self.0 & (1 << health as u16) != 0
    }
}

impl FromIterator<Health> for HealthSet {
    fn from_iter<I: IntoIterator<Item = Health>>(healths: I) -> Self {
        Self(healths.into_iter().fold(0, |set, health| set | (1 << health as u16)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_counts_agree() {
        let mut counts = HealthCounts::default();
        for health in [Health::Ready, Health::Ready, Health::Failing] {
            counts.add(health);
        }
        let trouble: HealthSet = Health::ALL.into_iter().filter(|health| health.is_trouble()).collect();
        assert_eq!((counts.in_set(trouble), counts.in_set(HealthSet::ALL), counts.total()), (1, 3, 3));
        assert_eq!(counts.worst(), Some(Health::Failing));
        counts.subtract(Health::Failing);
        assert_eq!(counts.worst(), Some(Health::Ready));
    }
}
