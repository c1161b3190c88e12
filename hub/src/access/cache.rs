//! Answers that are used again for a while: bounded, and asked for once however many wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use starling_model::Millis;

use crate::ports::Clock;

/// A question under way, for whoever waits for its answer.
type Flight<V, E> = Shared<BoxFuture<'static, Result<V, E>>>;

/// Answers by question. Errors are not kept: the next one asks again.
pub(super) struct Cache<K, V, E> {
    state: Mutex<State<K, V, E>>,
    bound: usize,
    clock: Arc<dyn Clock>,
}

struct State<K, V, E> {
    known: BTreeMap<K, (V, Millis)>,
    /// The same by when they end, so that the one that ends first makes room.
    ends: BTreeSet<(Millis, K)>,
    flights: BTreeMap<K, Flight<V, E>>,
}

impl<K, V, E> Cache<K, V, E>
where
    K: Ord + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + From<tokio::task::JoinError> + 'static,
{
    /// Makes an empty cache of so many answers.
    pub(super) fn new(bound: usize, clock: Arc<dyn Clock>) -> Arc<Self> {
        let state = State { known: BTreeMap::new(), ends: BTreeSet::new(), flights: BTreeMap::new() };
        Arc::new(Self { state: Mutex::new(state), bound, clock })
    }

    /// Returns an answer that is still good.
    pub(super) fn known(&self, key: &K) -> Option<V> {
        let now = self.clock.uptime();
        self.lock().known(key, now)
    }

    /// Returns an answer that is still good, else the one that is under way, else asks. `keep` says for how long the answer is
    /// good, counted from now.
    pub(super) async fn ask<A>(
        self: &Arc<Self>,
        key: K,
        ask: impl FnOnce() -> A,
        keep: impl FnOnce(&V) -> Duration + Send + 'static,
    ) -> Result<V, E>
    where
        A: Future<Output = Result<V, E>> + Send + 'static,
    {
        let now = self.clock.uptime();
        let flight = {
            let mut state = self.lock();
            if let Some(value) = state.known(&key, now) {
                return Ok(value);
            }
            match state.flights.get(&key) {
                Some(flight) => flight.clone(),
                None => {
                    // A task of its own: whoever asked first may go away, and the others still want to know.
                    let (cache, asked, answer) = (Arc::clone(self), key.clone(), ask());
                    let task = tokio::spawn(async move {
                        let _landed = Landing { cache: &cache, key: &asked };
                        let outcome = answer.await;
                        if let Ok(value) = &outcome {
                            cache.lock().keep(&asked, value, now.plus(keep(value)), cache.bound);
                        }
                        outcome
                    });
                    let flight = task.map(|joined| joined.unwrap_or_else(|error| Err(error.into()))).boxed().shared();
                    state.flights.insert(key, flight.clone());
                    flight
                }
            }
        };
        flight.await
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a flight, however it ends.
struct Landing<'a, K, V, E>
where
    K: Ord + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + From<tokio::task::JoinError> + 'static,
{
    cache: &'a Cache<K, V, E>,
    key: &'a K,
}

impl<K, V, E> Drop for Landing<'_, K, V, E>
where
    K: Ord + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + From<tokio::task::JoinError> + 'static,
{
    fn drop(&mut self) {
        self.cache.lock().flights.remove(self.key);
    }
}

impl<K: Ord + Clone, V: Clone, E> State<K, V, E> {
    fn known(&self, key: &K, now: Millis) -> Option<V> {
        let (value, ends) = self.known.get(key)?;
        (now < *ends).then(|| value.clone())
    }

    fn keep(&mut self, key: &K, value: &V, ends: Millis, bound: usize) {
        if let Some((_, before)) = self.known.insert(key.clone(), (value.clone(), ends)) {
            self.ends.remove(&(before, key.clone()));
        }
        self.ends.insert((ends, key.clone()));
        while self.known.len() > bound {
            let Some((_, first)) = self.ends.pop_first() else { return };
            self.known.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::access::ReviewError;

    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Millis {
            self.uptime()
        }

        fn uptime(&self) -> Millis {
            Millis(self.0.load(Ordering::Relaxed))
        }
    }

    type Numbers = Cache<u64, u64, ReviewError>;

    fn numbers(bound: usize) -> (Arc<Hand>, Arc<Numbers>) {
        let hand = Arc::new(Hand::default());
        (Arc::clone(&hand), Cache::new(bound, hand))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn an_answer_is_used_until_it_ends() {
        let (hand, cache) = numbers(10);
        let ask = |value| cache.ask(1, move || async move { Ok(value) }, |_| SECOND);
        assert_eq!(ask(5).await, Ok(5));
        hand.0.store(999, Ordering::Relaxed);
        assert_eq!(ask(6).await, Ok(5));
        hand.0.store(1000, Ordering::Relaxed);
        assert_eq!(ask(6).await, Ok(6));
    }

    #[tokio::test]
    async fn an_answers_age_counts_from_the_question() {
        let (hand, cache) = numbers(10);
        let slow = Arc::clone(&hand);
        let ask = || async move {
            slow.0.store(5000, Ordering::Relaxed);
            Ok(1)
        };
        assert_eq!(cache.ask(1, ask, |_| SECOND).await, Ok(1));
        assert_eq!(cache.known(&1), None);
    }

    #[tokio::test]
    async fn errors_are_not_kept() {
        let (_, cache) = numbers(10);
        let failed = Err(ReviewError::new("away"));
        let answer = failed.clone();
        assert_eq!(cache.ask(1, || async { answer }, |_| SECOND).await, failed);
        assert_eq!(cache.ask(1, || async { Ok(2) }, |_| SECOND).await, Ok(2));
    }

    #[tokio::test]
    async fn many_that_wait_ask_once_and_one_that_leaves_takes_nothing_along() {
        let (_, cache) = numbers(10);
        let (asked, go) = (Arc::new(AtomicU64::new(0)), Arc::new(tokio::sync::Semaphore::new(0)));
        let ask = || {
            let (cache, asked, go) = (Arc::clone(&cache), Arc::clone(&asked), Arc::clone(&go));
            tokio::spawn(async move {
                let question = || async move {
                    asked.fetch_add(1, Ordering::Relaxed);
                    let _turn = go.acquire().await;
                    Ok(7)
                };
                cache.ask(1, question, |_| SECOND).await
            })
        };
        let first = ask();
        while asked.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..50).map(|_| ask()).collect();
        tokio::task::yield_now().await;
        first.abort();
        go.add_permits(1);
        for other in others {
            assert_eq!(other.await.unwrap(), Ok(7));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(cache.lock().flights.is_empty());
    }

    #[tokio::test]
    async fn a_question_that_panics_is_an_error_and_can_be_asked_again() {
        let (_, cache) = numbers(10);
        let panics = || async { Ok(std::hint::black_box(None).expect("a planted panic")) };
        assert!(cache.ask(1, panics, |_| SECOND).await.is_err());
        assert_eq!(cache.ask(1, || async { Ok(2) }, |_| SECOND).await, Ok(2));
    }

    #[tokio::test]
    async fn what_ends_first_makes_room() {
        let (hand, cache) = numbers(3);
        for number in 0..10 {
            hand.0.store(number, Ordering::Relaxed);
            assert_eq!(cache.ask(number, || async move { Ok(number) }, |_| SECOND).await, Ok(number));
        }
        assert_eq!(cache.lock().known.len(), 3);
        assert_eq!(cache.lock().ends.len(), 3);
        assert_eq!([6, 7, 8, 9].map(|number| cache.known(&number)), [None, Some(7), Some(8), Some(9)]);
    }
}
