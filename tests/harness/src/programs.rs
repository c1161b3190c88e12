//! Where Starling's programs are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The folder that holds `starling-hub`, `starling-agent`, `starling` and `starling-loadtest`.
#[derive(Clone, Debug)]
pub struct StarlingPrograms {
    folder: PathBuf,
}

impl StarlingPrograms {
    /// Takes the programs of a folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Takes the programs that cargo built beside the running test.
    ///
    /// # Errors
    /// One of them was not built, with the command that builds it.
    pub fn of_this_build() -> Result<Self> {
        let test = std::env::current_exe().context("find the running test")?;
        // target/<profile>/deps/<test>
        let folder = test.ancestors().nth(2).context("the test is in target/<profile>/deps")?;
        for program in ["starling-hub", "starling-agent", "starling", "starling-loadtest"] {
            if !folder.join(program).is_file() {
                bail!("{program} is not built: run `cargo build --workspace --bins` first, or `cargo xtask test`");
            }
        }
        Ok(Self::in_folder(folder))
    }

    /// Returns the path of a program.
    #[must_use]
    pub fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}
