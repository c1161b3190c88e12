//! What becomes of objects that people write: taken, changed, refused with a reason.

use anyhow::{Result, ensure};
use starling_tests::steps::wait;
use starling_tests::views::Cluster;

use super::bed::{WEB, cluster, on_a_fleet};

#[test]
fn objects_are_taken_as_they_are_written() -> Result<()> {
    on_a_fleet("source-inputs", 2, &[], |fleet| {
        for object in ["workspace/retail", "managedcluster/edge-0", "addonassignment/web"] {
            let namespaced = if object.starts_with("workspace") { vec![] } else { vec!["-n", "retail"] };
            let path = "jsonpath={.metadata.finalizers}";
            let finalizers = fleet.kubectl(&[&["get", object, "-o", path], namespaced.as_slice()].concat())?;
            ensure!(finalizers.contains("starling.dev/evidence"), "{object}: {finalizers}");
        }
        let label = "jsonpath={.metadata.labels['app\\.kubernetes\\.io/part-of']}";
        let made = fleet.kubectl(&["get", "namespace", "retail", "-o", label])?;
        ensure!(made == "starling", "{made}");
        let uid = fleet.web()?.uid;
        fleet.apply(&WEB.replace("1.0.0", "1.1.0"))?;
        wait("the upgrade", || {
            let web = fleet.web()?;
            ensure!((web.version.as_str(), web.ready, web.uid == uid) == ("1.1.0", 2, true), "{web:?}");
            Ok(())
        })?;
        // It may be written before its cluster exists.
        fleet.apply(&cluster("planned"))?;
        wait("a cluster that does not exist yet", || {
            let clusters: Vec<Cluster> = fleet.list()?;
            ensure!(clusters.iter().any(|cluster| cluster.name == "planned"), "{clusters:?}");
            Ok(())
        })
    })
}

#[test]
fn what_the_schema_cannot_refuse_is_a_problem_until_it_is_corrected() -> Result<()> {
    on_a_fleet("source-problems", 1, &[], |fleet| {
        fleet.apply(&WEB.replace("{addon: {name: web}", "{addon: {name: lost}"))?;
        fleet.wait_problem("web", "lost")?;
        fleet.apply(WEB)?;
        fleet.wait_ready(1)?;
        fleet.keeps_everything()
    })
}
