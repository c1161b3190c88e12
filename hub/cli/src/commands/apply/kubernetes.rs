//! Applying in the API server, under the identity of whoever runs this.

use std::cmp::Reverse;

use serde_json::Value;

use super::{Applied, AppliedView};
use crate::documents::Document;
use crate::failure::{Failure, one_line};
use crate::kind::ResourceKind;
use crate::kubernetes::Kubernetes;
use crate::kubernetes::objects::{ApplyMode, ObjectName};

/// The group of the resources, with the slash before the version.
const GROUP: &str = "starling.dev/";

/// A resource of a file.
#[derive(Debug)]
struct Item {
    path: String,
    name: ObjectName,
    document: Value,
}

/// Applies resource by resource, those that others refer to first, and returns how many resources and unreadable files
/// there were.
pub(super) async fn apply(
    kubernetes: &Kubernetes,
    documents: &[Document],
    force_conflicts: bool,
    applied: &mut Applied<'_>,
) -> Result<usize, Failure> {
    let mut items = Vec::new();
    let mut unreadable = 0;
    for document in documents {
        match read(document) {
            Ok(read) => items.extend(read),
            Err(failure) => {
                unreadable += 1;
                applied.refuse(failure);
            }
        }
    }
    // Stable, so that the order of the files stays within a kind.
    items.sort_by_key(|item| Reverse(item.name.kind));
    let mode = ApplyMode { dry_run: applied.dry_run, force_conflicts };
    for Item { path, name, document } in &items {
        match kubernetes.apply(name, document, mode).await {
            Err(failure) if failure.to_string().contains(&name.name) => applied.refuse(failure.about(path)),
            // Not every refusal names what it is about.
            Err(failure) => applied.refuse(failure.about(&format!("{path}: {}", name.text()))),
            Ok(outcome) => applied.resource(&AppliedView {
                kind: name.kind.as_str().to_owned(),
                namespace: name.namespace.clone(),
                name: name.name.clone(),
                outcome: outcome.as_str().to_owned(),
            })?,
        }
    }
    Ok(items.len() + unreadable)
}

fn read(document: &Document) -> Result<Vec<Item>, Failure> {
    let path = document.path.display().to_string();
    let values: Vec<Value> = serde_saphyr::from_multiple(&document.text).map_err(|error| {
        let location = error.location().map(|at| format!(":{}:{}", at.line(), at.column())).unwrap_or_default();
        let message = error.to_string();
        Failure::usage(format!("{path}{location}: {}", one_line(message.lines().next().unwrap_or_default())))
    })?;
    let items = values.into_iter().filter(|value| !value.is_null()).map(|document| {
        let name = name_of(&document).map_err(|failure| failure.about(&path))?;
        Ok(Item { path: path.clone(), name, document })
    });
    items.collect()
}

fn name_of(document: &Value) -> Result<ObjectName, Failure> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (word(&document["apiVersion"]), word(&document["kind"]));
    let known = ResourceKind::parse(&kind).filter(|known| known.as_str() == kind && version.starts_with(GROUP));
    let Some(kind) = known else {
        return Err(Failure::usage(format!("{kind:?} of {version:?} is no resource of Starling"))
            .next("`kubectl apply` takes everything else"));
    };
    let meta = &document["metadata"];
    let (namespace, name) = (word(&meta["namespace"]), word(&meta["name"]));
    if name.is_empty() {
        return Err(Failure::usage(format!("a {} has no metadata.name", kind.as_str())));
    }
    match (kind.is_namespaced(), namespace.is_empty()) {
        (true, true) => Err(Failure::usage(format!("{} {name} has no metadata.namespace", kind.as_str()))
            .next("name its workspace there: nothing is put into a namespace by default")),
        (false, false) => Err(Failure::usage(format!("{} {name} lives in no namespace", kind.as_str()))),
        _ => Ok(ObjectName { kind, namespace, name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>, String> {
        let items =
            read(&Document { path: "x.yaml".into(), text: text.into() }).map_err(|failure| failure.to_string())?;
        Ok(items.iter().map(|item| item.name.text()).collect())
    }

    #[test]
    fn documents_name_themselves() {
        let head = "apiVersion: starling.dev/v1alpha1\nkind";
        let text = format!(
            "---\n{head}: Workspace\nmetadata: {{name: w}}\n---\n{head}: Addon\nmetadata: {{name: a, namespace: p}}\n"
        );
        assert_eq!(names(&text).unwrap(), ["workspace w", "addon p/a"]);
        for (text, words) in [
            (format!("{head}: Addon\nmetadata: {{name: a}}\n"), "x.yaml: Addon a has no metadata.namespace"),
            (format!("{head}: Workspace\nmetadata: {{name: a, namespace: p}}\n"), "lives in no namespace"),
            (format!("{head}: Addon\nmetadata: {{namespace: p}}\n"), "no metadata.name"),
            ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n".to_owned(), "no resource of Starling"),
            ("a: [".to_owned(), "x.yaml:"),
        ] {
            assert!(names(&text).unwrap_err().contains(words), "{text}");
        }
    }
}
