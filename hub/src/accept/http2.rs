//! HTTP/2 settings of the port, and what every request and response passes through.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{DATE, HeaderValue};
use starling_model::Millis;
use tonic::transport::Server;
use tower::layer::util::{Identity, Stack};
use tower::{Layer, Service};

use super::Peer;
use crate::ports::Clock;
use crate::tls::PeerIdentity;

/// What one connection may send before it is read: what an idle connection may cost, ten thousand times.
const WINDOW_BYTES: u32 = 65_535;

/// Requests that one connection may have open.
const STREAMS: u32 = 32;

/// Bytes of headers of one request.
const HEADER_BYTES: u32 = 16 * 1024;

/// How often a connection is asked whether it is alive. Sessions have heartbeats of their own; this is for the others.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long it may take to answer.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Puts what the connection proved into each request's extensions, as [`PeerIdentity`], and sets the `date` of responses
/// from the hub's clock: hyper would read the machine's, which a simulation cannot step.
#[derive(Clone, Debug)]
pub struct EdgeLayer<S = ()> {
    clock: Arc<dyn Clock>,
    inner: S,
}

/// Returns a gRPC server with the settings of the hub's port.
pub fn server(clock: Arc<dyn Clock>) -> Server<Stack<EdgeLayer, Identity>> {
    Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(STREAMS)
        .max_frame_size(16 * 1024)
        .http2_max_header_list_size(HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(16))
        .http2_max_local_error_reset_streams(Some(64))
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .layer(EdgeLayer { clock, inner: () })
}

impl<S> Layer<S> for EdgeLayer {
    type Service = EdgeLayer<S>;

    fn layer(&self, inner: S) -> EdgeLayer<S> {
        EdgeLayer { clock: Arc::clone(&self.clock), inner }
    }
}

impl<S, Q, R> Service<http::Request<Q>> for EdgeLayer<S>
where
    S: Service<http::Request<Q>, Response = http::Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = futures::future::BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Q>) -> Self::Future {
        let identity = request.extensions().get::<Peer>().map(|peer| peer.identity.clone()).unwrap_or_default();
        request.extensions_mut().insert::<PeerIdentity>(identity);
        let clock = Arc::clone(&self.clock);
        let response = self.inner.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            let date = HeaderValue::from_str(&http_date(clock.now())).expect("a date is printable");
            response.headers_mut().insert(DATE, date);
            Ok(response)
        })
    }
}

/// Returns a time as HTTP writes it (RFC 9110, section 5.6.7), such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(now: Millis) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = now.0 / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let weekday = DAYS[usize::try_from(days % 7).expect("less than seven")];
    let month = MONTHS[usize::try_from(month - 1).expect("less than twelve")];
    format!("{weekday}, {day:02} {month} {year:04} {:02}:{:02}:{:02} GMT", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Returns year, month and day of a number of days since 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months are counted from March, so that the leap day is the last of the year.
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_http_dates() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_795_219_199, "Fri, 20 Nov 2026 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(Millis(seconds * 1000)), expected);
        }
    }
}
