//! Ports on 127.0.0.1 that stay free for their holder, even while its process is down and even against other processes.
//!
//! They come from below the range that the kernel gives to outgoing connections, and each is held by a locked file:
//! asking the kernel for "any port" and closing it again lets somebody else have it before the part binds it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::error::{Error, IoContext, Result};

const RANGE: Range<u16> = 17_000..32_000;

/// A port on 127.0.0.1, reserved until this is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _reservation: File,
}

impl Port {
    /// Reserves a port that nobody listens on.
    pub fn reserve() -> Result<Self> {
        /// Spreads the ports of one process; the start depends on the process, so that parallel runs rarely collide.
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let user = rustix::process::getuid().as_raw();
        let folder = std::env::temp_dir().join(format!("starling-ports-{user}"));
        fs::create_dir_all(&folder).at_path("create", &folder)?;
        let size = usize::from(RANGE.end - RANGE.start);
        let start = std::process::id() as usize * 97 % size;
        for _ in 0..size {
            let offset = start + usize::from(NEXT.fetch_add(1, Ordering::Relaxed));
            let number = RANGE.start + (offset % size) as u16;
            let path = folder.join(number.to_string());
            let file = File::create(&path).at_path("create", &path)?;
            if file.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _reservation: file });
            }
        }
        Err(Error::Unexpected {
            what: "reserve a port on 127.0.0.1".to_owned(),
            detail: format!("none of {RANGE:?} is free"),
        })
    }

    /// The port number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_differ() {
        let held: Vec<Port> = (0..20).map(|_| Port::reserve().unwrap()).collect();
        let mut numbers: Vec<u16> = held.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), held.len());
        for port in &held {
            TcpListener::bind(port.address()).unwrap();
        }
    }
}
