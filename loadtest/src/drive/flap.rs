//! Clusters whose connection breaks again and again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::sleep_until;

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
        sleep_until((began + at.min(length)).into()).await;
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
