//! The block of addresses that one network has for itself, out of 10.200.0.0 to 10.207.255.255.
//!
//! Held by a locked file while the network lives, so that several runs on one machine do not meet.

use std::fs::{self, File};
use std::net::Ipv4Addr;

use super::{Side, tool};
use crate::error::{Error, IoContext as _, Result};

/// Blocks on one machine; each is two networks of 256 addresses.
const BLOCKS: u16 = 1_024;

/// A reserved block.
#[derive(Debug)]
pub(super) struct Block {
    number: u16,
    _reservation: File,
}

impl Block {
    /// Reserves a block that nothing on this machine routes.
    pub(super) fn reserve() -> Result<Self> {
        let folder = std::env::temp_dir().join("starling-networks");
        fs::create_dir_all(&folder).at_path("create", &folder)?;
        let start = std::process::id() * 97;
        for offset in 0..u32::from(BLOCKS) {
            let number = ((start + offset) % u32::from(BLOCKS)) as u16;
            let path = folder.join(number.to_string());
            let reservation = File::create(&path).at_path("create", &path)?;
            if reservation.try_lock().is_err() {
                continue;
            }
            let block = Self { number, _reservation: reservation };
            let routed = tool::ask(&["-4", "route", "show", "to", "root", &format!("{}/23", block.base())])?;
            if routed.trim().is_empty() {
                return Ok(block);
            }
        }
        Err(Error::Unexpected {
            what: "reserve addresses for a network".to_owned(),
            detail: "every block of 10.200.0.0/13 is used on this machine".to_owned(),
        })
    }

    /// Returns an address on a side; 1 is the machine's.
    pub(super) fn address(&self, side: Side, number: u8) -> Ipv4Addr {
        let [first, second, third, _] = self.base().octets();
        Ipv4Addr::new(first, second, third + u8::from(side == Side::Back), number)
    }

    /// Returns the hardware address of the link that has an address.
    pub(super) fn hardware(&self, side: Side, number: u8) -> String {
        let [high, low] = self.number.to_be_bytes();
        format!("02:53:{high:02x}:{low:02x}:{:02x}:{number:02x}", side.index())
    }

    /// Returns the name of the machine's own link on a side, unique on the machine and no longer than 15 characters.
    pub(super) fn machine_link(&self, side: Side) -> String {
        format!("starl{}{}", self.number, side.link())
    }

    fn base(&self) -> Ipv4Addr {
        let (second, third) = (200 + self.number / 128, self.number % 128 * 2);
        let fits = "there are 1,024 blocks: 8 times 128";
        Ipv4Addr::new(10, u8::try_from(second).expect(fits), u8::try_from(third).expect(fits), 0)
    }
}
