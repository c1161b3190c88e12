mod properties;

use std::fmt::Write as _;

use super::*;

/// A fleet around the rules: who is there, the record, and a steward that commits what the rules return.
pub(super) struct World {
    pub(super) record: RingRecord,
    pub(super) present: Vec<Presence>,
    pub(super) uptime: Millis,
    membership: Membership,
    wake: Option<Millis>,
    pub(super) log: String,
}

impl World {
    pub(super) fn new(record: RingRecord) -> Self {
        Self {
            record,
            present: Vec::new(),
            uptime: Millis(0),
            membership: Membership::default(),
            wake: None,
            log: String::new(),
        }
    }

    /// Lets time pass, with an observation whenever the rules asked for one, and then changes who is there.
    pub(super) fn go_to(&mut self, uptime: Millis, present: Vec<Presence>) {
        self.pass_until(uptime);
        self.uptime = uptime;
        self.present = present;
        self.observe();
    }

    pub(super) fn pass_until(&mut self, end: Millis) {
        while let Some(wake) = self.wake.filter(|wake| *wake < end) {
            assert!(wake > self.uptime, "a wake lies ahead: {wake} at {}", self.uptime);
            self.uptime = wake;
            self.observe();
        }
    }

    fn observe(&mut self) {
        // A record that was committed is observed once more, as in life.
        for _ in 0..2 {
            let observation = self.membership.observe(&self.record, &self.present, self.uptime);
            self.wake = observation.wake;
            let Some(next) = observation.next else { return };
            assert_eq!(next.epoch, self.record.epoch + 1);
            next.check().expect("a good record");
            let members: Vec<String> = next.members.iter().map(written).collect();
            let at = self.uptime.0 as f64 / 1000.0;
            writeln!(self.log, "{at} s, epoch {}: {}", next.epoch, members.join(" ")).expect("a string");
            for change in &observation.changes {
                writeln!(self.log, "  {change}").expect("a string");
            }
            self.record = next;
        }
        panic!("two changes at one time");
    }
}

#[test]
fn timelines() {
    let cases = include_str!("timelines.txt").split("\n== ").skip(1);
    let (mut count, mut wrong) = (0, Vec::new());
    for case in cases {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (timeline, expected) = rest.split_once("--\n").unwrap_or_else(|| panic!("{title}: no --"));
        let log = play(timeline);
        if log.trim() != expected.trim() {
            wrong.push(format!("{title}\nexpected:\n{expected}\nis:\n{log}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(count, 26);
}

fn play(timeline: &str) -> String {
    let mut world = World::new(RingRecord::default());
    let seconds = |word: &str| Millis((word.parse::<f64>().expect("seconds") * 1000.0) as u64);
    for line in timeline.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["ring", ..] => {
                let members = words[1..].iter().map(|word| member_of(&read(word))).collect();
                world.record = RingRecord { epoch: 1, members };
            }
            ["at", at, ..] => {
                let present = words[2..].iter().filter(|word| **word != "-").map(|word| read(word)).collect();
                world.go_to(seconds(at), present);
            }
            ["asleep"] => world.wake = None,
            ["until", end] => world.pass_until(seconds(end)),
            _ => panic!("not understood: {line}"),
        }
    }
    world.log
}

fn read(word: &str) -> Presence {
    let name_end = word.find(['!', '.', '*', '@']).unwrap_or(word.len());
    let after = |sign: char| {
        let (_, rest) = word.split_once(sign)?;
        Some(rest.split(['!', '.', '*', '@']).next().unwrap_or(rest).to_owned())
    };
    Presence {
        name: word[..name_end].to_owned(),
        incarnation: Uid([after('.').map_or(1, |start| start.parse().expect("a start")); 16]),
        address: after('@').unwrap_or_else(|| "home".to_owned()),
        weight: after('*').map_or(100, |weight| weight.parse().expect("a weight")),
        draining: word.contains('!'),
    }
}

fn written(member: &RingMember) -> String {
    let mut text = member.name.clone();
    if member.incarnation.0[0] != 1 {
        write!(text, ".{}", member.incarnation.0[0]).expect("a string");
    }
    if member.weight != 100 {
        write!(text, "*{}", member.weight).expect("a string");
    }
    if member.address != "home" {
        write!(text, "@{}", member.address).expect("a string");
    }
    text
}

#[test]
fn what_waits_is_told() {
    let ring =
        |words: &[&str]| RingRecord { epoch: 1, members: words.iter().map(|word| member_of(&read(word))).collect() };
    let seen = |record: &RingRecord, words: &[&str], later: &[&str]| {
        let mut membership = Membership::default();
        let read_all = |words: &[&str]| words.iter().map(|word| read(word)).collect::<Vec<_>>();
        membership.observe(record, &read_all(words), Millis(0));
        let notes = membership.observe(record, &read_all(later), Millis(500)).notes;
        notes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(seen(&ring(&["a"]), &["a", "b"], &["a", "b"]), ["b is there and joins in 3 s"]);
    assert_eq!(seen(&ring(&["a", "b"]), &["a"], &["a"]), ["b is gone and leaves in 5 s"]);
    assert_eq!(
        seen(&ring(&["a", "b", "c"]), &["a"], &["a"]),
        ["b is gone with many others and leaves in 30 s", "c is gone with many others and leaves in 30 s"]
    );
    assert_eq!(seen(&ring(&["a"]), &["a!"], &["a!"]), ["a is gone or draining and stays a member: nobody else serves"]);
    assert_eq!(seen(&ring(&["a"]), &[], &[]), ["no hub process is seen: the ring stays as it is"]);
    let invalid = seen(&ring(&["a"]), &["a"], &["a", "b*0"]);
    assert_eq!(invalid, ["a hub process cannot join: hub process b has weight 0: use 1 to 1000"]);
}

#[test]
fn a_full_ring_takes_nobody_else() {
    let names: Vec<String> = (0..MEMBERS_LIMIT + 2).map(|index| format!("hub-{index:03}")).collect();
    let present: Vec<Presence> = names.iter().map(|name| read(name)).collect();
    let observation = Membership::default().observe(&RingRecord::default(), &present, Millis(0));
    assert_eq!(observation.next.map(|next| next.members.len()), Some(MEMBERS_LIMIT));
    let notes: Vec<String> = observation.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes[1], "hub-257 cannot join: the ring has 256 members, the most it can");
}

#[test]
fn a_record_that_was_not_committed_is_returned_again() {
    let mut membership = Membership::default();
    let present = [read("a")];
    let first = membership.observe(&RingRecord::default(), &present, Millis(0));
    assert!(first.next.is_some() && first.wake == Some(Millis(2_000)));
    assert_eq!(membership.observe(&RingRecord::default(), &present, Millis(2_000)).next, first.next);
}
