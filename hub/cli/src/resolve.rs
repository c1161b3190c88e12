//! From what people type to the one thing that they mean: the workspace of a name, the healths of a list.

use std::collections::BTreeSet;

use starling_model::Health;

use crate::arguments::look::Selection;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::kind::flux_kind;
use crate::reference::Reference;
use crate::views::assignment::AssignmentView;
use crate::views::{Query, View, list_all};

/// Finds the one item of a name, in the workspace that was given or in any.
///
/// # Errors
/// [`crate::failure::Exit::NotFound`] when there is none; [`crate::failure::Exit::Usage`] when the name is in several workspaces.
pub(crate) async fn find_one<T: View>(
    hub: &Hub,
    text: &str,
    workspace: Option<&str>,
    noun: &str,
) -> Result<T, Failure> {
    let reference = Reference::parse(text, workspace)?;
    let query = Query {
        workspace: reference.namespace.clone().unwrap_or_default(),
        names: BTreeSet::from([reference.name.clone()]),
        ..Query::default()
    };
    let mut found: Vec<T> = list_all(hub, &query).await?;
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let place = reference.namespace.map(|workspace| format!(" in workspace {workspace}")).unwrap_or_default();
            Err(hub.not_found(&format!("{noun} {:?}{place}", reference.name), &format!("{noun}s")))
        }
        _ => {
            let names: Vec<String> = found.iter().map(View::reference).collect();
            Err(Failure::usage(format!("the name {:?} is in several workspaces: {}", reference.name, names.join(", ")))
                .next("say which with `-w WORKSPACE`"))
        }
    }
}

/// Understands a selection of clusters and of objects on them.
///
/// # Errors
/// Of usage, or when a named assignment is not there.
pub(crate) async fn query(hub: &Hub, selection: &Selection) -> Result<Query, Failure> {
    let (workspace, clusters) = cluster_names(&selection.clusters, selection.workspace.as_deref())?;
    let assignment = match &selection.assignment {
        None => String::new(),
        Some(text) if text.contains('/') => {
            let reference = Reference::parse(text, None)?;
            format!("{}/{}", reference.namespace.unwrap_or_default(), reference.name)
        }
        // An assignment of the platform reaches the clusters of every workspace: `-w` does not say where it lives.
        Some(text) => {
            let found: AssignmentView = find_one(hub, text, None, "assignment").await?;
            format!("{}/{}", found.namespace, found.name)
        }
    };
    Ok(Query {
        workspace: workspace.unwrap_or_default(),
        clusters,
        labels: selection.labels.clone().unwrap_or_default(),
        kind: selection.kind.as_deref().map(flux_kind).unwrap_or_default(),
        namespace: selection.namespace.clone().unwrap_or_default(),
        assignment,
        health: healths(&selection.health)?,
        trouble: selection.health.iter().any(|text| means_trouble(text)),
        ..Query::default()
    })
}

/// Reads names of clusters, all of one workspace.
///
/// # Errors
/// Of usage, when they are of several.
pub(crate) fn cluster_names(
    texts: &[String],
    workspace: Option<&str>,
) -> Result<(Option<String>, Vec<String>), Failure> {
    let mut common = workspace.map(str::to_owned);
    let mut names = Vec::new();
    let mut bare = false;
    for text in texts {
        let reference = Reference::parse(text, common.as_deref())?;
        bare |= !text.contains('/');
        if common.is_none() && reference.namespace.is_some() {
            if bare {
                return Err(mixed());
            }
            common = reference.namespace;
        }
        names.push(reference.name);
    }
    if workspace.is_none() && common.is_some() && bare {
        return Err(mixed());
    }
    Ok((common, names))
}

fn mixed() -> Failure {
    Failure::usage("some names have a workspace and some have none").next("give the workspace once, with `-w`")
}

fn means_trouble(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("trouble")
}

/// Reads healths as people type them: `failing` covers failing and retrying, `trouble` everything that somebody should
/// look at.
///
/// # Errors
/// Of usage, naming the healths that there are.
pub(crate) fn healths(texts: &[String]) -> Result<BTreeSet<Health>, Failure> {
    let mut healths = BTreeSet::new();
    for text in texts.iter().map(|text| text.trim().to_lowercase()) {
        match (text.as_str(), Health::parse(&text)) {
            ("trouble", _) => healths.extend(Health::ALL.into_iter().filter(|health| health.is_trouble())),
            ("failing", _) => healths.extend([Health::Failing, Health::FailingRetrying]),
            (_, Some(health)) => {
                healths.insert(health);
            }
            (_, None) => {
                let names: Vec<&str> = Health::ALL.iter().map(|health| health.as_str()).collect();
                return Err(Failure::usage(format!("{text:?} is not a health"))
                    .next(format!("there are: {}, and trouble", names.join(", "))));
            }
        }
    }
    Ok(healths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn healths_are_read() {
        let read = |names: &[&str]| healths(&texts(names)).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(read(&["ready", "Stalled"]), [Health::Stalled, Health::Ready]);
        assert_eq!(read(&["failing"]), [Health::Failing, Health::FailingRetrying]);
        assert_eq!(read(&["trouble"]), [Health::Stalled, Health::Failing, Health::FailingRetrying]);
        assert_eq!(read(&["failing-retrying"]), [Health::FailingRetrying]);
        assert_eq!(healths(&texts(&["sick"])).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn clusters_are_of_one_workspace() {
        let read = |names: &[&str], workspace| cluster_names(&texts(names), workspace);
        let all = |workspace: Option<&str>, names: &[&str]| (workspace.map(str::to_owned), texts(names));
        assert_eq!(read(&["a", "b"], Some("w")).unwrap(), all(Some("w"), &["a", "b"]));
        assert_eq!(read(&["w/a", "w/b"], None).unwrap(), all(Some("w"), &["a", "b"]));
        assert_eq!(read(&["a"], None).unwrap(), all(None, &["a"]));
        assert_eq!(read(&[], None).unwrap(), all(None, &[]));
        for (names, workspace) in
            [(["w/a", "b"], None), (["b", "w/a"], None), (["w/a", "v/b"], None), (["w/a", "v/b"], Some("w"))]
        {
            assert!(read(&names, workspace).is_err(), "{names:?}");
        }
    }
}
