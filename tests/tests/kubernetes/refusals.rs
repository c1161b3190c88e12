//! What an API server refuses, and with which words; a directory refuses the same.

use anyhow::{Context, Result, ensure};
use starling_hub_core::resources::Resource;
use starling_model::Value;

use crate::bed::bed;

/// A document's kind, scope and spec, and what the API server's words must hold.
type Bad = (&'static str, &'static str, &'static [&'static str]);

const NAME: &str = "'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'";

const BAD: &[Bad] = &[
    ("Addon", "{versions: []}", &["spec.versions", "should have at least 1 items"]),
    ("Addon", "{}", &["spec.versions", "Required value"]),
    (
        "Addon",
        "{versions: [{version: a, source: {}}]}",
        &["spec.versions[0].source", "exactly one of helmRepository, ociChart"],
    ),
    (
        "Addon",
        "{versions: [{version: a, source: {git: {url: 'https://x', path: ./y}, ociChart: {url: 'oci://x'}}}]}",
        &["spec.versions[0].source", "exactly one of"],
    ),
    (
        "Addon",
        "{versions: [{version: a, source: {git: {url: 'ftp://x', path: ./y}}}]}",
        &["spec.versions[0].source.git.url", "(https|http|ssh)://"],
    ),
    (
        "Addon",
        "{versions: [{version: a, source: {git: {url: 'https://x', path: ./y, tag: t, branch: b}}}]}",
        &["spec.versions[0].source.git", "at most one of branch, tag and commit"],
    ),
    (
        "Addon",
        "{versions: [{version: a, source: {git: {url: 'https://x', path: ./y, pth: z}}}]}",
        &["unknown field", "spec.versions[0].source.git.pth"],
    ),
    (
        "Addon",
        "{versions: [{version: a, source: {ociChart: {url: 'oci://x'}}}, {version: a, source: {ociChart: {url: 'oci://x'}}}]}",
        &["spec.versions[1]", "Duplicate value"],
    ),
    ("Addon", "{versions: [{version: 'a b', source: {ociChart: {url: 'oci://x'}}}]}", &["spec.versions[0].version"]),
    (
        "Addon",
        "{kubernetes: new, versions: [{version: a, source: {ociChart: {url: 'oci://x'}}}]}",
        &["spec.kubernetes", "should match"],
    ),
    (
        "Addon",
        "{versions: [{version: a, values: 3, source: {ociChart: {url: 'oci://x'}}}]}",
        &["values", "must be of type object"],
    ),
    ("ManagedCluster", "{id: 12}", &["spec.id", "must be of type string"]),
    ("ManagedCluster", "{id: edge}", &["spec.id", "should match"]),
    (
        "ManagedCluster",
        "{deletionPolicy: Keep}",
        &["spec.deletionPolicy", "Unsupported value", "\"Orphan\", \"Delete\""],
    ),
    ("ManagedCluster", "{owner: me}", &["unknown field", "spec.owner"]),
    ("Workspace", "{namespace: A}", &["spec.namespace", NAME]),
    ("AddonAssignment", "{addon: {name: x}, version: a}", &["spec.clusterSelector", "Required value"]),
    ("AddonAssignment", "{addon: {name: X}, version: a, clusterSelector: {}}", &["spec.addon.name", NAME]),
    ("AddonAssignment", "{addon: {name: x}, version: '', clusterSelector: {}}", &["spec.version"]),
    (
        "AddonAssignment",
        "{addon: {name: x}, version: a, clusterSelector: {}, interval: soon}",
        &["spec.interval", "(ms|s|m|h)"],
    ),
    (
        "AddonAssignment",
        "{addon: {name: x}, version: a, clusterSelector: {matchExpressions: [{key: a, operator: In}]}}",
        &["spec.clusterSelector.matchExpressions[0]", "In and NotIn need values"],
    ),
    (
        "AddonAssignment",
        "{addon: {name: x}, version: a, clusterSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
        &["spec.clusterSelector.matchExpressions[0]", "Exists and DoesNotExist take no values"],
    ),
    (
        "AddonAssignment",
        "{addon: {name: x}, version: a, clusterSelector: {matchExpressions: [{key: '-a', operator: Exists}]}}",
        &["spec.clusterSelector.matchExpressions[0].key"],
    ),
    (
        "AddonAssignment",
        "{addon: {name: x}, version: a, clusterSelector: {matchLabels: {env: 'a b'}}}",
        &["spec.clusterSelector.matchLabels.env"],
    ),
    (
        "AddonAssignment",
        "{addon: {name: x}, version: a, clusterSelector: {}, values: [1]}",
        &["spec.values", "must be of type object"],
    ),
    (
        "Tombstone",
        "{kind: Tombstone, name: x, uid: 5492b768-9114-4db9-9df5-a271647019c9}",
        &["spec.kind", "Unsupported value"],
    ),
    ("Tombstone", "{kind: Addon, name: x, uid: me}", &["spec.uid", "should match"]),
];

#[test]
fn what_is_wrong_is_refused_in_words() -> Result<()> {
    let bed = bed()?;
    let namespace = bed.namespace("refusals")?;
    for (kind, spec, texts) in BAD {
        let metadata = if *kind == "Workspace" {
            "{name: bad}".to_owned()
        } else {
            format!("{{name: bad, namespace: {namespace}}}")
        };
        let text = format!("apiVersion: starling.dev/v1alpha1\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n");
        let refused = bed.kubectl().run_with_input(&["apply", "--dry-run=server", "-f", "-"], &text);
        let words = refused.err().with_context(|| format!("it was taken:\n{text}"))?.to_string();
        let missing: Vec<_> = texts.iter().filter(|part| !words.contains(**part)).collect();
        ensure!(missing.is_empty(), "{text}\nlacks {missing:?}:\n{words}");
        let json = bed
            .kubectl()
            .run_with_input(&["create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-"], &text)?;
        let value = Value::from_json(json.as_bytes()).context("read kubectl's JSON")?;
        ensure!(Resource::from_value(&value).is_err(), "a directory would take it:\n{text}");
    }
    Ok(())
}

#[test]
fn a_name_that_is_no_label_is_refused() -> Result<()> {
    let bed = bed()?;
    for name in ["a.b", &"x".repeat(64)] {
        let text = format!("apiVersion: starling.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}}}\n");
        let refused = bed.kubectl().run_with_input(&["apply", "--dry-run=server", "-f", "-"], &text);
        let words = refused.err().with_context(|| format!("{name} was taken"))?.to_string();
        ensure!(words.contains("a name has at most 63 lower-case letters"), "{words}");
    }
    Ok(())
}
