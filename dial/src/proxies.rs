//! Which proxy leads to an address: `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, in capitals or not.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use crate::address::Address;
use crate::bypass::Bypass;

/// The port of a proxy whose URL names none.
const DEFAULT_PORT: u16 = 80;

/// Which proxy leads where.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    proxy: Option<Proxy>,
    bypass: Bypass,
}

/// A proxy that is asked with CONNECT over plain TCP.
#[derive(Clone)]
pub struct Proxy {
    address: Address,
    /// The header's value.
    authorization: Option<String>,
}

/// A proxy that cannot be used. Says which variable is wrong and never what is in it: that may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Another protocol.
    #[error(
        "{variable} names a proxy of scheme {scheme:?}; only http:// is supported (the connection to the hub is encrypted inside of it)"
    )]
    Scheme {
        /// The variable.
        variable: &'static str,
        /// What stands before `://`.
        scheme: String,
    },
    /// No URL.
    #[error("{variable} is not a URL of the form http://[user:password@]host:port")]
    Url {
        /// The variable.
        variable: &'static str,
    },
}

impl Proxies {
    /// Dials everything directly.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the environment.
    ///
    /// # Errors
    /// See [`ProxyError`]: a proxy that is wanted and cannot be used is not passed by.
    pub fn from_env() -> Result<Self, ProxyError> {
        let first = |names: [&str; 2]| {
            let values = names.iter().filter_map(|name| std::env::var(name).ok());
            values.map(|value| value.trim().to_owned()).find(|value| !value.is_empty()).unwrap_or_default()
        };
        let https = first(["HTTPS_PROXY", "https_proxy"]);
        let all = first(["ALL_PROXY", "all_proxy"]);
        Self::new(&https, &all, &first(["NO_PROXY", "no_proxy"]))
    }

    /// Reads the variables' values; an empty one is not set.
    ///
    /// # Errors
    /// See [`ProxyError`].
    pub fn new(https_proxy: &str, all_proxy: &str, no_proxy: &str) -> Result<Self, ProxyError> {
        let proxy = match (https_proxy, all_proxy) {
            ("", "") => None,
            ("", all) => Some(Proxy::parse("ALL_PROXY", all)?),
            (https, _) => Some(Proxy::parse("HTTPS_PROXY", https)?),
        };
        Ok(Self { proxy, bypass: Bypass::parse(no_proxy) })
    }

    /// Returns the proxy that leads to an address; `None` is dialled directly.
    #[must_use]
    pub fn leading_to(&self, address: &Address) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| !self.bypass.covers(address))
    }
}

impl Proxy {
    fn parse(variable: &'static str, url: &str) -> Result<Self, ProxyError> {
        let malformed = || ProxyError::Url { variable };
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                return Err(ProxyError::Scheme { variable, scheme: scheme.chars().take(16).collect() });
            }
            Some(_) => return Err(malformed()),
            None => url,
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let has_port = host.rsplit_once(':').is_some_and(|(before, _)| !host.starts_with('[') || before.ends_with(']'));
        let address = match has_port {
            true => host.parse(),
            false => format!("{host}:{DEFAULT_PORT}").parse(),
        };
        let address = address.map_err(|_| malformed())?;
        Ok(Self { address, authorization: user.map(basic) })
    }

    /// Returns where the proxy is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the value of `Proxy-Authorization`, which is a secret.
    #[must_use]
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}

fn basic(user: &str) -> String {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut credentials: Vec<u8> = percent_decode_str(name).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(password));
    format!("Basic {}", STANDARD.encode(credentials))
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.address)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authorization = self.authorization.as_ref().map(|_| "redacted");
        f.debug_struct("Proxy").field("address", &self.address).field("authorization", &authorization).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> Address {
        Address::new("hub.example.org", 8443)
    }

    #[test]
    fn urls_of_every_form_are_read() {
        for (url, address, authorization) in [
            ("http://proxy:3128", "proxy:3128", None),
            ("HTTP://proxy:3128/", "proxy:3128", None),
            ("proxy:3128", "proxy:3128", None),
            ("http://proxy", "proxy:80", None),
            ("http://[2001:db8::1]", "[2001:db8::1]:80", None),
            ("http://[2001:db8::1]:3128", "[2001:db8::1]:3128", None),
            ("http://me:secret@proxy:3128", "proxy:3128", Some("Basic bWU6c2VjcmV0")),
            ("http://me:s%40cr%3Aet@proxy:3128", "proxy:3128", Some("Basic bWU6c0BjcjpldA==")),
            ("http://me@proxy:3128", "proxy:3128", Some("Basic bWU6")),
        ] {
            let proxies = Proxies::new(url, "", "").unwrap();
            let proxy = proxies.leading_to(&hub()).unwrap();
            assert_eq!(
                (proxy.address().to_string().as_str(), proxy.authorization()),
                (address, authorization),
                "{url}"
            );
        }
    }

    #[test]
    fn what_cannot_be_used_is_an_error_that_keeps_the_secret() {
        for url in [
            "https://me:secret@proxy:3128",
            "socks5://me:secret@proxy:1080",
            "http://me:secret@:1",
            "http://me:secret@a b",
            "http://",
        ] {
            let error = Proxies::new(url, "", "").unwrap_err().to_string();
            assert!(error.starts_with("HTTPS_PROXY ") && !error.contains("secret"), "{error}");
            assert!(Proxies::new("", url, "").unwrap_err().to_string().starts_with("ALL_PROXY "));
        }
        let proxies = Proxies::new("http://me:secret@proxy:3128", "", "").unwrap();
        let shown = format!("{proxies:?} {}", proxies.leading_to(&hub()).unwrap());
        assert!(!shown.contains("secret") && !shown.contains("bWU6"), "{shown}");
    }

    #[test]
    fn the_more_special_variable_wins_and_no_proxy_wins_over_both() {
        let at = |https, all, no| {
            let proxies = Proxies::new(https, all, no).unwrap();
            proxies.leading_to(&hub()).map(|proxy| proxy.address().host().to_owned())
        };
        assert_eq!(at("", "", ""), None);
        assert_eq!(at("http://one:1", "http://two:2", "").as_deref(), Some("one"));
        assert_eq!(at("", "http://two:2", "").as_deref(), Some("two"));
        assert_eq!(at("http://one:1", "http://two:2", ".example.org"), None);
    }
}
