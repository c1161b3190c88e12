//! A host and a port, as people write them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Where to dial: a name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

/// A text that is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not host:port (an IPv6 address stands in brackets: [::1]:8443)")]
pub struct AddressError(String);

impl Address {
    /// Makes an address; `host` is a name or an IP address, without brackets.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port }
    }

    /// Returns the name or IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the host as an IP address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(malformed)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().map(|_| inner).map_err(|_| malformed())?,
            None => host,
        };
        let is_name = |byte: u8| byte.is_ascii_graphic() && !b"[]/@?#%\\\"<>".contains(&byte);
        let is_bare_v6 = host.contains(':') && !text.starts_with('[');
        if host.is_empty() || is_bare_v6 || !host.bytes().all(is_name) {
            return Err(malformed());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_they_are_written() {
        for (text, host, port) in [
            ("hub.example.org:8443", "hub.example.org", 8443),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[2001:db8::1]:443", "2001:db8::1", 443),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["hub", "hub:", ":1", "hub:0", "hub:65536", "::1:443", "[::1]", "[hub]:1", "a b:1", "u@hub:1", "hub\r\n:1"]
        {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }
}
