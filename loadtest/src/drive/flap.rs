//! Clusters whose connection breaks again and again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep_until};

use super::Answer;
use super::agenda::Agenda;
use crate::link::Link;
use crate::scenario::Range;

/// Breaks the connections of links for a while, each again after as long as is drawn. What is not connected just then is spared:
/// its agent waits before it dials again.
pub(super) async fn flap(links: &[(u32, Arc<Link>)], length: Duration, every_ms: Range, seed: u64) -> Answer {
    let draw = |random: &mut StdRng, _: usize| Duration::from_millis(every_ms.draw(random));
    let mut agenda = Agenda::new(links.len(), StdRng::seed_from_u64(seed), draw);
    let began = Instant::now();
    let (mut cuts, mut cut) = (0, BTreeSet::new());
    while let Some((at, index, _)) = agenda.next(draw) {
        sleep_until(began + at.min(length)).await;
        if at >= length {
            break;
        }
        let (number, link) = &links[index];
        if link.cut() {
            cuts += 1;
            cut.insert(*number);
        }
    }
    Answer::Flapped { cuts, clusters: cut.len() as u64 }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;
    use crate::link::{LinkOptions, LinkStream};

    #[tokio::test(start_paused = true)]
    async fn what_is_connected_is_cut_and_the_rest_is_spared() {
        let link = || Link::new(LinkOptions::default(), Arc::default());
        let (connected, away) = (link(), link());
        let (ours, mut theirs) = duplex(64);
        let mut stream = LinkStream::new(ours, &connected);
        let agent = tokio::spawn(async move { stream.read(&mut [0; 1]).await });
        let answer = flap(&[(4, connected), (9, away)], Duration::from_secs(5), Range::Between([50, 900]), 1).await;
        let Answer::Flapped { cuts, clusters } = answer else { panic!("{answer:?}") };
        assert_eq!((cuts, clusters), (1, 1), "its agent did not come back");
        assert!(agent.await.unwrap().is_err());
        assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0, "the hub sees the end");
    }
}
