//! When statuses are written: on transitions at once, counts now and then, and never faster than a rate.
//!
//! Owns what each object is known to hold, what it should hold, and whose turn it is. What should be written is a value for
//! each object, never a queue: whoever waits is written with the newest. Uptime is the only time here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value};
use starling_model::Millis;

use super::Sighting;
use crate::resources::InputKey;
use crate::resources::status::Status;

/// A token, in the thousandths that a bucket counts.
const TOKEN: u64 = 1000;

/// How long a refused write waits: whoever has to put that right is not quicker.
const REFUSED: Duration = Duration::from_secs(60);

/// The shortest and the longest wait for an API server that does not answer.
const AWAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How fast statuses are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Writes a second over all objects, on average; not zero.
    pub per_second: u32,
    /// Writes at once after a quiet time.
    pub burst: u32,
    /// The shortest time between two writes of one object.
    pub between: Duration,
    /// The shortest time between a write of an object and one that only changes counts or texts.
    pub counts: Duration,
    /// How long a cluster must be connecting before that is written.
    pub connecting: Duration,
}

/// A status to write now.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Which resource.
    pub key: InputKey,
    /// The `metadata.uid` of the object that is meant.
    pub object: String,
    /// The JSON merge patch of its `status` that leads from what it holds to what it should hold.
    pub patch: Value,
}

/// Why a write was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFailure {
    /// There is no such object any more.
    Gone,
    /// Another object has its name, or somebody wrote meanwhile.
    Conflict,
    /// The API server does not take it.
    Refused,
    /// The API server did not answer, or asks for patience.
    Away,
}

/// How much a change matters; what matters more is written first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Transition,
    Counts,
}

#[derive(Debug)]
struct Object {
    seen: Sighting,
    /// When it was last written by this process.
    written: Option<Millis>,
    /// What is being written.
    writing: Option<Status>,
    wanted: Option<Wanted>,
    /// Not before then.
    not_before: Millis,
}

#[derive(Debug)]
struct Wanted {
    status: Status,
    urgency: Urgency,
    /// Since when the object differs from what it should hold.
    since: Millis,
    due: Millis,
}

/// Which objects there are, what they hold and what they should hold.
#[derive(Debug)]
pub struct Book {
    pace: Pace,
    objects: BTreeMap<InputKey, Object>,
    queue: BTreeSet<(Urgency, Millis, InputKey)>,
    /// Thousandths of a token.
    tokens: u64,
    filled: Millis,
    /// How often in a row the API server did not answer.
    away: u32,
    away_until: Millis,
}

impl Book {
    /// Opens an empty book.
    #[must_use]
    pub fn new(pace: Pace, uptime: Millis) -> Self {
        Self {
            pace,
            objects: BTreeMap::new(),
            queue: BTreeSet::new(),
            tokens: u64::from(pace.burst) * TOKEN,
            filled: uptime,
            away: 0,
            away_until: Millis(0),
        }
    }

    /// Takes note of what the API server holds; what is older than a write of ours is passed over.
    pub fn see(&mut self, key: &InputKey, seen: Sighting) {
        let known = self.objects.get_mut(key).filter(|object| object.seen.object == seen.object);
        let Some(object) = known else {
            self.forget(key);
            let object = Object { seen, written: None, writing: None, wanted: None, not_before: Millis(0) };
            self.objects.insert(key.clone(), object);
            return;
        };
        // Versions are compared only where both are known.
        let is_older = seen.version != 0 && seen.version < object.seen.version;
        if !is_older {
            object.seen = seen;
        }
    }

    /// Forgets a resource that is gone.
    pub fn forget(&mut self, key: &InputKey) {
        self.unqueue(key);
        self.objects.remove(key);
    }

    /// Lists what the API server is known to hold, with what was written since it was seen.
    pub fn sightings(&self) -> impl Iterator<Item = (&InputKey, &Sighting)> {
        self.objects.iter().map(|(key, object)| (key, &object.seen))
    }

    /// Returns how many objects wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Tells whether a resource waits to be written, or is being written.
    #[must_use]
    pub fn is_wanted(&self, key: &InputKey) -> bool {
        self.objects.get(key).is_some_and(|object| object.wanted.is_some() || object.writing.is_some())
    }

    /// Takes note of what a resource should hold.
    pub fn want(&mut self, key: &InputKey, status: Status, uptime: Millis) {
        let Some(object) = self.objects.get_mut(key) else { return };
        let since = object.wanted.as_ref().map_or(uptime, |wanted| wanted.since);
        let present = object.writing.as_ref().unwrap_or(&object.seen.status);
        if present.says_the_same_as(&status) {
            self.unqueue(key);
            return;
        }
        let urgency = if present.is_transition_to(&status) { Urgency::Transition } else { Urgency::Counts };
        let between = match urgency {
            Urgency::Transition => self.pace.between,
            Urgency::Counts => self.pace.counts,
        };
        let after = object.written.map_or(Millis(0), |written| written.plus(between));
        let ready = if status.is_connecting() { since.plus(self.pace.connecting) } else { since };
        let due = ready.max(after).max(object.not_before);
        let is_writing = object.writing.is_some();
        self.unqueue(key);
        if let Some(object) = self.objects.get_mut(key) {
            object.wanted = Some(Wanted { status, urgency, since, due });
        }
        if !is_writing {
            self.queue.insert((urgency, due, key.clone()));
        }
    }

    /// Returns the next write, if one is due and the rate allows it; [`Self::wrote`] or [`Self::failed`] must follow.
    pub fn next(&mut self, uptime: Millis) -> Option<Write> {
        self.fill(uptime);
        if self.tokens < TOKEN || uptime < self.away_until {
            return None;
        }
        let key = self.first_due(uptime)?;
        let object = self.objects.get_mut(&key)?;
        let wanted = object.wanted.take()?;
        self.queue.remove(&(wanted.urgency, wanted.due, key.clone()));
        self.tokens -= TOKEN;
        let patch = merge_patch(&json(&object.seen.status), &json(&wanted.status));
        object.writing = Some(wanted.status);
        Some(Write { key, object: object.seen.object.clone(), patch })
    }

    /// Returns when [`Self::next`] may have something, if nothing else happens.
    #[must_use]
    pub fn wake(&self, uptime: Millis) -> Option<Millis> {
        let transition = self.queue.first().map(|(_, due, _)| *due);
        let counts = self.queue.range((Urgency::Counts, Millis(0), lowest())..).next().map(|(_, due, _)| *due);
        let due = transition.into_iter().chain(counts).min()?;
        let missing = TOKEN.saturating_sub(self.tokens);
        let wait = missing.div_ceil(u64::from(self.pace.per_second.max(1)));
        let token = self.filled.plus(Duration::from_millis(wait));
        Some(due.max(token).max(self.away_until).max(uptime))
    }

    /// Takes note of a write that was taken, after which the object has this version.
    pub fn wrote(&mut self, key: &InputKey, version: u64, uptime: Millis) {
        (self.away, self.away_until) = (0, Millis(0));
        let Some(object) = self.objects.get_mut(key) else { return };
        let Some(status) = object.writing.take() else { return };
        object.seen.status = status;
        object.seen.version = object.seen.version.max(version);
        object.written = Some(uptime);
        self.want_again(key, uptime);
    }

    /// Takes note of a write that was not taken.
    pub fn failed(&mut self, key: &InputKey, failure: WriteFailure, uptime: Millis) {
        match failure {
            WriteFailure::Gone => return self.forget(key),
            WriteFailure::Away => {
                let wait = AWAY.0.saturating_mul(1 << self.away.min(6)).min(AWAY.1);
                self.away = self.away.saturating_add(1);
                self.away_until = self.away_until.max(uptime.plus(wait));
            }
            WriteFailure::Conflict | WriteFailure::Refused => (self.away, self.away_until) = (0, Millis(0)),
        }
        let Some(object) = self.objects.get_mut(key) else { return };
        let Some(status) = object.writing.take() else { return };
        object.not_before = match failure {
            WriteFailure::Refused => uptime.plus(REFUSED),
            WriteFailure::Conflict => uptime.plus(self.pace.between),
            WriteFailure::Away | WriteFailure::Gone => uptime,
        };
        if object.wanted.is_none() {
            self.want(key, status, uptime);
        } else {
            self.want_again(key, uptime);
        }
    }

    fn want_again(&mut self, key: &InputKey, uptime: Millis) {
        let wanted = self.objects.get_mut(key).and_then(|object| object.wanted.take());
        if let Some(wanted) = wanted {
            self.want(key, wanted.status, uptime);
        }
    }

    fn first_due(&self, uptime: Millis) -> Option<InputKey> {
        let counts = (Urgency::Counts, Millis(0), lowest());
        let transitions = self.queue.range(..counts.clone()).next();
        let firsts = transitions.into_iter().chain(self.queue.range(counts..).next());
        firsts.into_iter().find(|(_, due, _)| *due <= uptime).map(|(_, _, key)| key.clone())
    }

    fn unqueue(&mut self, key: &InputKey) {
        let Some(object) = self.objects.get_mut(key) else { return };
        if let Some(wanted) = object.wanted.take() {
            self.queue.remove(&(wanted.urgency, wanted.due, key.clone()));
        }
    }

    fn fill(&mut self, uptime: Millis) {
        let elapsed = uptime.0.saturating_sub(self.filled.0);
        let more = elapsed.saturating_mul(u64::from(self.pace.per_second));
        self.tokens = self.tokens.saturating_add(more).min(u64::from(self.pace.burst.max(1)) * TOKEN);
        self.filled = self.filled.max(uptime);
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            per_second: 20,
            burst: 20,
            between: Duration::from_secs(5),
            counts: Duration::from_secs(30),
            connecting: Duration::from_secs(5),
        }
    }
}

/// The key that sorts before all others.
fn lowest() -> InputKey {
    InputKey::new(crate::resources::Kind::Workspace, "", "")
}

fn json(status: &Status) -> Value {
    serde_json::to_value(status).expect("a status has only string keys")
}

/// Returns the merge patch (RFC 7386) that leads from one value to another.
fn merge_patch(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for (key, value) in to {
        match from.get(key) {
            Some(old) if old == value => {}
            Some(old) => drop(patch.insert(key.clone(), merge_patch(old, value))),
            None => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}
