//! Waiting for something to become true, with a deadline and the last thing seen in the error.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

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
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PROBE_TIMEOUT)?;
        stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
        stream.set_write_timeout(Some(PROBE_TIMEOUT))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = [0; 64];
        let read = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned())
    };
    let status_line = ask().map_err(|error| format!("GET {path} on port {port}: {error}"))?;
    if status_line.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    Err(format!("GET {path} on port {port} answered {status_line:?}"))
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
