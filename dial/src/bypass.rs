//! What is dialled directly although there is a proxy: `NO_PROXY`, and the machine itself.

use std::net::IpAddr;

use crate::address::Address;

/// The entries of `NO_PROXY`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bypass(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    hosts: Hosts,
    /// Any, where none is named.
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum Hosts {
    All,
    Ip(IpAddr),
    /// An address and how many of its first bits count.
    Network(IpAddr, u8),
    /// A name, lower case without dots around it; all below it; and perhaps itself.
    Domain {
        name: String,
        itself: bool,
    },
}

impl Bypass {
    /// Reads the variable: entries between commas or blanks. What cannot be an entry matches nothing.
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.split(|sign: char| sign == ',' || sign.is_whitespace()).filter_map(Entry::parse).collect())
    }

    /// Tells whether to dial directly.
    pub(crate) fn covers(&self, address: &Address) -> bool {
        let name = address.host().trim_end_matches('.').to_ascii_lowercase();
        let ip = address.ip().map(|ip| ip.to_canonical());
        // A proxy elsewhere cannot reach this machine under these names.
        if name == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
            return true;
        }
        self.0.iter().any(|entry| entry.port.is_none_or(|port| port == address.port()) && entry.hosts.cover(&name, ip))
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        if text == "*" {
            return Some(Self { hosts: Hosts::All, port: None });
        }
        if let Some((network, bits)) = text.split_once('/') {
            let ip: IpAddr = network.parse().ok()?;
            let most = if ip.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= most)?;
            return Some(Self { hosts: Hosts::Network(ip, bits), port: None });
        }
        let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        if let Some(ip) = bare(text) {
            return Some(Self { hosts: Hosts::Ip(ip.to_canonical()), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let hosts = match bare(host) {
            Some(ip) => Hosts::Ip(ip.to_canonical()),
            None if host == "*" => Hosts::All,
            None => {
                let below = host.strip_prefix('*').unwrap_or(host);
                let name = below.trim_matches('.').to_ascii_lowercase();
                if name.is_empty() {
                    return None;
                }
                Hosts::Domain { name, itself: !below.starts_with('.') }
            }
        };
        Some(Self { hosts, port })
    }
}

impl Hosts {
    fn cover(&self, name: &str, ip: Option<IpAddr>) -> bool {
        match self {
            Self::All => true,
            Self::Ip(wanted) => ip == Some(*wanted),
            Self::Network(network, bits) => ip.is_some_and(|ip| begins_alike(ip, *network, *bits)),
            Self::Domain { name: domain, itself } => match name.strip_suffix(domain.as_str()) {
                Some("") => *itself,
                Some(above) => above.ends_with('.'),
                None => false,
            },
        }
    }
}

fn begins_alike(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let (differing, width) = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(one.to_bits() ^ other.to_bits()), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    // No shift by the whole width: that is none at all.
    bits == 0 || differing >> (width - u32::from(bits)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_cover_what_they_name() {
        for (no_proxy, address, covered) in [
            ("", "hub.example.org:8443", false),
            ("*", "hub.example.org:8443", true),
            ("*", "192.0.2.1:8443", true),
            ("*:8443", "192.0.2.1:443", false),
            ("example.org", "example.org:1", true),
            ("example.org", "hub.example.org:1", true),
            ("EXAMPLE.org", "Hub.Example.ORG.:1", true),
            ("example.org", "badexample.org:1", false),
            (".example.org", "hub.example.org:1", true),
            (".example.org", "example.org:1", false),
            ("*.example.org", "hub.example.org:1", true),
            ("hub.example.org:8443", "hub.example.org:8443", true),
            ("hub.example.org:443", "hub.example.org:8443", false),
            ("10.0.0.0/8", "10.200.3.4:1", true),
            ("10.0.0.0/8", "11.0.0.1:1", false),
            ("10.0.0.0/8", "hub:1", false),
            ("0.0.0.0/0", "203.0.113.9:1", true),
            ("0.0.0.0/0", "[2001:db8::1]:1", false),
            ("10.1.2.3/32", "10.1.2.3:1", true),
            ("2001:db8::/32", "[2001:db8:ffff::1]:1", true),
            ("2001:db8::/32", "[2001:db9::1]:1", false),
            ("::/0", "[2001:db9::1]:1", true),
            ("2001:db8::1", "[2001:db8::1]:1", true),
            ("[2001:db8::1]:443", "[2001:db8::1]:443", true),
            ("[2001:db8::1]:443", "[2001:db8::1]:444", false),
            ("192.0.2.1", "192.0.2.1:5", true),
            ("192.0.2.1:5", "192.0.2.1:6", false),
            ("192.0.2.1", "[::ffff:192.0.2.1]:5", true),
            (".svc,.cluster.local, 10.96.0.0/12", "hub.starling.svc:8443", true),
            ("a,b hub", "hub:1", true),
            ("10.0.0.0/64,:1,.,hub:x", "hub:1", false),
            // The machine itself, always.
            ("", "localhost:1", true),
            ("", "127.0.0.2:1", true),
            ("", "[::1]:1", true),
        ] {
            let address: Address = address.parse().unwrap();
            assert_eq!(Bypass::parse(no_proxy).covers(&address), covered, "{no_proxy:?} {address}");
        }
    }
}
