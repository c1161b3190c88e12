//! Processes that end with this one, and what a process uses, as Linux tells it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// What a process used so far, and has now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
}

impl Usage {
    /// Reads it of a process.
    pub(crate) fn of(process: u32) -> Result<Self> {
        Ok(Self { cpu: cpu_time(process)?, resident: resident_bytes(process)? })
    }
}

/// Returns the CPU time that a process used so far.
pub(crate) fn cpu_time(process: u32) -> Result<Duration> {
    let stat = read_proc(process, "stat")?;
    // Fields 14 and 15 of proc(5), counted after the name in parentheses, which may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' ').collect()).unwrap_or_default();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let (Some(user), Some(system)) = (ticks(11), ticks(12)) else { bail!("/proc/{process}/stat is odd") };
    Ok(Duration::from_secs_f64((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Returns the resident memory of a process, in bytes.
pub(crate) fn resident_bytes(process: u32) -> Result<u64> {
    let status = read_proc(process, "status")?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|number| number.trim().parse::<u64>().ok());
    kibibytes.map(|number| number * 1024).with_context(|| format!("/proc/{process}/status is odd"))
}

fn read_proc(process: u32, file: &str) -> Result<String> {
    fs::read_to_string(format!("/proc/{process}/{file}")).with_context(|| format!("read /proc/{process}/{file}"))
}

/// Prepares a program that ends with this process, however this ends: setpriv asks the kernel for that and becomes the program. It is
/// killed when its handle is dropped.
pub(crate) fn tied_command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).kill_on_drop(true);
    command
}

/// Returns an address on loopback that nobody listens at just now.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    listener.local_addr().context("find a free port")
}
