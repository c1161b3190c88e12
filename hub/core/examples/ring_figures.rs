//! Prints how even rings are, what a join and a leave move, and what a change of membership costs as the fleet grows.
//!
//! Run it with `cargo run --release -p starling-hub-core --example ring_figures`.

#![allow(clippy::disallowed_types, reason = "a benchmark measures, the library does not")]

use std::time::{Duration, Instant};

use starling_hub_core::ring::{Placement, RingMember, RingRecord, balance, simulate};
use starling_model::{ClusterId, Uid};

/// The clusters over which shares are measured.
const CLUSTERS: usize = 100_000;

fn main() {
    let ids: Vec<ClusterId> =
        (0..CLUSTERS).map(|index| ClusterId::derive("demo", "dev", &format!("edge-{index}"))).collect();
    println!("{CLUSTERS} clusters, weight 100, 1,000 points a member");
    println!("{:>7} {:>9} | {:^24} | {:^24}", "", "largest", "one joins", "one leaves (worst)");
    println!(
        "{:>7} {:>9} | {:>7} {:>7} {:>8} | {:>7} {:>7} {:>8}",
        "members", "/ mean", "moved", "ideal", "ratio", "moved", "ideal", "ratio"
    );
    for members in [3, 10, 32] {
        let record = hubs(members);
        let even = balance(&Placement::of(&record), &ids);
        let joined = simulate(&record, 1, &[], &ids).expect("one joins").moves;
        let left = record
            .members
            .iter()
            .map(|member| simulate(&record, 0, std::slice::from_ref(&member.name), &ids).expect("one leaves").moves)
            .max_by_key(|moves| moves.moved)
            .expect("a ring has members");
        println!(
            "{members:>7} {:>9.3} | {:>7} {:>7.0} {:>8.3} | {:>7} {:>7.0} {:>8.3}",
            even.max_over_mean,
            joined.moved,
            joined.ideal,
            joined.moved as f64 / joined.ideal,
            left.moved,
            left.ideal,
            left.moved as f64 / left.ideal
        );
    }
    println!("\na change of membership (median of 15): the points, and then the owner of every cluster");
    println!(
        "{:>7} {:>9} {:>11} {:>11} {:>11} {:>9}",
        "members", "clusters", "points", "owners", "together", "a lookup"
    );
    for members in [3, 10, 32] {
        let record = hubs(members);
        for clusters in [1_000, 5_000, 10_000, 20_000] {
            let build = median(|| drop(std::hint::black_box(Placement::of(&record))));
            let placement = Placement::of(&record);
            let own = median(|| {
                for id in &ids[..clusters] {
                    std::hint::black_box(placement.owner(id));
                }
            });
            let lookup = own / u32::try_from(clusters).expect("a small number");
            println!("{members:>7} {clusters:>9} {build:>11.2?} {own:>11.2?} {:>11.2?} {lookup:>9.0?}", build + own);
        }
    }
}

fn hubs(count: usize) -> RingRecord {
    let member = |index: usize| RingMember {
        name: format!("hub-{index:02}"),
        incarnation: Uid([1; 16]),
        address: format!("hub-{index:02}.hub:7443"),
        weight: 100,
    };
    RingRecord { epoch: 1, members: (0..count).map(member).collect() }
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..15)
        .map(|_| {
            let began = Instant::now();
            work();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}
