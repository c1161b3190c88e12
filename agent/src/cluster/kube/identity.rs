//! The agent's identity in a Secret of its namespace.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use starling_model::{Value, labels};

use super::request::{APPLY_PATCH, JSON, Requests};
use crate::cluster::{ClusterError, StoredIdentity};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const TRUST: &str = "ca.crt";

/// Reads the identity; a Secret without a certificate is none.
pub(super) async fn load(
    requests: &Requests,
    namespace: &str,
    name: &str,
) -> Result<Option<StoredIdentity>, ClusterError> {
    let secret = match requests.read(&path(namespace, name), JSON).await {
        Ok(secret) => secret,
        Err(ClusterError::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    let field = |name: &str| {
        let encoded = secret.at(&["data", name])?.as_str()?;
        String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
    };
    let (Some(certificate_pem), Some(key_pem)) = (field(CERTIFICATE), field(KEY)) else { return Ok(None) };
    Ok(Some(StoredIdentity { certificate_pem, key_pem, trust_pem: field(TRUST).unwrap_or_default() }))
}

/// Writes the identity, whether the Secret is there or not.
pub(super) async fn store(
    requests: &Requests,
    namespace: &str,
    name: &str,
    identity: &StoredIdentity,
) -> Result<(), ClusterError> {
    let data = [(CERTIFICATE, &identity.certificate_pem), (KEY, &identity.key_pem), (TRUST, &identity.trust_pem)]
        .map(|(name, text)| (name, STANDARD.encode(text)));
    let document = Value::map([
        ("apiVersion", Value::from("v1")),
        ("kind", Value::from("Secret")),
        ("metadata", Value::map([("name", name), ("namespace", namespace)])),
        ("type", Value::from("Opaque")),
        ("data", Value::map(data)),
    ]);
    let path = format!("{}?fieldManager={}&force=true", path(namespace, name), labels::APPLY_MANAGER);
    requests.write(Method::PATCH, &path, APPLY_PATCH, &document).await.map(|_| ())
}

fn path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{name}")
}
