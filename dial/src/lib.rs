//! Dials a hub: from `host:port` to a TCP stream, through a proxy where the environment asks for one.
//!
//! Owns names with addresses of both families, the proxy variables, CONNECT, and what the kernel is told of a socket. Does
//! not own TLS, which runs on top, nor when to dial again. The agent and the command line share it.
//!
//! The variables are read as Go programs do, because everything else in a cluster is one: kubectl, Flux, the kubelet.

mod address;
mod bypass;
mod connect;
mod proxies;
mod tunnel;

pub use self::address::{Address, AddressError};
pub use self::connect::{DIAL_TIMEOUT, DialError, connect};
pub use self::proxies::{Proxies, Proxy, ProxyError};
pub use self::tunnel::{TunnelError, tunnel};
