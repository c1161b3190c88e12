//! The fleet's resources come from Git: a real Flux on the management cluster applies, reverts and prunes them.

use anyhow::{Context, Result, ensure};
use starling_realparts::{Flux, FluxParts};
use starling_tests::steps::wait;
use starling_tests::views::{Adoption, Cluster, Problem};

use crate::support::{Addon, Bed, Documents, Source, WORKSPACE, assignment, catalogue, on_a_cluster};

const ADDON: Addon = Addon::Web;

/// The repository of the fleet, and the folder in it that Flux applies.
const REPOSITORY: &str = "fleet";

/// A cluster that is committed before it exists.
const LATER: &str = "later";

#[test]
fn git_drives_the_fleet_and_a_revert_reverts() -> Result<()> {
    on_a_cluster(Source::Kubernetes, "gitops", &[], |bed| {
        commit(bed, "Assign the first version", Some(ADDON.first()))?;
        let _flux = let_flux_apply(bed)?;
        bed.wait_ready(ADDON, ADDON.first())?;
        committed_clusters_wait(bed)?;

        commit(bed, "Assign the second version", Some(ADDON.second()))?;
        bed.wait_ready(ADDON, ADDON.second())?;
        let installed = bed.uids()?;
        commit(bed, "Revert", Some(ADDON.first()))?;
        bed.wait_ready(ADDON, ADDON.first())?;
        ensure!(bed.uids()? == installed, "a revert replaces no object");

        the_command_line_points_to_git(bed)?;

        // What Git no longer has, Flux deletes: that is evidence.
        commit(bed, "Remove the assignment", None)?;
        bed.wait_gone(ADDON)?;
        let problems: Vec<Problem> = bed.list(&[])?;
        ensure!(problems.is_empty(), "nothing is left to say: {problems:?}");
        Ok(())
    })
}

/// Looks at a cluster that Git knows before anybody made it, and asks for its token.
fn committed_clusters_wait(bed: &Bed) -> Result<()> {
    wait("the committed cluster to wait", || {
        let clusters: Vec<Cluster> = bed.list(&[])?;
        let later = clusters.iter().find(|cluster| cluster.name == LATER).context("it is not listed")?;
        ensure!(later.connection == "pending", "{later:?}");
        Ok(())
    })?;
    let adoption: Adoption = bed.hub.ask_json(&["adopt", "cluster", LATER, "--workspace", WORKSPACE])?;
    ensure!(!adoption.created && !adoption.token.is_empty(), "{adoption:?}");
    Ok(())
}

/// Sees the command line refuse to edit what Flux would put back.
fn the_command_line_points_to_git(bed: &Bed) -> Result<()> {
    let owner = format!("Kustomization flux-system/{REPOSITORY}");
    let delete = ["delete", "assignment", ADDON.name(), "-w", WORKSPACE, "--approve", "1"];
    bed.expect(&delete, 1, &[&owner, "path ./management", "let Flux apply it"])?;
    let documents = bed.folder().join("by-hand.yaml");
    std::fs::write(&documents, assignment(ADDON, ADDON.second())).context("write a document")?;
    bed.expect(&["apply", "-f", &documents.display().to_string()], 1, &[&owner])?;
    bed.wait_ready(ADDON, ADDON.first())
}

/// Commits the whole fleet: the catalogue, a cluster, and an assignment of a version.
fn commit(bed: &Bed, message: &str, version: Option<&str>) -> Result<()> {
    let later = format!(
        "apiVersion: starling.dev/v1alpha1\nkind: ManagedCluster\n\
         metadata:\n  name: {LATER}\n  namespace: {WORKSPACE}\n  labels: {{env: later}}\nspec: {{}}\n"
    );
    let web = version.map(|version| {
        assignment(ADDON, version).replace("clusterSelector: {}", "clusterSelector: {matchLabels: {env: test}}")
    });
    let list = if web.is_some() { "[catalogue.yaml, later.yaml, web.yaml]" } else { "[catalogue.yaml, later.yaml]" };
    let files = [
        ("management/catalogue.yaml", catalogue(bed.parts())),
        ("management/later.yaml", later),
        ("management/web.yaml", web.unwrap_or_default()),
        ("management/kustomization.yaml", format!("resources: {list}\n")),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    bed.parts().git.commit(REPOSITORY, message, &files)?;
    Ok(())
}

/// Starts Flux in the management cluster and points it at the repository.
fn let_flux_apply(bed: &Bed) -> Result<Flux> {
    let Documents::Kubernetes(resources) = &bed.documents else { anyhow::bail!("there is no management cluster") };
    let flux = Flux::start(
        &bed.parts().real,
        resources.management.admin(),
        &bed.folder().join("management-flux"),
        FluxParts::Controllers,
    )?;
    let url = bed.parts().git.url(REPOSITORY);
    resources.management.admin().apply(&format!(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\n\
         metadata: {{name: {REPOSITORY}, namespace: flux-system}}\n\
         spec: {{interval: 2s, url: {url:?}, ref: {{branch: main}}}}\n---\n\
         apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\n\
         metadata: {{name: {REPOSITORY}, namespace: flux-system}}\n\
         spec: {{interval: 1m, prune: true, path: ./management, sourceRef: {{kind: GitRepository, name: {REPOSITORY}}}}}\n"
    ))?;
    Ok(flux)
}
