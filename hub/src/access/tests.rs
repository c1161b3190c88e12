//! Access over reviews that a test answers.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use starling_model::{Millis, ResourceName};

use super::*;

/// A clock that a test moves.
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

/// Tokens and permissions as a test writes them; every question is noted.
#[derive(Default)]
struct Fake {
    people: Mutex<BTreeMap<String, String>>,
    permissions: Mutex<Vec<String>>,
    away: Mutex<bool>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Reviews for Fake {
    async fn token(&self, token: &str) -> Result<TokenVerdict, ReviewError> {
        self.note(format!("token {token}"))?;
        let people = self.people.lock().unwrap();
        Ok(people.get(token).map_or(TokenVerdict::Unknown("expired".into()), |name| {
            TokenVerdict::Known(Caller::kubernetes(Person { name: name.clone(), ..Person::default() }))
        }))
    }

    async fn access(&self, person: &Person, attributes: &Attributes) -> Result<bool, ReviewError> {
        let text = format!("{} {attributes}", person.name);
        self.note(text.clone())?;
        Ok(self.permissions.lock().unwrap().contains(&text))
    }
}

impl Fake {
    fn note(&self, question: String) -> Result<(), ReviewError> {
        self.asked.lock().unwrap().push(question);
        if *self.away.lock().unwrap() { Err(ReviewError::new("connection refused")) } else { Ok(()) }
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort();
        asked
    }
}

struct Bed {
    access: Access,
    fake: Arc<Fake>,
    hand: Arc<Hand>,
}

fn bed(permissions: &[&str]) -> Bed {
    let fake = Arc::new(Fake::default());
    fake.people.lock().unwrap().insert("t-alice".into(), "alice".into());
    *fake.permissions.lock().unwrap() = permissions.iter().map(|&text| text.to_owned()).collect();
    let hand = Arc::new(Hand::default());
    let access = Access::new(AccessParts {
        admin_token: AdminToken::new("root"),
        reviews: Some(Arc::clone(&fake) as _),
        clock: Arc::clone(&hand) as _,
        metrics: AccessMetrics::default(),
    });
    Bed { access, fake, hand }
}

impl Bed {
    async fn alice(&self) -> Caller {
        self.access.authenticate("t-alice", "host").await.unwrap()
    }

    fn pass(&self, millis: u64) {
        self.hand.0.fetch_add(millis, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_token_is_reviewed_once_in_ten_seconds_and_a_deleted_one_is_refused_then() {
    let bed = bed(&[]);
    for _ in 0..3 {
        assert_eq!(bed.alice().await.to_string(), "user:alice");
    }
    assert_eq!(bed.fake.asked(), ["token t-alice"]);
    bed.fake.people.lock().unwrap().clear();
    bed.pass(9_999);
    assert_eq!(bed.alice().await.to_string(), "user:alice");
    bed.pass(1);
    let refused = bed.access.authenticate("t-alice", "host").await;
    assert_eq!(refused, Err(Unauthenticated::Unknown("expired".into())));
}

#[tokio::test]
async fn the_local_administrator_needs_nobody_and_may_everything() {
    let bed = bed(&[]);
    *bed.fake.away.lock().unwrap() = true;
    let admin = bed.access.authenticate("root", "host").await.unwrap();
    assert_eq!(bed.access.may(&admin, Attributes::new(Verb::Recover, Resource::Hubs, "", "")).await, Ok(true));
    assert!(bed.fake.asked().is_empty());
}

#[tokio::test]
async fn who_cannot_be_asked_is_no_answer() {
    let bed = bed(&["alice list managedclusters in namespace retail"]);
    let list = Attributes::new(Verb::List, Resource::Clusters, "retail", "");
    let alice = bed.alice().await;
    assert_eq!(bed.access.may(&alice, list.clone()).await, Ok(true));
    *bed.fake.away.lock().unwrap() = true;
    assert_eq!(bed.access.may(&alice, list.clone()).await, Ok(true), "for ten seconds");
    bed.pass(10_000);
    assert!(bed.access.may(&alice, list).await.is_err());
    let refused = bed.access.authenticate("t-alice", "host").await.unwrap_err();
    assert_eq!(refused.code(), starling_model::ErrorCode::Unavailable);
    assert!(refused.to_string().contains("connection refused"), "{refused}");
}

#[tokio::test]
async fn who_guesses_is_slowed_down_and_the_known_behind_the_same_address_are_not() {
    let bed = bed(&[]);
    bed.alice().await;
    let guess = |number: u32| {
        let access = bed.access.clone();
        async move { access.authenticate(&format!("guess-{number}"), "host").await.unwrap_err() }
    };
    let mut refusals = Vec::new();
    for number in 0..100 {
        refusals.push(guess(number).await);
    }
    let slowed = refusals.iter().filter(|refusal| **refusal == Unauthenticated::TooManyFailures).count();
    assert_eq!(slowed, 40);
    assert_eq!(bed.fake.asked().len(), 61, "each is asked about once, alice's too");
    bed.alice().await;
    bed.access.authenticate("root", "host").await.unwrap();
    assert!(bed.access.authenticate("guess", "other").await.is_err_and(|it| it != Unauthenticated::TooManyFailures));
}

#[tokio::test]
async fn what_is_no_token_is_not_asked_about() {
    let bed = bed(&[]);
    for malformed in ["two words".to_owned(), "é".to_owned(), "x".repeat(TOKEN_BYTES + 1)] {
        assert_eq!(bed.access.authenticate(&malformed, "host").await, Err(Unauthenticated::Malformed));
    }
    assert!(bed.fake.asked().is_empty());
}

#[tokio::test]
async fn reach_is_asked_for_from_the_widest_to_the_narrowest() {
    let there = || There {
        namespaces: ["bank", "retail"].map(str::to_owned).into(),
        objects: vec![ResourceName::new("bank", "b-1"), ResourceName::new("bank", "b-2")],
    };
    let any = Wanted { namespace: "", names: &[], there: &there };

    let wide = bed(&["alice list managedclusters in all namespaces"]);
    let reach = wide.access.reach(&wide.alice().await, Verb::List, Resource::Clusters, any).await.unwrap();
    assert!(reach.is_everywhere() && reach.covers("anything", "at-all"));
    assert_eq!(wide.fake.asked(), ["alice list managedclusters in all namespaces", "token t-alice"]);

    let some =
        bed(&["alice list managedclusters in namespace retail", "alice get managedclusters b-2 in namespace bank"]);
    let alice = some.alice().await;
    let reach = some.access.reach(&alice, Verb::List, Resource::Clusters, any).await.unwrap();
    let seen = [("retail", "r-1"), ("bank", "b-1"), ("bank", "b-2"), ("", "unassigned")];
    assert_eq!(seen.map(|(namespace, name)| reach.covers(namespace, name)), [true, false, true, false]);
    assert!(!reach.is_everywhere() && !reach.is_nothing() && reach.covers_namespace("retail"));

    let names = ["b-2".to_owned(), "b-9".to_owned()];
    let bank = Wanted { namespace: "bank", names: &names, there: &there };
    let reach = some.access.reach(&alice, Verb::List, Resource::Clusters, bank).await.unwrap();
    assert!(reach.covers("bank", "b-2") && !reach.covers("bank", "b-9") && !reach.covers("retail", "r-1"));
    let nowhere = Wanted { namespace: "bank", names: &[], there: &there };
    assert!(some.access.reach(&alice, Verb::List, Resource::Clusters, nowhere).await.unwrap().is_nothing());
    // What a named object takes where the question is not to list.
    let update = some.access.reach(&alice, Verb::Update, Resource::ClusterObjects, bank).await.unwrap();
    assert!(update.is_nothing());
    assert!(some.fake.asked().contains(&"alice update managedclusters/objects b-2 in namespace bank".to_owned()));
}

#[tokio::test]
async fn a_denial_is_counted_by_what_is_missing() {
    let metrics = crate::metrics::Metrics::new();
    let (hand, fake) = (Arc::new(Hand::default()), Arc::new(Fake::default()));
    fake.people.lock().unwrap().insert("t".into(), "bob".into());
    let access = Access::new(AccessParts {
        admin_token: AdminToken::new("root"),
        reviews: Some(fake),
        clock: hand,
        metrics: AccessMetrics::register(&metrics),
    });
    let bob = access.authenticate("t", "host").await.unwrap();
    let refused =
        access.permit(&bob, Attributes::new(Verb::Delete, Resource::Clusters, "bank", "b-1")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    assert!(access.authenticate("none", "host").await.is_err());
    let text = metrics.encode().unwrap();
    for line in [
        r#"starling_access_denied_total{resource="managedclusters",verb="delete"} 1"#,
        r#"starling_access_unauthenticated_total{reason="unknown-token"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}
