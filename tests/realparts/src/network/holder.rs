//! The process that keeps a network namespace alive, and with it every link in it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, IoContext as _, Result};
use crate::process::{Launch, Process};

const MADE_WITHIN: Duration = Duration::from_secs(10);

/// A namespace's process; killed on drop and when this process dies.
#[derive(Debug)]
pub(super) struct Holder {
    process: Process,
}

impl Holder {
    /// Makes a namespace.
    pub(super) fn start(folder: &Path, name: &str) -> Result<Self> {
        let launch = Launch::new(&format!("namespace-{name}"), Path::new("unshare"), folder);
        let holder = Self { process: Process::start(launch.args(["--net", "--", "sleep", "infinity"]))? };
        let own = fs::read_link("/proc/self/ns/net").doing(|| "look at the own network namespace".to_owned())?;
        holder.process.wait_until("has a namespace", MADE_WITHIN, || {
            let path = format!("/proc/{}/ns/net", holder.id()?);
            match fs::read_link(&path) {
                Ok(namespace) if namespace != own => Ok(()),
                Ok(_) => Err("still in the machine's".to_owned()),
                Err(error) => Err(format!("{path}: {error}")),
            }
        })?;
        Ok(holder)
    }

    /// Returns the process id, by which `ip` knows the namespace.
    pub(super) fn id(&self) -> Result<u32> {
        self.process.id().ok_or_else(|| Error::Unexpected {
            what: format!("enter {}", self.process.name()),
            detail: "the process that holds it has ended".to_owned(),
        })
    }

    /// Returns the argument that makes `nsenter` enter the namespace.
    pub(super) fn enter(&self) -> Result<OsString> {
        Ok(format!("--net=/proc/{}/ns/net", self.id()?).into())
    }
}
