//! The helm command line: packages charts, makes the index of a repository, pushes to a registry.

use std::path::{Path, PathBuf};

use crate::command::{clean_command, run};
use crate::error::{Error, IoContext, Result, create_folder};
use crate::programs::Programs;
use crate::recipes::Program;
use crate::sources::chart::ExampleChart;

/// Runs helm with a home of its own.
#[derive(Debug, Clone)]
pub struct Helm {
    program: PathBuf,
    home: PathBuf,
}

impl Helm {
    /// helm with its caches and settings in `home`.
    pub fn new(programs: &Programs, home: &Path) -> Result<Self> {
        Ok(Self { program: programs.path(Program::Helm)?, home: create_folder(home)? })
    }

    /// Runs helm and returns what it prints.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        run(clean_command(&self.program, &self.home).args(arguments), "")
    }

    /// Packages a chart into `<target>/<name>-<version>.tgz`.
    pub fn package(&self, chart: &ExampleChart, target: &Path) -> Result<PathBuf> {
        let scratch = tempfile::tempdir().at_path("create a folder beside", &self.home)?;
        let folder = chart.write_to(scratch.path())?;
        self.run(&["package", utf8(&folder)?, "--destination", utf8(target)?])?;
        Ok(target.join(format!("{}-{}.tgz", chart.name(), chart.version())))
    }
}

/// Command lines are text here; a folder whose name is not UTF-8 is told rather than mangled.
pub(crate) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::Unexpected {
        what: "pass a path to a command".to_owned(),
        detail: format!("{} is not UTF-8", path.display()),
    })
}
