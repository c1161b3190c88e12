//! The fleet's secrets as a Secret of the hub's own namespace, apart from the store's volume.
//!
//! A write whose answer was lost may have happened. Its content alone does not tell whose it is: another hub of the same
//! fleet, such as one started on a copy of the store, would reserve the same positions. So each write is signed.

use std::collections::BTreeMap;
use std::io;

use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::api::{ApiError, within};
use super::{FIELD_MANAGER, KEYS_SECRET, PART_OF};
use crate::keyring::{Entries, KeyStorage};

/// The annotation that tells which process replaced which entry last, and with what.
const WRITTEN: &str = "starling.dev/written-by";

/// The Secret [`KEYS_SECRET`], written by compare-and-set alone.
pub struct KeySecret {
    api: Api<Secret>,
    namespace: String,
    /// Random: tells this process's writes from those of any other hub.
    writer: u128,
    /// The Secret as it was last read or written here.
    known: Mutex<Option<Secret>>,
}

impl KeySecret {
    /// Names the Secret; it need not exist yet.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, namespace: namespace.to_owned(), writer: rand::random(), known: Mutex::new(None) }
    }

    async fn get(&self) -> io::Result<Option<Secret>> {
        match within(self.api.get(KEYS_SECRET)).await {
            Ok(secret) => Ok(Some(secret)),
            Err(ApiError::NotFound) => Ok(None),
            Err(error) => Err(io_error(error)),
        }
    }

    /// Returns what this process writes beside an entry, so that it knows its own write when no answer came.
    fn signature(&self, name: &str, content: &ByteString) -> String {
        format!("{:032x} {name} {}", self.writer, hex::encode(Sha256::digest(&content.0)))
    }

    /// Tells whether this process wrote what is in an entry.
    fn is_own(&self, secret: &Secret, name: &str) -> bool {
        let signature = secret.metadata.annotations.as_ref().and_then(|texts| texts.get(WRITTEN));
        entry(secret, name).is_some_and(|content| signature == Some(&self.signature(name, content)))
    }
}

#[async_trait]
impl KeyStorage for KeySecret {
    fn place(&self) -> String {
        format!("Secret {}/{KEYS_SECRET}", self.namespace)
    }

    fn keeps_server_certificate(&self) -> bool {
        false
    }

    async fn read(&self) -> io::Result<Entries> {
        let secret = self.get().await?;
        let entries = secret.as_ref().map(entries_of).unwrap_or_default();
        *self.known.lock().await = secret;
        Ok(entries)
    }

    async fn create(&self, entries: Entries) -> io::Result<()> {
        let mut known = self.known.lock().await;
        let data = entries.into_iter().map(|(name, content)| (name, ByteString(content)));
        // One that is there is empty of ours: somebody made it for its labels.
        let written = match known.clone() {
            Some(mut secret) => {
                secret.data.get_or_insert_default().extend(data);
                within(self.api.replace(KEYS_SECRET, &params(), &secret)).await
            }
            None => {
                let labels = BTreeMap::from([(PART_OF.0.to_owned(), PART_OF.1.to_owned())]);
                let name = Some(KEYS_SECRET.to_owned());
                let metadata = ObjectMeta { name, labels: Some(labels), ..ObjectMeta::default() };
                let secret = Secret { metadata, data: Some(data.collect()), ..Secret::default() };
                within(self.api.create(&params(), &secret)).await
            }
        };
        *known = Some(written.map_err(io_error)?);
        Ok(())
    }

    async fn replace(&self, name: &str, content: Vec<u8>) -> io::Result<()> {
        let mut known = self.known.lock().await;
        let content = ByteString(content);
        let before = known.as_ref().and_then(|secret| entry(secret, name)).cloned();
        let mut base = known.clone();
        // Once more where only something else of the Secret was written by others, such as a label, or where an attempt
        // of ours was taken without our being told.
        for is_last in [false, true] {
            let Some(mut secret) = base.take() else {
                let gone = format!("{} is gone; restore it from a backup", self.place());
                return Err(io::Error::new(io::ErrorKind::NotFound, gone));
            };
            let annotations = secret.metadata.annotations.get_or_insert_default();
            annotations.insert(WRITTEN.to_owned(), self.signature(name, &content));
            secret.data.get_or_insert_default().insert(name.to_owned(), content.clone());
            match within(self.api.replace(KEYS_SECRET, &params(), &secret)).await {
                Ok(written) => {
                    *known = Some(written);
                    return Ok(());
                }
                Err(ApiError::Conflict(_)) if !is_last => base = self.get().await?,
                Err(error) => return Err(io_error(error)),
            }
            let Some(present) = &base else { continue };
            let is_own = self.is_own(present, name);
            if is_own && entry(present, name) == Some(&content) {
                *known = base;
                return Ok(());
            }
            if !is_own && entry(present, name) != before.as_ref() {
                return Err(io::Error::other(format!("{}: another hub wrote {name}", self.place())));
            }
        }
        Err(io::Error::other(format!("{}: others write it all the time", self.place())))
    }
}

fn entry<'secret>(secret: &'secret Secret, name: &str) -> Option<&'secret ByteString> {
    secret.data.as_ref()?.get(name)
}

fn entries_of(secret: &Secret) -> Entries {
    let data = secret.data.iter().flatten();
    data.map(|(name, content)| (name.clone(), content.0.clone())).collect()
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn io_error(error: ApiError) -> io::Error {
    let kind = match &error {
        ApiError::NotFound => io::ErrorKind::NotFound,
        ApiError::Conflict(_) => io::ErrorKind::AlreadyExists,
        ApiError::Forbidden(_) => io::ErrorKind::PermissionDenied,
        ApiError::Unreachable(_) => io::ErrorKind::NotConnected,
        ApiError::Refused(_) => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex as Cell, MutexGuard};

    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// An API server of one Secret.
    #[derive(Clone)]
    struct Server {
        present: Arc<Cell<Secret>>,
        /// How many of the next writes are taken without an answer that tells so.
        loses: Arc<Cell<u32>>,
    }

    impl Server {
        fn new() -> Self {
            let metadata = ObjectMeta { resource_version: Some("1".into()), ..ObjectMeta::default() };
            let data = Some([("mark.json".to_owned(), ByteString(b"m0".to_vec()))].into());
            let secret = Secret { metadata, data, ..Secret::default() };
            Self { present: Arc::new(Cell::new(secret)), loses: Arc::default() }
        }

        async fn hub(&self) -> KeySecret {
            let server = self.clone();
            let service = tower::service_fn(move |request: Request<Body>| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            let keys = KeySecret::new(Client::new(service, "own"), "own");
            keys.read().await.unwrap();
            keys
        }

        fn present(&self) -> MutexGuard<'_, Secret> {
            self.present.lock().unwrap()
        }

        fn mark(&self) -> Vec<u8> {
            entry(&self.present(), "mark.json").unwrap().0.clone()
        }

        async fn answer(&self, request: Request<Body>) -> Response<Body> {
            let is_write = request.method() == Method::PUT;
            let body = request.into_body().collect_bytes().await.unwrap();
            let mut present = self.present();
            if is_write {
                let written: Secret = serde_json::from_slice(&body).unwrap();
                if written.metadata.resource_version != present.metadata.resource_version {
                    return failure(409);
                }
                *present = written;
                touch(&mut present);
                let mut loses = self.loses.lock().unwrap();
                if *loses > 0 {
                    *loses -= 1;
                    return failure(504);
                }
            }
            Response::new(Body::from(serde_json::to_vec(&*present).unwrap()))
        }
    }

    fn touch(secret: &mut Secret) {
        let version: u64 = secret.metadata.resource_version.as_deref().unwrap().parse().unwrap();
        secret.metadata.resource_version = Some((version + 1).to_string());
    }

    fn failure(code: u16) -> Response<Body> {
        let status = json!({ "status": "Failure", "message": "no", "reason": "x", "code": code });
        Response::builder().status(code).body(Body::from(status.to_string().into_bytes())).unwrap()
    }

    async fn replace(keys: &KeySecret, content: &str) -> Result<(), String> {
        keys.replace("mark.json", content.into()).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_write_whose_answer_was_lost_is_known_again() {
        let server = Server::new();
        let keys = server.hub().await;
        *server.loses.lock().unwrap() = 1;
        replace(&keys, "m1").await.unwrap_err();
        replace(&keys, "m1").await.unwrap();
        replace(&keys, "m2").await.unwrap();
        assert_eq!(server.mark(), b"m2");
        // The next attempt may say something else, and lose its answer, too.
        *server.loses.lock().unwrap() = 2;
        replace(&keys, "m3").await.unwrap_err();
        replace(&keys, "m4").await.unwrap_err();
        touch(&mut server.present());
        replace(&keys, "m5").await.unwrap();
        replace(&keys, "m6").await.unwrap();
        assert_eq!(server.mark(), b"m6");
    }

    #[tokio::test]
    async fn another_hub_s_write_stops_this_one_even_with_the_same_content() {
        let server = Server::new();
        let (keys, other) = (server.hub().await, server.hub().await);
        replace(&other, "m1").await.unwrap();
        for content in ["m1", "m2", "m1"] {
            assert!(replace(&keys, content).await.unwrap_err().contains("another hub wrote mark.json"));
        }
        // Nor does a lost answer open a way.
        *server.loses.lock().unwrap() = 1;
        replace(&other, "m2").await.unwrap_err();
        assert!(replace(&keys, "m2").await.is_err());
        replace(&other, "m2").await.unwrap();
        assert_eq!(server.mark(), b"m2");
    }

    #[tokio::test]
    async fn others_may_write_something_else_of_the_secret() {
        let server = Server::new();
        let keys = server.hub().await;
        touch(&mut server.present());
        replace(&keys, "m1").await.unwrap();
        assert_eq!(server.mark(), b"m1");
    }
}
