//! What an administrator of etcd does with etcdctl, over etcd's own JSON interface.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{EtcdCluster, USER};
use crate::error::Result;
use crate::wait::http;

/// Makes user `root` with a password, and lets nobody in without it from now on.
pub(super) fn enable_passwords(cluster: &EtcdCluster, password: &str) -> Result<()> {
    let steps = [
        ("auth/user/add", json!({ "name": USER, "password": password })),
        ("auth/role/add", json!({ "name": USER })),
        ("auth/user/grant", json!({ "user": USER, "role": USER })),
        ("auth/enable", json!({})),
    ];
    for (path, body) in steps {
        post(cluster, None, path, &body)?;
    }
    Ok(())
}

/// Returns the store's revision.
pub(super) fn revision(cluster: &EtcdCluster) -> Result<u64> {
    let request = json!({ "key": STANDARD.encode("any"), "count_only": true });
    let answer = ask(cluster, "kv/range", &request)?;
    // Numbers of 64 bits are text in protobuf's JSON.
    let revision = answer["header"]["revision"].as_str().and_then(|text| text.parse().ok());
    revision.ok_or_else(|| cluster.unexpected("read the revision of", answer.to_string()))
}

/// Compacts up to a revision, and waits until it is done.
pub(super) fn compact(cluster: &EtcdCluster, revision: u64) -> Result<()> {
    ask(cluster, "kv/compaction", &json!({ "revision": revision.to_string(), "physical": true })).map(drop)
}

/// Compacts, defragments every member and disarms all alarms.
pub(super) fn make_room(cluster: &EtcdCluster) -> Result<()> {
    cluster.compact()?;
    let token = token(cluster)?;
    for member in &cluster.members {
        post_to(member.administration(), token.as_deref(), "maintenance/defragment", &json!({}))
            .map_err(|error| cluster.unexpected("defragment", error))?;
    }
    let raised = ask(cluster, "maintenance/alarm", &json!({ "action": "GET" }))?;
    for alarm in raised["alarms"].as_array().into_iter().flatten() {
        let disarm = json!({ "action": "DEACTIVATE", "memberID": alarm["memberID"], "alarm": alarm["alarm"] });
        ask(cluster, "maintenance/alarm", &disarm)?;
    }
    Ok(())
}

/// Writes a key.
#[cfg(test)]
pub(super) fn put(cluster: &EtcdCluster, key: &str, value: &str) -> Result<()> {
    ask(cluster, "kv/put", &json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) })).map(drop)
}

/// Reads a key.
#[cfg(test)]
pub(super) fn get(cluster: &EtcdCluster, key: &str) -> Result<Option<String>> {
    let answer = ask(cluster, "kv/range", &json!({ "key": STANDARD.encode(key) }))?;
    let value = answer["kvs"][0]["value"].as_str();
    Ok(value.map(|value| String::from_utf8(STANDARD.decode(value).unwrap()).unwrap()))
}

/// Asks whichever member answers, as `root` where a password is needed.
fn ask(cluster: &EtcdCluster, path: &str, body: &Value) -> Result<Value> {
    let token = token(cluster)?;
    post(cluster, token.as_deref(), path, body)
}

fn token(cluster: &EtcdCluster) -> Result<Option<String>> {
    let Some(password) = &cluster.password else {
        return Ok(None);
    };
    let answer = post(cluster, None, "auth/authenticate", &json!({ "name": USER, "password": password }))?;
    match answer["token"].as_str() {
        Some(token) => Ok(Some(token.to_owned())),
        None => Err(cluster.unexpected("log in to", answer.to_string())),
    }
}

pub(super) fn post(cluster: &EtcdCluster, token: Option<&str>, path: &str, body: &Value) -> Result<Value> {
    let mut refusals = Vec::new();
    for member in &cluster.members {
        match post_to(member.administration(), token, path, body) {
            Ok(answer) => return Ok(answer),
            Err(refusal) => refusals.push(refusal),
        }
    }
    Err(cluster.unexpected(&format!("ask /v3/{path} of"), refusals.join("; ")))
}

fn post_to(member: SocketAddr, token: Option<&str>, path: &str, body: &Value) -> Result<Value, String> {
    let body = body.to_string();
    let length = body.len();
    let authorization = token.map(|token| format!("Authorization: {token}\r\n")).unwrap_or_default();
    let head = format!("POST /v3/{path} HTTP/1.0\r\nHost: {member}\r\nContent-Length: {length}\r\n{authorization}\r\n");
    let answer = http(member, &format!("{head}{body}"))?;
    serde_json::from_str(&answer).map_err(|error| format!("{error} in {answer:?}"))
}
