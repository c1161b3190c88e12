//! kubectl against one API server, and the kubeconfig files that it and others use.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::command::{clean_command, run};
use crate::error::{Error, IoContext, Result};

/// Runs kubectl with one kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// kubectl with a kubeconfig; its discovery cache goes beside that file.
    pub fn new(program: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { program, kubeconfig }
    }

    /// The kubeconfig it uses.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs kubectl and returns what it prints.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_with_input(arguments, "")
    }

    /// Runs kubectl with text on its standard input (`-f -`).
    pub fn run_with_input(&self, arguments: &[&str], stdin: &str) -> Result<String> {
        let home = self.kubeconfig.parent().unwrap_or(Path::new("."));
        let mut command = clean_command(&self.program, home);
        command.env("KUBECONFIG", &self.kubeconfig).env("KUBECACHEDIR", self.kubeconfig.with_extension("cache"));
        run(command.args(arguments), stdin)
    }

    /// Applies YAML or JSON documents by server-side apply, as the field manager `kubectl`, taking over conflicting fields.
    pub fn apply(&self, documents: &str) -> Result<()> {
        self.run_with_input(&["apply", "--server-side", "--force-conflicts", "-f", "-"], documents).map(|_| ())
    }

    /// One object or a list, as JSON; the arguments are those of `kubectl get`.
    pub fn get_json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(&[&["get", "-o", "json"], arguments].concat())?;
        serde_json::from_str(&text)
            .map_err(|error| Error::Unexpected { what: "read kubectl's JSON".to_owned(), detail: error.to_string() })
    }

    /// Waits until an object's condition `Ready` is true for its current generation; the error shows the conditions.
    pub fn wait_ready(&self, kind: &str, namespace: &str, name: &str, timeout: Duration) -> Result<()> {
        let object = format!("{kind}/{name}");
        let seconds = format!("--timeout={}ms", timeout.as_millis());
        let waited = self.run(&["wait", "--for=condition=Ready", &seconds, "-n", namespace, &object]);
        let Err(error) = waited else {
            return Ok(());
        };
        let conditions = self.get_json(&["-n", namespace, &object]).map_or_else(
            |unreadable| unreadable.to_string(),
            |found| serde_json::to_string_pretty(&found["status"]["conditions"]).unwrap_or_default(),
        );
        Err(Error::Unexpected {
            what: format!("wait for {object} in {namespace} to be ready"),
            detail: format!("{error}\nconditions: {conditions}"),
        })
    }

    /// A token for a service account, valid for an hour.
    pub fn create_token(&self, namespace: &str, service_account: &str) -> Result<String> {
        let token = self.run(&["create", "token", service_account, "-n", namespace, "--duration=1h"])?;
        Ok(token.trim().to_owned())
    }
}

/// Writes a kubeconfig with the CA inside and a bearer token, readable by its owner only.
pub(crate) fn write_kubeconfig(path: &Path, server: &str, ca_pem: &[u8], token: &str) -> Result<()> {
    // JSON is YAML, and needs no quoting rules.
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "cluster",
            "cluster": { "server": server, "certificate-authority-data": BASE64_STANDARD.encode(ca_pem) },
        }],
        "users": [{ "name": "user", "user": { "token": token } }],
        "contexts": [{ "name": "context", "context": { "cluster": "cluster", "user": "user" } }],
        "current-context": "context",
    });
    write_private(path, format!("{config:#}\n").as_bytes())
}

/// Writes a file with mode 0600.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    fs::File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .at_path("write", path)
}
