use rstest::rstest;

use super::*;
use crate::testing::{addon, assignment, cluster, workspace, yaml};

const HEAD: &str = "apiVersion: starling.dev/v1alpha1\n";

fn value(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn every_kind_is_read_and_written_back() {
    let tombstone = format!(
        "{HEAD}kind: Tombstone\nmetadata: {{name: gone, namespace: dev}}\nspec:\n  kind: AddonAssignment\n  name: podinfo\n  \
         uid: 5492b768-9114-4db9-9df5-a271647019c9"
    );
    let selector = "  version: 1.0.0\n  clusterSelector: {matchExpressions: [{key: env, operator: In, values: [a]}]}";
    for text in [workspace("dev"), cluster("edge", "env: a"), addon("podinfo"), assignment("web", selector), tombstone]
    {
        let resource = yaml(&text);
        assert_eq!(resource.check(), Ok(()), "{text}");
        let again = Resource::from_value(&resource.to_value()).expect("what was written is read");
        assert_eq!((again.digest(), &again), (resource.digest(), &resource));
    }
}

#[test]
fn layout_does_not_change_the_digest_and_meaning_does() {
    let one = yaml(&cluster("edge", "env: a, tier: b"));
    let same = yaml(
        "spec: {}\nmetadata: {labels: {tier: b, env: a}, namespace: dev, name: edge}\nkind: ManagedCluster\napiVersion: starling.dev/v1alpha1",
    );
    assert_eq!(one.digest(), same.digest());
    assert_ne!(one.digest(), yaml(&cluster("edge", "env: a")).digest());
}

#[test]
fn what_is_wrong_in_yaml_has_a_line_and_a_column() {
    let text =
        format!("{HEAD}kind: Addon\nmetadata:\n  name: a\n  namespace: dev\nspec:\n  versions: []\n  colour: red\n");
    let error = serde_saphyr::from_str::<Resource>(&text).expect_err("an unknown field");
    let location = error.location().expect("a location");
    assert_eq!((location.line(), location.column()), (8, 3), "{error}");
    assert!(error.to_string().contains("colour"), "{error}");
}

#[rstest]
#[case(
    "kind: Addon\nmetadata: {name: a, namespace: dev}\nspec: {versions: [{version: 1, source: {git: {url: 'https://x', pth: y}}}]}",
    "spec.versions[0]"
)]
#[case(
    "kind: Addon\nmetadata: {name: a, namespace: dev}\nspec: {versions: [{version: a, source: {git: {url: 'https://x', pth: y}}}]}",
    "spec.versions[0].source.git"
)]
#[case("kind: Addon\nmetadata: {name: a, namespace: dev}\nspec: {versions: []}", "spec.versions")]
#[case(
    "kind: Addon\nmetadata: {name: a, namespace: dev}\nspec: {versions: [{version: a, source: {}}]}",
    "spec.versions[0].source"
)]
#[case(
    "kind: Addon\nmetadata: {name: a, namespace: dev}\nspec: {versions: [{version: a, source: {git: {url: 'ftp://x', path: ./y}}}]}",
    "spec.versions[0].source.git.url"
)]
#[case(
    "kind: Addon\nmetadata: {name: a, namespace: dev}\nspec: {versions: [{version: a, source: {git: {url: 'https://x', path: ./y, tag: t, branch: b}}}]}",
    "spec.versions[0].source.git"
)]
#[case(
    "kind: Addon\nmetadata: {name: a, namespace: dev}\nspec: {kubernetes: new, versions: [{version: a, source: {git: {url: 'https://x', path: ./y}}}]}",
    "spec.kubernetes"
)]
#[case("kind: ManagedCluster\nmetadata: {name: A, namespace: dev}\nspec: {}", "metadata.name")]
#[case("kind: ManagedCluster\nmetadata: {name: a}\nspec: {}", "metadata.namespace")]
#[case("kind: ManagedCluster\nmetadata: {name: a, namespace: starling-platform}\nspec: {}", "metadata.namespace")]
#[case("kind: ManagedCluster\nmetadata: {name: a, namespace: dev, labels: {'-x': y}}\nspec: {}", "metadata.labels.-x")]
#[case("kind: ManagedCluster\nmetadata: {name: a, namespace: dev}\nspec: {variables: {a: [1]}}", "spec.variables.a")]
#[case("kind: ManagedCluster\nmetadata: {name: a, namespace: dev}\nspec: {id: 12}", "spec.id")]
#[case("kind: ManagedCluster\nmetadata: {name: a, namespace: dev, owner: me}\nspec: {}", "metadata.owner")]
#[case("kind: Workspace\nmetadata: {name: a, namespace: dev}\nspec: {}", "metadata.namespace")]
#[case(
    "kind: AddonAssignment\nmetadata: {name: a, namespace: dev}\nspec: {addon: {name: x}, version: a, clusterSelector: {}, interval: soon}",
    "spec.interval"
)]
#[case(
    "kind: AddonAssignment\nmetadata: {name: a, namespace: dev}\nspec: {addon: {name: x}, version: a, clusterSelector: {matchExpressions: [{key: a, operator: In}]}}",
    "spec.clusterSelector.matchExpressions[0].values"
)]
#[case("kind: AddonAssignment\nmetadata: {name: a, namespace: dev}\nspec: {addon: {name: x}, version: a}", "spec")]
#[case(
    "kind: AddonAssignment\nmetadata: {name: a, namespace: dev}\nspec: {addon: {name: x}, version: a, clusterSelector: {}, values: [1]}",
    "spec.values"
)]
fn what_is_wrong_has_a_path(#[case] text: &str, #[case] path: &str) {
    let error = Resource::from_value(&value(&format!("{HEAD}{text}"))).expect_err("a bad document");
    assert!(error.path == path || error.path.starts_with(&format!("{path}.")), "{error}");
}

#[test]
fn other_kinds_and_versions_are_refused_by_name() {
    let read = |text: &str| serde_saphyr::from_str::<Resource>(text).expect_err("not ours").to_string();
    assert!(read(&format!("{HEAD}kind: Deployment\nmetadata: {{name: a}}\nspec: {{}}")).contains("Deployment"));
    assert!(read("apiVersion: v1\nkind: Addon\nmetadata: {name: a}\nspec: {}").contains("starling.dev/v1alpha1"));
    assert!(read(&format!("{HEAD}metadata: {{name: a}}\nspec: {{}}")).contains("kind"));
}

#[test]
fn kinds_are_parsed_as_people_type_them() {
    for (text, kind) in [
        ("clusters", Kind::ManagedCluster),
        ("ManagedCluster", Kind::ManagedCluster),
        ("assignment", Kind::AddonAssignment),
        ("addonassignments", Kind::AddonAssignment),
        ("addons", Kind::Addon),
        ("Workspace", Kind::Workspace),
    ] {
        assert_eq!(Kind::parse(text), Some(kind));
    }
    assert_eq!(Kind::parse("pod"), None);
}
