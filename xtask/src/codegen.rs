//! Generates the committed code of the protos.

use anyhow::Result;

use crate::build;

/// Rewrites `proto/src/gen` from the protos.
pub(crate) fn run() -> Result<()> {
    build::run(
        "generate the protos' code",
        build::cargo().args(["test", "--package", "starling-proto"]).env("BLESS", "1"),
    )
}
