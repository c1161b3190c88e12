//! An API server that keeps objects in memory: enough of its manners to test who asks it for what.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The token of the kubeconfig's user.
pub(crate) const USER_TOKEN: &str = "the-token-of-jane";

/// What a ServiceAccount's token request is answered with.
pub(crate) const ACCOUNT_TOKEN: &str = "the-token-of-an-account";

/// What the server knows.
#[derive(Default)]
pub(crate) struct Api {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// Methods that nobody may use.
    forbidden: BTreeSet<&'static str>,
    /// Paths that nobody may even read.
    hidden: BTreeSet<String>,
    /// Requests that would change something, as method, path, query and body.
    changes: Vec<String>,
    version: u64,
}

/// Starts a server on loopback.
pub(crate) fn start(runtime: &Runtime) -> (Arc<Api>, SocketAddr) {
    let api = Arc::new(Api::default());
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("listen on loopback");
    let address = listener.local_addr().expect("know the own address");
    let state = Arc::clone(&api);
    let app = axum::Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        let state = Arc::clone(&state);
        async move { state.answer(&method, &uri, &headers, &body) }
    });
    runtime.spawn(async move { axum::serve(listener, app).await });
    (api, address)
}

impl Api {
    /// Puts an object where a request would.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.state().store(path, object);
    }

    /// Returns the object of a path.
    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// Forbids everybody a method.
    pub(crate) fn forbid(&self, method: &'static str) {
        self.state().forbidden.insert(method);
    }

    /// Forbids everybody everything with one object.
    pub(crate) fn forbid_path(&self, path: &str) {
        self.state().hidden.insert(path.to_owned());
    }

    /// Returns what changed, a request a line.
    pub(crate) fn changed(&self) -> String {
        self.state().changes.join("\n")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no request panicked inside")
    }

    fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Response<Body> {
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
        let user = match bearer {
            Some(text) if text == format!("Bearer {USER_TOKEN}") => "jane",
            // A client certificate would be seen in the handshake, which plain HTTP has none of.
            None => "carol",
            Some(_) => return refuse(401, "Unauthorized", "Unauthorized"),
        };
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut state = self.state();
        if method != Method::GET {
            state.changes.push(format!("{user} {method} {uri} {body}"));
        }
        if state.forbidden.contains(method.as_str()) || state.hidden.contains(uri.path()) {
            return forbidden(user, method, uri.path());
        }
        match *method {
            Method::GET => state.get(uri.path()),
            Method::PATCH => state.apply(uri, &body),
            Method::DELETE => state.delete(uri, &body),
            Method::POST if uri.path().ends_with("/token") => reply(&json!({
                "metadata": {}, "spec": body["spec"],
                "status": {"token": ACCOUNT_TOKEN, "expirationTimestamp": "2030-01-01T00:00:00Z"},
            })),
            _ => refuse(405, "MethodNotAllowed", "no such method here"),
        }
    }
}

impl State {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{}", self.version).into();
        }
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn get(&mut self, path: &str) -> Response<Body> {
        let Some(object) = self.objects.get(path).cloned() else {
            return not_found(path);
        };
        // The hub lets go of what is being deleted: it was seen for the last time.
        if !object["metadata"]["deletionTimestamp"].is_null() {
            self.objects.remove(path);
        }
        reply(&object)
    }

    fn apply(&mut self, uri: &Uri, document: &Value) -> Response<Body> {
        let query = uri.query().unwrap_or_default();
        if !query.contains("fieldManager=starling") || !query.contains("fieldValidation=Strict") {
            return refuse(400, "BadRequest", "say who applies");
        }
        if document["spec"].get("broken").is_some() {
            return refuse(422, "Invalid", "Addon.starling.dev \"a\" is invalid: spec.versions: Required value");
        }
        let path = uri.path();
        if let Some((_, rest)) = path.split_once("/namespaces/") {
            let namespace = rest.split('/').next().unwrap_or_default();
            if !self.objects.contains_key(&format!("/api/v1/namespaces/{namespace}")) {
                return refuse(404, "NotFound", &format!("namespaces \"{namespace}\" not found"));
            }
        }
        let before = self.objects.get(path).cloned();
        let others = before.as_ref().is_some_and(|object| object["metadata"]["annotations"]["managed-by"] == "kubectl");
        if others && !query.contains("force=true") {
            let cause = json!({"reason": "FieldManagerConflict", "field": ".spec.title",
                "message": "conflict with \"kubectl-edit\" using starling.dev/v1alpha1"});
            let mut status = status(409, "Conflict", "Apply failed with 1 conflict");
            status["details"] = json!({"causes": [cause]});
            return respond(409, &status);
        }
        let mut merged = before.unwrap_or_else(|| json!({"metadata": {}}));
        for (key, value) in document.as_object().into_iter().flatten() {
            if key != "metadata" {
                merged[key] = value.clone();
            }
        }
        for (key, value) in document["metadata"].as_object().into_iter().flatten() {
            merged["metadata"][key] = value.clone();
        }
        if query.contains("dryRun=All") {
            return reply(&merged);
        }
        // A hub makes the namespace of a Workspace, a little later.
        if document["kind"] == "Workspace" {
            let name = document["metadata"]["name"].as_str().unwrap_or_default();
            self.store(&format!("/api/v1/namespaces/{name}"), json!({"metadata": {"name": name}}));
        }
        let stored = self.store(path, merged);
        reply(&stored)
    }

    fn delete(&mut self, uri: &Uri, options: &Value) -> Response<Body> {
        let Some(object) = self.objects.get_mut(uri.path()) else {
            return not_found(uri.path());
        };
        let wanted = &options["preconditions"]["uid"];
        if !wanted.is_null() && *wanted != object["metadata"]["uid"] {
            return refuse(409, "Conflict", "the UID in the precondition does not match");
        }
        if options["dryRun"].is_null() && !uri.query().unwrap_or_default().contains("dryRun") {
            object["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z".into();
        }
        reply(object)
    }
}

fn not_found(path: &str) -> Response<Body> {
    refuse(404, "NotFound", &format!("\"{path}\" not found"))
}

fn forbidden(user: &str, method: &Method, path: &str) -> Response<Body> {
    let parts: Vec<&str> = path.rsplit('/').collect();
    let place = match path.split_once("/namespaces/") {
        Some((_, rest)) => format!("in the namespace \"{}\"", rest.split('/').next().unwrap_or_default()),
        None => "at the cluster scope".to_owned(),
    };
    let verb = method.as_str().to_lowercase();
    let message = format!(
        "{plural}.starling.dev \"{name}\" is forbidden: User \"{user}\" cannot {verb} resource \"{plural}\" in API group \
         \"starling.dev\" {place}",
        plural = parts[1],
        name = parts[0],
    );
    refuse(403, "Forbidden", &message)
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": message})
}

fn refuse(code: u16, reason: &str, message: &str) -> Response<Body> {
    respond(code, &status(code, reason, message))
}

fn reply(object: &Value) -> Response<Body> {
    respond(200, object)
}

fn respond(code: u16, object: &Value) -> Response<Body> {
    let code = StatusCode::from_u16(code).expect("the code is one of HTTP");
    let body = Body::from(object.to_string());
    Response::builder().status(code).header("content-type", "application/json").body(body).expect("the answer is whole")
}
