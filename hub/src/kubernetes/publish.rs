//! The ConfigMap that tells everybody in the management cluster how to reach the hub.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::api::{ApiError, within};
use super::client::Connection;
use super::seen::last_manager;
use super::{FIELD_MANAGER, HUB_CONFIG, PART_OF};
use crate::steward::Hold;

/// How long to wait after a failure, and at least between two writes.
const RETRY: Duration = Duration::from_secs(5);

/// How long to wait at most between two writes, however often others change what was written.
const LONGEST: Duration = Duration::from_secs(320);

/// How many writes in a row tell that another writer does not stop.
const IN_A_ROW: u32 = 3;

/// What is published.
#[derive(Clone, Debug)]
pub struct Published {
    /// What agents and people dial, `host:port`.
    pub address: String,
    /// The certificate of the fleet's authority, PEM.
    pub trust_pem: String,
    /// The fleet's name.
    pub fleet: String,
}

impl Published {
    fn data(&self) -> BTreeMap<String, String> {
        let Self { address, trust_pem, fleet } = self.clone();
        [("address", address), ("trust.pem", trust_pem), ("fleet", fleet)]
            .map(|(name, text)| (name.to_owned(), text))
            .into()
    }
}

/// Writes the ConfigMap, and again whenever somebody changed or deleted it, at a bounded pace; never ends.
///
/// While the fleet holds, another address is left as it is: this hub may be the copy, and the other the one to dial.
pub async fn publish(connection: Connection, published: Published, hold: Hold) {
    let api: Api<ConfigMap> = Api::namespaced(connection.client, &connection.namespace);
    let mut holds = hold.subscribe();
    let mut pace = Pace::new(Instant::now());
    loop {
        // Ends with a failure, so that the backoff is ours.
        let mut seen = watcher::watch_object(api.clone(), HUB_CONFIG).boxed();
        let mut present = None;
        loop {
            let need =
                present.as_ref().map_or(Need::Nothing, |config| need(&published, config, hold.reason().is_some()));
            tokio::select! {
                // What is there now is looked at before it is written over.
                biased;
                next = seen.next() => match next {
                    Some(Ok(config)) => present = Some(config.unwrap_or_default()),
                    Some(Err(_)) | None => break,
                },
                _ = holds.changed() => {}
                () = sleep_until(pace.next), if need == Need::Write => {
                    // Nothing more is written before the watch has told what came of it.
                    let replaced = present.take().unwrap_or_default();
                    if let Err(error) = write(&api, &published).await {
                        tracing::warn!(config_map = HUB_CONFIG, %error, "cannot publish the hub's address");
                        break;
                    }
                    tracing::info!(config_map = HUB_CONFIG, address = published.address, "published the hub's address");
                    if pace.wrote(Instant::now()) {
                        warn_of_other(&published, replaced);
                    }
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// What is to be done about the ConfigMap as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    Write,
}

fn need(published: &Published, present: &ConfigMap, is_holding: bool) -> Need {
    let text = |name: &str| present.data.as_ref().and_then(|data| data.get(name));
    if published.data().iter().all(|(name, wanted)| text(name) == Some(wanted)) {
        return Need::Nothing;
    }
    let is_another = text("address").is_some_and(|address| !address.is_empty() && *address != published.address);
    if is_holding && is_another { Need::Nothing } else { Need::Write }
}

/// When the next write is due: the waits double while writes do not last.
#[derive(Debug)]
struct Pace {
    next: Instant,
    wait: Duration,
    in_a_row: u32,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { next: now, wait: RETRY, in_a_row: 0 }
    }

    /// Counts a write, and tells when it is the one that makes clear that another writer does not stop.
    fn wrote(&mut self, now: Instant) -> bool {
        // What lasted for long was not fought over.
        let lasted = now.saturating_duration_since(self.next) > LONGEST;
        if lasted {
            (self.wait, self.in_a_row) = (RETRY, 0);
        }
        self.next = now + self.wait;
        self.wait = self.wait.saturating_mul(2).min(LONGEST);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.in_a_row == IN_A_ROW
    }
}

fn warn_of_other(published: &Published, replaced: ConfigMap) {
    let manager = last_manager(replaced.metadata.managed_fields.unwrap_or_default());
    // Another hub writes under our own name.
    let manager = if manager.is_empty() { FIELD_MANAGER } else { &manager };
    let theirs = replaced.data.unwrap_or_default().remove("address").unwrap_or_default();
    let (config_map, ours) = (HUB_CONFIG, published.address.as_str());
    tracing::warn!(config_map, manager, theirs, ours, "another writer keeps changing the hub's published address");
}

async fn write(api: &Api<ConfigMap>, published: &Published) -> Result<(), ApiError> {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": HUB_CONFIG, "labels": { PART_OF.0: PART_OF.1 } },
        "data": published.data(),
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    within(api.patch(HUB_CONFIG, &params, &Patch::Apply(object))).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex, MutexGuard};

    use http::{Method, Request, Response};
    use kube::Client;
    use kube::client::Body;
    use starling_hub_core::hold::HoldReason;
    use tokio::sync::Notify;

    use super::*;

    fn published() -> Published {
        Published { address: "hub:7443".into(), trust_pem: "trust".into(), fleet: "demo".into() }
    }

    fn config(address: &str) -> ConfigMap {
        let mut data = published().data();
        data.insert("address".into(), address.into());
        ConfigMap { data: Some(data), ..ConfigMap::default() }
    }

    #[test]
    fn another_address_stays_while_the_fleet_holds() {
        let need = |present: &ConfigMap, is_holding| need(&published(), present, is_holding);
        assert_eq!(need(&config("hub:7443"), false), Need::Nothing);
        assert_eq!(need(&config("other:7443"), false), Need::Write);
        assert_eq!(need(&config("other:7443"), true), Need::Nothing);
        assert_eq!(need(&config(""), true), Need::Write);
        assert_eq!(need(&ConfigMap::default(), true), Need::Write);
    }

    #[test]
    fn two_writers_pause_ever_longer_and_it_is_told_once() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.next, start, "the first is not kept waiting");
        let (mut waits, mut told) = (Vec::new(), Vec::new());
        for count in 1..=9 {
            let now = pace.next;
            if pace.wrote(now) {
                told.push(count);
            }
            waits.push((pace.next - now).as_secs());
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 320, 320]);
        assert_eq!(told, [3]);
        let now = pace.next + LONGEST + Duration::from_secs(1);
        assert!(!pace.wrote(now));
        assert_eq!(pace.next - now, RETRY, "what lasted begins anew");
    }

    /// An API server of one ConfigMap, where another writer answers each write at once.
    #[derive(Clone)]
    struct Server {
        present: Arc<Mutex<(u64, ConfigMap)>>,
        changed: Arc<Notify>,
        writes: Arc<Mutex<Vec<Instant>>>,
    }

    impl Server {
        fn new() -> Self {
            let present = Arc::new(Mutex::new((1, config("other:7443"))));
            Self { present, changed: Arc::default(), writes: Arc::default() }
        }

        fn connection(&self) -> Connection {
            let server = self.clone();
            let service = tower::service_fn(move |request: Request<Body>| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(Response::new(Body::from(server.answer(request).await.into_bytes()))) }
            });
            Connection { client: Client::new(service, "own"), namespace: "own".into() }
        }

        fn writes(&self) -> MutexGuard<'_, Vec<Instant>> {
            self.writes.lock().unwrap()
        }

        fn object(&self) -> (u64, serde_json::Value) {
            let (version, config) = self.present.lock().unwrap().clone();
            let metadata = json!({ "name": HUB_CONFIG, "namespace": "own", "resourceVersion": version.to_string() });
            let data = config.data;
            (version, json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data }))
        }

        async fn answer(&self, request: Request<Body>) -> String {
            let query = request.uri().query().unwrap_or_default().to_owned();
            if request.method() == Method::PATCH {
                self.writes().push(Instant::now());
                self.present.lock().unwrap().0 += 2;
                self.changed.notify_waiters();
                return self.object().1.to_string();
            }
            let (version, object) = self.object();
            let Some((_, known)) = query.split_once("resourceVersion=").filter(|_| query.contains("watch=true")) else {
                let metadata = json!({ "resourceVersion": version.to_string() });
                let list =
                    json!({ "apiVersion": "v1", "kind": "ConfigMapList", "metadata": metadata, "items": [object] });
                return list.to_string();
            };
            // Each watch tells of one change, and ends.
            let known: u64 = known.split('&').next().unwrap().parse().unwrap();
            loop {
                let changed = self.changed.notified();
                let (version, object) = self.object();
                if version > known {
                    return format!("{}\n", json!({ "type": "MODIFIED", "object": object }));
                }
                changed.await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fight_over_the_address_is_slow() {
        let server = Server::new();
        let publishing = publish(server.connection(), published(), Hold::new(None));
        tokio::time::timeout(Duration::from_secs(5 + 10 + 20 + 40 + 1), publishing).await.unwrap_err();
        let writes = server.writes().clone();
        let waits: Vec<u64> = writes.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_written_over_while_the_fleet_holds() {
        let server = Server::new();
        let publishing = publish(server.connection(), published(), Hold::new(Some(HoldReason::StoreEmpty)));
        tokio::time::timeout(Duration::from_secs(600), publishing).await.unwrap_err();
        assert!(server.writes().is_empty());
    }
}
