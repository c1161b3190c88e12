//! Following a directory: a scan whenever something in it changes, and now and then in any case.

use std::path::Path;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::parsed::SETTLED;
use super::{Directory, Scan};

/// How long the directory must be quiet before it is read: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(100);

/// How long a busy directory may put off its reading.
const LONGEST: Duration = Duration::from_secs(2);

/// How much longer than a reading took it rests before the next one, so that a large directory that changes all the time does not
/// take the whole of a processor.
const REST: u32 = 9;

/// How often it is read without any notice, since a network file system gives none.
const PERIOD: Duration = Duration::from_secs(20);

/// Sends a scan at the start, whenever something changed and now and then, until cancelled or the receiver is gone.
///
/// A scan that equals the one before is sent, too: whoever takes it may have read the directory in between.
pub async fn follow(directory: Directory, scans: mpsc::Sender<Scan>, cancelled: CancellationToken) {
    // Holds one notice: more say nothing more.
    let (notices, mut noticed) = mpsc::channel::<()>(1);
    let mut watcher = start(directory.root(), notices.clone());
    loop {
        let (reader, began) = (directory.clone(), Instant::now());
        let Ok(scan) = tokio::task::spawn_blocking(move || reader.scan()).await else { return };
        let rest = (began.elapsed() * REST).min(LONGEST);
        let next = if scan.unsettled { SETTLED } else { PERIOD };
        if scans.send(scan).await.is_err() {
            return;
        }
        tokio::select! {
            biased;
            () = cancelled.cancelled() => return,
            _ = noticed.recv() => tokio::select! {
                biased;
                () = cancelled.cancelled() => return,
                () = settle(&mut noticed, rest) => {}
            },
            () = tokio::time::sleep(next) => {
                if watcher.is_none() {
                    watcher = start(directory.root(), notices.clone());
                }
            }
        }
    }
}

/// Waits until the directory has been left alone, at least for some time.
async fn settle(noticed: &mut mpsc::Receiver<()>, rest: Duration) {
    tokio::time::sleep(rest).await;
    let quiet = async { while tokio::time::timeout(QUIET, noticed.recv()).await.is_ok() {} };
    // Running out of time is as good as quiet: it is read again on the next notice.
    let _ = tokio::time::timeout(LONGEST, quiet).await;
}

fn start(root: &Path, notices: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let notice = move |event: notify::Result<Event>| {
        // Reading is no change: our own reading would otherwise be the reason for the next one. An error may be a lost change.
        if event.is_ok_and(|event| is_reading(event.kind)) {
            return;
        }
        // A full channel holds the notice already.
        let _ = notices.try_send(());
    };
    let watcher = notify::recommended_watcher(notice).and_then(|mut watcher| {
        watcher.watch(root, RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    watcher
        .inspect_err(|error| tracing::warn!(directory = %root.display(), %error, "cannot watch, reading now and then"))
        .ok()
}

fn is_reading(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reading_the_directory_does_not_make_it_be_read_again() {
        let folder = tempfile::tempdir().expect("make a directory");
        std::fs::write(folder.path().join("a.yaml"), "# nothing yet\n").expect("write");
        let (sender, mut scans) = mpsc::channel(1);
        let cancelled = CancellationToken::new();
        let following = tokio::spawn(follow(Directory::new(folder.path()), sender, cancelled.clone()));
        // The file settles within the first scans.
        while scans.recv().await.expect("a scan").unsettled {}
        for _ in 0..5 {
            std::fs::read_to_string(folder.path().join("a.yaml")).expect("read");
        }
        let none = tokio::time::timeout(SETTLED * 2, scans.recv()).await;
        assert!(none.is_err(), "nothing changed");
        std::fs::write(folder.path().join("b.yaml"), "# something\n").expect("write");
        scans.recv().await.expect("a scan");
        cancelled.cancel();
        following.await.expect("it ends");
    }
}
