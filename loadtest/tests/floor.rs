//! The floor's server and clients speak to each other.

use std::process::Command;

#[test]
fn the_floor_is_measured() {
    let program = env!("CARGO_BIN_EXE_starling-loadtest");
    let output = Command::new(program).args(["floor", "--connections", "3"]).output().expect("run the program");
    let text = String::from_utf8(output.stdout).expect("the figures are text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: serde_json::Value = serde_json::from_str(&text).expect("the figures are JSON");
    assert!(figures["connect_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{text}");
    assert_eq!(figures["echo"]["samples"], 1000);
}
