//! Generates the committed CustomResourceDefinitions.

use anyhow::Result;

use crate::build;

/// Rewrites `charts/starling-hub/files/crds` from the types in `hub/core/src/resources`.
pub(crate) fn run() -> Result<()> {
    build::run(
        "generate the custom resource definitions",
        build::cargo().args(["test", "--package", "starling-hub-core", "--test", "crds"]).env("BLESS", "1"),
    )
}
