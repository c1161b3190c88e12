//! What an API server's answer means to whoever asked, as an exit code and two lines.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use kube::client::AuthError;
use kube::core::Status;
use tokio::time::timeout;

use super::Origin;
use super::denial::Denial;
use crate::failure::{Exit, Failure, one_line};

/// The cause of a field that another manager owns.
const FIELD_CONFLICT: &str = "FieldManagerConflict";

/// What stands before an admission policy's own words.
const POLICY: &str = "denied request: ";

/// Waits for an answer, for no longer than the deadline.
pub(super) async fn within<T>(
    deadline: Duration,
    asked: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Failure> {
    match timeout(deadline, asked).await {
        Ok(answer) => answer.map_err(|error| of_error(&error)),
        Err(_) => Err(Failure::new(Exit::Unreachable, format!("the API server did not answer within {deadline:?}"))
            .passing()
            .next("try again; `--timeout` waits longer")),
    }
}

/// Returns what an error means that came up before anything was asked.
pub(super) fn of_kube(error: &kube::Error, origin: &Origin) -> Failure {
    of_error(error).about(&origin.to_string())
}

/// Returns what it means that a kubeconfig gives no credentials.
pub(super) fn no_credentials(error: &(dyn Error + 'static)) -> Failure {
    let why = match error.downcast_ref() {
        // What the plugin itself said is worth more than how it was called.
        Some(AuthError::AuthExecRun { out, .. }) => {
            let said = String::from_utf8_lossy(&out.stderr);
            let said = if said.trim().is_empty() { "it says nothing" } else { said.trim() };
            format!("its plugin failed ({}): {said}", out.status)
        }
        Some(AuthError::AuthExecStart(cause)) => format!("its plugin cannot be run: {cause}"),
        _ => chain(error),
    };
    Failure::new(Exit::Unreachable, format!("the kubeconfig gives no credentials: {}", one_line(&why)))
        .next("log in again as its plugin asks; `kubectl auth whoami` uses the same credentials")
}

/// Returns why nobody answered, without the layers in between.
fn unreached(error: &kube::Error) -> String {
    let why = error.source().map_or_else(|| error.to_string(), chain);
    one_line(why.strip_prefix("client error (Connect): ").unwrap_or(&why))
}

/// Returns an error with its causes.
pub(super) fn chain(error: &(dyn Error + '_)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Many errors repeat their cause in their own words.
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

fn of_error(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => of_status(status),
        kube::Error::Auth(error) => no_credentials(error),
        kube::Error::Service(_) | kube::Error::HyperError(_) => {
            Failure::new(Exit::Unreachable, format!("cannot reach the API server: {}", unreached(error)))
                .passing()
                .next("`kubectl cluster-info` asks the same server; choose another with --kube-context")
        }
        other => Failure::new(
            Exit::Failed,
            format!("the API server's answer is not understood: {}", one_line(&chain(other))),
        ),
    }
}

/// Returns what a refusal means.
fn of_status(status: &Status) -> Failure {
    let message = one_line(&status.message);
    match (status.code, status.reason.as_str()) {
        (401, _) => Failure::new(Exit::Unreachable, "the API server does not accept the kubeconfig's credentials")
            .next("log in again; `kubectl auth whoami` uses the same credentials"),
        (403, _) => match Denial::parse(&status.message) {
            Some(denial) => Failure::new(Exit::Failed, denial.what()).next(denial.next()),
            None => Failure::new(Exit::Failed, policy_words(&message)),
        },
        (422, _) if message.contains(POLICY) => Failure::new(Exit::Failed, policy_words(&message)),
        (404, _) if message.contains("could not find the requested resource") => {
            Failure::new(Exit::NotFound, "the API server does not know Starling's resources")
                .next("the hub's chart installs them: `kubectl api-resources --categories starling`")
        }
        (404, _) => Failure::new(Exit::NotFound, message),
        (409, _) if conflicts(status).next().is_some() => {
            let fields: Vec<String> = conflicts(status).collect();
            Failure::new(Exit::Failed, format!("others manage what this would change: {}", fields.join("; ")))
                .next("change it where they do, or take it over with --force-conflicts")
        }
        (409, _) => Failure::new(Exit::Failed, message).next("it changed meanwhile: try again"),
        (400 | 413 | 415 | 422, _) => Failure::usage(message),
        (429 | 500..=599, _) => {
            Failure::new(Exit::Unreachable, format!("the API server cannot answer: {message}")).passing()
        }
        _ => Failure::new(Exit::Failed, message),
    }
}

/// Returns an admission policy's own words where there are any; its name helps nobody.
fn policy_words(message: &str) -> &str {
    message.split_once(POLICY).map_or(message, |(_, words)| words)
}

/// Returns the fields that others manage, each with its manager.
fn conflicts(status: &Status) -> impl Iterator<Item = String> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.filter(|cause| cause.reason == FIELD_CONFLICT).map(|cause| {
        // As in: conflict with "kubectl-client-side-apply" using starling.dev/v1alpha1
        let manager = cause.message.split('"').nth(1).unwrap_or(&cause.message);
        format!("{} (by {manager})", cause.field)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failure(status: serde_json::Value) -> Failure {
        of_status(&serde_json::from_value(status).unwrap())
    }

    #[test]
    fn conflicts_name_the_other_manager() {
        let causes = json!([{"reason": "FieldManagerConflict", "field": ".spec.version",
            "message": "conflict with \"kubectl\" using starling.dev/v1alpha1"}]);
        let conflict = failure(json!({"code": 409, "reason": "Conflict", "message": "Apply failed with 1 conflict",
            "details": {"causes": causes}}));
        assert_eq!(conflict.exit(), Exit::Failed);
        assert_eq!(conflict.to_string(), "others manage what this would change: .spec.version (by kubectl)");
    }

    #[test]
    fn a_policy_speaks_for_itself() {
        let message = "managedclusters.starling.dev \"edge-1\" is forbidden: ValidatingAdmissionPolicy 'starling-labels' with \
                       binding 'starling-labels' denied request: jane may not change labels";
        for code in [403, 422] {
            let denied = failure(json!({"code": code, "reason": "Invalid", "message": message}));
            assert_eq!((denied.exit(), denied.to_string().as_str()), (Exit::Failed, "jane may not change labels"));
        }
    }

    #[test]
    fn a_plugin_speaks_for_itself() {
        let output =
            std::process::Command::new("/bin/sh").args(["-c", "echo your session has ended >&2; exit 7"]).output();
        let error = AuthError::AuthExecRun { cmd: "KUBERNETES_EXEC_INFO=...".into(), out: Box::new(output.unwrap()) };
        let failure = of_error(&kube::Error::Auth(error));
        assert_eq!(failure.exit(), Exit::Unreachable);
        let words = "its plugin failed (exit status: 7): your session has ended";
        assert!(failure.to_string().ends_with(words), "{failure}");
    }

    #[test]
    fn each_refusal_has_its_exit_code() {
        for (code, exit) in [
            (400, Exit::Usage),
            (401, Exit::Unreachable),
            (403, Exit::Failed),
            (404, Exit::NotFound),
            (409, Exit::Failed),
            (422, Exit::Usage),
            (503, Exit::Unreachable),
        ] {
            assert_eq!(failure(json!({"code": code, "message": "first\nsecond"})).exit(), exit, "{code}");
        }
    }
}
