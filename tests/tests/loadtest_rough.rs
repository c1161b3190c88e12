//! A load test of a fleet that misbehaves, small: every figure is there, and the hub is right about everybody in the end.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use starling_harness::StarlingPrograms;

#[test]
fn a_fleet_that_misbehaves_is_measured_and_nothing_of_it_is_lost() {
    let folder = tempfile::tempdir().expect("make a folder");
    let program = StarlingPrograms::of_this_build().expect("the programs are built").path("starling-loadtest");
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the checkout");
    let scenario = checkout.join("loadtest/scenarios/rough-smoke.toml");
    let output = Command::new(program)
        .arg("run")
        .arg(scenario)
        .args(["--out", "rough", "-o", "json"])
        .current_dir(folder.path())
        .output()
        .expect("start the load test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!((&told["passed"], &told["defects"]), (&Value::Bool(true), &Value::Array(Vec::new())));
    let figures = told["figures"].as_object().expect("figures");
    let figure = |name: &str| {
        let value = figures.get(name).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("{name} was not measured: {said}"))
    };
    for name in [
        "start.addons",
        "steady.bytes-sent",
        "steady.bytes-received",
        "steady.bytes-sent-per-cluster-second",
        "flap.cuts",
        "flap.sessions-opened",
        "flap.live-seconds",
        "join.live-seconds",
        "join.ready-seconds",
        "leave.gone-seconds",
        "hostile.strangers-refused",
        "hostile.junk-ended",
        "hostile.lying-begun",
        "hostile.deaf-begun",
        "hostile.flooding-batches",
        "hostile.endless-batches",
        "hostile.hub-refused",
        "hostile.hub-sessions-ended",
        "hostile.visible.samples",
    ] {
        assert!(figure(name) > 0.0, "{name}: {said}");
    }
    assert_eq!(figure("hostile.strangers-let-in"), 0.0);
    assert_eq!(figure("hostile.others-live-min"), 41.0, "40 clusters, 6 that joined, 5 that left");
    assert_eq!((figure("end.clusters-wrong"), figure("end.removals")), (0.0, 0.0));
}
