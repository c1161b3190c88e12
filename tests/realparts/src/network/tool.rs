//! Runs `ip` of iproute2, on the machine or inside a namespace.

use std::path::Path;

use super::holder::Holder;
use crate::command::{clean_command, run};
use crate::error::{Error, Result};
use crate::programs::require_tool;

const IP_INSTALL: &str = "networks are made with iproute2 (Debian: `apt-get install iproute2`)";
const UTIL_INSTALL: &str = "it is part of util-linux (Debian: `apt-get install util-linux`)";
const NOT_ROOT: &str = "network namespaces need root: run this as root, for instance in a container of its own";

/// Fails where no network can be made, with what to do.
pub(super) fn require() -> Result<()> {
    require_tool("ip", "-Version", IP_INSTALL)?;
    require_tool("nsenter", "--version", UTIL_INSTALL)?;
    require_tool("unshare", "--version", UTIL_INSTALL)?;
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::Unexpected { what: "make a network".to_owned(), detail: NOT_ROOT.to_owned() })
}

/// Carries out commands, one a line, inside a namespace or on the machine.
pub(super) fn ip(holder: Option<&Holder>, commands: &[String]) -> Result<()> {
    let home = Path::new("/");
    let mut command = match holder {
        None => clean_command("ip", home),
        Some(holder) => {
            let mut command = clean_command("nsenter", home);
            command.arg(holder.enter()?).args(["--", "ip"]);
            command
        }
    };
    let script = commands.join("\n");
    match run(command.args(["-batch", "-"]), &script) {
        Ok(_) => Ok(()),
        Err(Error::Command { command, status, output }) => {
            Err(Error::Command { command, status, output: format!("{output}\n--- its commands\n{script}") })
        }
        Err(other) => Err(other),
    }
}

/// Asks `ip` something about the machine.
pub(super) fn ask(arguments: &[&str]) -> Result<String> {
    run(clean_command("ip", Path::new("/")).args(arguments), "")
}
