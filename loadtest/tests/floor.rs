//! The floor's server and clients speak to each other.

use std::process::Command;

#[test]
fn the_floor_is_measured() {
    let program = env!("CARGO_BIN_EXE_starling-loadtest");
    let output = Command::new(program).args(["floor", "--connections", "3"]).output().expect("run the program");
    let text = String::from_utf8(output.stdout).expect("the figures are text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: serde_json::Value = serde_json::from_str(&text).expect("the figures are JSON");
    for figure in ["live-seconds", "bytes-per-cluster", "all-acknowledged-ms.p50", "changes-per-second"] {
        assert!(figures[figure].as_f64().is_some_and(|value| value > 0.0), "{figure}: {text}");
    }
    let samples = ["echo.samples", "one-received.samples", "all-received.samples"].map(|name| figures[name].as_f64());
    assert_eq!(samples, [Some(1000.0), Some(100.0), Some(9.0)], "three changes to three clusters, {text}");
}
