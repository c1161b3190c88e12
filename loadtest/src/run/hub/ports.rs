//! Ports on loopback that stay a process's own while it is down.
//!
//! They come from below the range that the kernel gives to outgoing connections: of thousands of agents that dial while their hub is
//! away, one would be given its port. Each is held by a locked file, so that runs and tests beside this one take others.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;

use anyhow::{Context, Result, bail};

const RANGE: Range<u16> = 17_000..32_000;

/// A port, reserved until this is dropped.
#[derive(Debug)]
pub(super) struct Port {
    number: u16,
    _held: File,
}

impl Port {
    /// Reserves a port that nobody listens on.
    pub(super) fn reserve() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("starling-ports-{}", rustix::process::getuid().as_raw()));
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        // Runs beside this one begin elsewhere.
        let size = usize::from(RANGE.end - RANGE.start);
        let start = std::process::id() as usize * 97 % size;
        for offset in start..start + size {
            let number = RANGE.start + (offset % size) as u16;
            let file = folder.join(number.to_string());
            let held = File::create(&file).with_context(|| format!("make {}", file.display()))?;
            if held.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _held: held });
            }
        }
        bail!("no port of {RANGE:?} is free")
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_nobody_elses_while_it_is_held() {
        let held: Vec<Port> = (0..10).map(|_| Port::reserve().expect("a port")).collect();
        let mut numbers: Vec<u16> = held.iter().map(|port| port.number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), held.len());
        assert!(held.iter().all(|port| TcpListener::bind(port.address()).is_ok()));
    }
}
