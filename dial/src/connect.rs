//! From an address to a connected socket.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::address::Address;
use crate::proxies::Proxies;
use crate::tunnel::{TunnelError, tunnel};

/// How long it may take until there is a stream, the proxy's part included.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one of a name's addresses may be silent before the next one is tried beside it (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// A silent connection is probed: after how long, how often, and how many unanswered probes end it. The hub's own
/// heartbeats are faster; this is for calls that wait and for middleboxes that forget.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

/// How long what was sent may stay unacknowledged: as long as a session may be silent.
const USER_TIMEOUT: Duration = Duration::from_secs(35);

/// A connection that did not come up.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("cannot resolve {0}: {1}")]
    Resolve(String, io::Error),
    /// None of the addresses answers.
    #[error("{0}")]
    Connect(io::Error),
    /// The proxy cannot be reached.
    #[error("cannot reach the proxy {0}: {1}")]
    Proxy(String, Box<DialError>),
    /// The proxy does not lead there.
    #[error("the proxy {0} does not connect to {1}: {2}")]
    Tunnel(String, String, TunnelError),
    /// All of it took too long.
    #[error("no answer in {} s{}", DIAL_TIMEOUT.as_secs(), .0.as_ref().map(|proxy| format!(" from the proxy {proxy}")).unwrap_or_default())]
    Timeout(Option<String>),
}

/// Connects to an address, through the proxy that leads there where there is one, within [`DIAL_TIMEOUT`].
///
/// # Errors
/// See [`DialError`].
pub async fn connect(address: &Address, proxies: &Proxies) -> Result<TcpStream, DialError> {
    let proxy = proxies.leading_to(address);
    let dial = async {
        let Some(proxy) = proxy else { return dial(address).await };
        let mut stream =
            dial(proxy.address()).await.map_err(|error| DialError::Proxy(proxy.to_string(), Box::new(error)))?;
        tunnel(&mut stream, address, proxy.authorization())
            .await
            .map_err(|error| DialError::Tunnel(proxy.to_string(), address.to_string(), error))?;
        Ok(stream)
    };
    match timeout(DIAL_TIMEOUT, dial).await {
        Ok(dialled) => dialled,
        Err(_) => Err(DialError::Timeout(proxy.map(ToString::to_string))),
    }
}

impl From<DialError> for io::Error {
    fn from(error: DialError) -> Self {
        let kind = match &error {
            DialError::Resolve(_, cause) | DialError::Connect(cause) => cause.kind(),
            DialError::Timeout(_) => io::ErrorKind::TimedOut,
            DialError::Proxy(..) | DialError::Tunnel(..) => io::ErrorKind::ConnectionRefused,
        };
        Self::new(kind, error)
    }
}

async fn dial(address: &Address) -> Result<TcpStream, DialError> {
    let unresolved = |error| DialError::Resolve(address.host().to_owned(), error);
    let found: Vec<_> = lookup_host((address.host(), address.port())).await.map_err(unresolved)?.collect();
    if found.is_empty() {
        return Err(unresolved(io::ErrorKind::NotFound.into()));
    }
    let stream = race(alternate(found)).await.map_err(DialError::Connect)?;
    tune(&stream).map_err(DialError::Connect)?;
    Ok(stream)
}

/// Puts addresses of both families in turn, beginning with the resolver's first choice: where one family leads nowhere,
/// the second attempt is one of the other.
fn alternate(found: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let prefers_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (VecDeque<_>, VecDeque<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == prefers_v6);
    let mut all = VecDeque::with_capacity(one.len() + other.len());
    while !one.is_empty() || !other.is_empty() {
        all.extend(one.pop_front());
        all.extend(other.pop_front());
    }
    all
}

/// Tries address after address, a later one beside those that are silent; the first that answers wins.
async fn race(mut addresses: VecDeque<SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    loop {
        if let Some(address) = addresses.pop_front() {
            attempts.spawn(async move {
                let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
                TcpStream::connect(address).await.map_err(named)
            });
        }
        tokio::select! {
            biased;
            Some(ended) = attempts.join_next() => match ended {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed = error,
                Err(error) => failed = io::Error::other(error),
            },
            () = sleep(ATTEMPT_DELAY), if !addresses.is_empty() => {}
        }
        if attempts.is_empty() && addresses.is_empty() {
            return Err(failed);
        }
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (idle, interval, probes) = KEEP_ALIVE;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, idle)?;
    sockopt::set_tcp_keepintvl(stream, interval)?;
    sockopt::set_tcp_keepcnt(stream, probes)?;
    sockopt::set_tcp_user_timeout(stream, u32::try_from(USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn families_take_turns() {
        let of = |text: &[&str]| text.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let found = of(&["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "192.0.2.1:1"]);
        let turns = of(&["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "[2001:db8::3]:1"]);
        assert_eq!(alternate(found), turns);
    }

    #[tokio::test]
    async fn an_address_that_leads_nowhere_does_not_keep_from_the_next() {
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        // Refused at once, and never answered: 192.0.2.0/24 is for documentation alone (RFC 5737).
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let silent = "192.0.2.1:9".parse().unwrap();
        let stream = race(VecDeque::from([closed, silent, good])).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let error = race(VecDeque::from([closed])).await.unwrap_err();
        assert!(error.to_string().starts_with(&closed.to_string()), "{error}");
    }

    #[tokio::test]
    async fn a_dialled_socket_notices_a_dead_peer() {
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let address: Address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let stream = connect(&address, &Proxies::none()).await.unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(u128::from(sockopt::tcp_user_timeout(&stream).unwrap()), USER_TIMEOUT.as_millis());
    }
}
