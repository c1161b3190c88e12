//! Waiting for something to become true, with a deadline and the last thing seen in the error.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Far more than any metrics page or answer that is asked for here.
const LONGEST_ANSWER: u64 = 16 << 20;

/// Asks again and again until the answer is `Ok`; an `Err` says what is still missing and is shown when time runs out.
///
/// `?` works in the closure on the errors of this crate.
pub fn wait_for<T>(what: &str, timeout: Duration, mut ask: impl FnMut() -> Result<T, String>) -> Result<T> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(last) if started.elapsed() >= timeout => {
                return Err(Error::Timeout { what: what.to_owned(), waited: started.elapsed(), last });
            }
            Err(_) => {}
        }
        std::thread::sleep(pause.min(timeout.saturating_sub(started.elapsed())));
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// Asks an HTTP server on 127.0.0.1 for a path; anything but status 200 is an error that says what was answered.
pub fn http_get_ok(port: u16, path: &str) -> Result<(), String> {
    http_get(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), path).map(drop)
}

/// Asks an HTTP server for a path and returns the body; anything but status 200 is an error that says what was answered.
pub fn http_get(server: SocketAddr, path: &str) -> Result<String, String> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n");
    http(server, &request).map_err(|error| format!("GET {path} on {server}: {error}"))
}

/// Sends one HTTP/1.0 request, whose answer ends with the connection and is never chunked, and returns its body.
pub(crate) fn http(server: SocketAddr, request: &str) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&server, PROBE_TIMEOUT)?;
        stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
        stream.set_write_timeout(Some(PROBE_TIMEOUT))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status_line = head.lines().next().unwrap_or_default();
    if status_line.split(' ').nth(1) == Some("200") {
        return Ok(body.to_owned());
    }
    Err(format!("answered {status_line:?} {}", body.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_first_answer() {
        let mut asked = 0;
        let answer = wait_for("three", Duration::from_secs(5), || {
            asked += 1;
            if asked == 3 { Ok(asked) } else { Err(format!("only {asked}")) }
        });
        assert_eq!(answer.unwrap(), 3);
    }

    #[test]
    fn timeout_shows_the_last_thing_seen() {
        let error =
            wait_for::<()>("the impossible", Duration::from_millis(5), || Err("nothing yet".to_owned())).unwrap_err();
        assert!(error.to_string().contains("for the impossible; last seen: nothing yet"), "{error}");
    }
}
