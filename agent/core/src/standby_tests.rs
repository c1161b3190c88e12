//! Agents of one cluster around one Lease, each with a clock of its own.

use rstest::rstest;

use super::*;

/// A Lease on an API server.
#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    writes: u64,
    is_away: bool,
}

/// An agent on a machine whose time since boot begins elsewhere, and runs faster or slower.
struct Machine {
    election: Election,
    boot: u64,
    percent: u64,
    is_paused: bool,
    /// What was asked before the pause and is answered to after it.
    term_ends: u32,
    was_active: bool,
}

impl Server {
    fn write(&mut self, write: &LeaseWrite) -> Result<Lease, Failure> {
        if self.is_away {
            return Err(Failure::Unavailable);
        }
        if self.lease.as_ref().map(|lease| lease.version.clone()) != write.expected {
            return Err(Failure::Conflict);
        }
        self.writes += 1;
        let lease = Lease {
            holder: write.holder.clone(),
            duration: write.duration,
            transitions: write.transitions,
            version: self.writes.to_string(),
        };
        self.lease = Some(lease.clone());
        Ok(lease)
    }
}

impl Machine {
    fn new(name: &str, boot: u64, percent: u64) -> Self {
        let election = Election::new(name.to_owned(), Millis(boot));
        Self { election, boot, percent, is_paused: false, term_ends: 0, was_active: false }
    }

    fn uptime(&self, now: u64) -> Millis {
        Millis(self.boot + now * self.percent / 100)
    }

    /// Does what is due, as the shell does.
    fn turn(&mut self, server: &mut Server, now: u64) {
        let uptime = self.uptime(now);
        if self.is_paused {
            return;
        }
        if self.was_active && !self.election.is_active(uptime) {
            self.election.stepped_down();
            self.term_ends += 1;
        }
        let mut entropy = || now.wrapping_mul(7919);
        if uptime >= self.election.due() {
            let write = match self.election.request(uptime) {
                Request::Write(write) => Some(write),
                Request::Read if server.is_away => {
                    self.election.failed(Failure::Unavailable, uptime, &mut entropy);
                    None
                }
                Request::Read => self.election.read(server.lease.clone(), uptime, &mut entropy),
            };
            match write.map(|write| server.write(&write)) {
                Some(Ok(lease)) => self.election.wrote(lease, uptime, uptime),
                Some(Err(failure)) => self.election.failed(failure, uptime, &mut entropy),
                None => {}
            }
        }
        self.was_active = self.election.is_active(uptime);
    }
}

/// Runs the machines for a while; every moment at most one of those that run is active. Returns who is at the end.
fn run(machines: &mut [Machine], server: &mut Server, span: std::ops::Range<u64>) -> Vec<usize> {
    let mut active = Vec::new();
    for now in span.step_by(50) {
        for machine in machines.iter_mut() {
            machine.turn(server, now);
        }
        let running =
            |(_, machine): &(usize, &Machine)| !machine.is_paused && machine.election.is_active(machine.uptime(now));
        active = machines.iter().enumerate().filter(running).map(|(index, _)| index).collect();
        assert!(active.len() <= 1, "{active:?} at {now}");
    }
    active
}

/// Boot times a year apart and clocks that run 3 % apart: nobody compares them.
fn pair() -> [Machine; 2] {
    [Machine::new("one", 0, 100), Machine::new("two", 31_536_000_000, 103)]
}

fn release(machine: &mut Machine, server: &mut Server) {
    let write = machine.election.release().unwrap();
    server.write(&write).unwrap();
}

#[test]
fn one_of_two_becomes_active_and_stays_so() {
    let (mut machines, mut server) = (pair(), Server::default());
    assert_eq!(run(&mut machines, &mut server, 0..600_000), [0]);
    assert_eq!((machines[0].term_ends, machines[1].term_ends), (0, 0));
    let lease = server.lease.unwrap();
    assert_eq!((lease.holder.as_str(), lease.transitions), ("one", 0));
    assert!((110..=121).contains(&server.writes), "{} renewals in ten minutes", server.writes);
}

/// The holder is lost, with its Lease renewed last at a moment of every kind.
#[rstest]
fn a_standby_takes_over_about_a_lease_after_the_last_renewal(#[values(0, 800, 1700, 2500, 4950)] phase: u64) {
    let (mut machines, mut server) = (pair(), Server::default());
    let lost = 60_000 + phase;
    assert_eq!(run(&mut machines, &mut server, 0..lost), [0]);
    machines[0].is_paused = true;
    // 15 s after it saw the last renewal, which it saw within a look.
    assert_eq!(run(&mut machines, &mut server, lost..lost + 8_000), [0; 0]);
    assert_eq!(run(&mut machines, &mut server, lost + 8_000..lost + 18_000), [1]);
    assert_eq!(server.lease.as_ref().unwrap().transitions, 1);
}

#[test]
fn a_paused_holder_wakes_and_is_not_active() {
    let (mut machines, mut server) = (pair(), Server::default());
    run(&mut machines, &mut server, 0..60_000);
    machines[0].is_paused = true;
    assert_eq!(run(&mut machines, &mut server, 60_000..100_000), [1]);
    // Before it did anything it knows that its time is over.
    assert!(!machines[0].election.is_active(machines[0].uptime(100_000)));
    machines[0].is_paused = false;
    assert_eq!(run(&mut machines, &mut server, 100_000..200_000), [1]);
    assert_eq!(machines[0].term_ends, 1);
}

#[test]
fn a_paused_standby_that_wakes_takes_nothing_by_what_it_saw_before() {
    let (mut machines, mut server) = (pair(), Server::default());
    run(&mut machines, &mut server, 0..60_000);
    let stale = server.lease.clone();
    machines[1].is_paused = true;
    assert_eq!(run(&mut machines, &mut server, 60_000..120_000), [0]);
    // An answer that was under way when it was paused: unchanged for a minute, as far as it can tell.
    let uptime = machines[1].uptime(120_000);
    let write = machines[1].election.read(stale, uptime, &mut || 0).unwrap();
    assert_eq!(server.write(&write), Err(Failure::Conflict));
    machines[1].election.failed(Failure::Conflict, uptime, &mut || 0);
    machines[1].is_paused = false;
    assert_eq!(run(&mut machines, &mut server, 120_000..200_000), [0]);
}

#[test]
fn a_holder_without_its_api_server_stops_in_time_and_comes_back() {
    let (mut machines, mut server) = (pair(), Server::default());
    run(&mut machines, &mut server, 0..60_000);
    server.is_away = true;
    assert_eq!(run(&mut machines, &mut server, 60_000..64_000), [0]);
    assert_eq!(run(&mut machines, &mut server, 64_000..70_100), [0; 0]);
    assert_eq!(machines[0].term_ends, 1);
    assert_eq!(run(&mut machines, &mut server, 70_100..90_000), [0; 0]);
    server.is_away = false;
    // Whoever looks first: the Lease is still the first one's own, and over for the second.
    assert_eq!(run(&mut machines, &mut server, 90_000..95_000).len(), 1);
    assert_eq!(run(&mut machines, &mut server, 95_000..200_000).len(), 1);
}

#[test]
fn a_short_outage_of_the_api_server_changes_nothing() {
    let (mut machines, mut server) = (pair(), Server::default());
    run(&mut machines, &mut server, 0..60_000);
    for start in (60_000..120_000).step_by(20_000) {
        server.is_away = true;
        run(&mut machines, &mut server, start..start + 4_000);
        server.is_away = false;
        assert_eq!(run(&mut machines, &mut server, start + 4_000..start + 20_000), [0]);
    }
    assert_eq!(machines[0].term_ends, 0);
}

#[test]
fn a_released_lease_is_taken_at_the_next_look() {
    let (mut machines, mut server) = (pair(), Server::default());
    run(&mut machines, &mut server, 0..60_000);
    release(&mut machines[0], &mut server);
    machines[0].is_paused = true;
    assert_eq!(run(&mut machines, &mut server, 60_000..62_500), [1]);
    // The second has nothing to release but its own.
    assert!(machines[0].election.release().is_some_and(|write| server.write(&write).is_err()));
}

#[test]
fn a_lost_answer_is_found_out() {
    let (mut machines, mut server) = (pair(), Server::default());
    run(&mut machines, &mut server, 0..60_000);
    // The renewal arrives, its answer does not.
    let uptime = machines[0].uptime(60_000);
    let Request::Write(write) = machines[0].election.request(uptime) else { panic!("a holder renews at once") };
    server.write(&write).unwrap();
    machines[0].election.failed(Failure::Unavailable, uptime, &mut || 0);
    assert_eq!(machines[0].election.request(uptime), Request::Read);
    assert_eq!(run(&mut machines, &mut server, 60_000..120_000), [0]);
    assert_eq!(machines[0].term_ends, 0);
}

#[test]
fn whoever_edits_the_lease_by_hand_does_not_confuse_anybody() {
    let (mut machines, mut server) = (pair(), Server::default());
    run(&mut machines, &mut server, 0..60_000);
    server.lease.as_mut().unwrap().version = "annotated".to_owned();
    assert_eq!(run(&mut machines, &mut server, 60_000..90_000), [0]);
    // Somebody who wants it to be free deletes it.
    server.lease = None;
    assert_eq!(run(&mut machines, &mut server, 90_000..120_000).len(), 1);
    // A holder that does not exist, for a duration beyond reason.
    let forged = Lease {
        holder: "nobody".to_owned(),
        duration: Duration::from_secs(86_400),
        transitions: 7,
        version: "forged".to_owned(),
    };
    server.lease = Some(forged);
    assert_eq!(run(&mut machines, &mut server, 120_000..130_000), [0; 0]);
    assert_eq!(run(&mut machines, &mut server, 130_000..190_000).len(), 1);
    assert_eq!(server.lease.unwrap().transitions, 8);
}

#[test]
fn a_restarted_agent_of_the_same_name_goes_on_at_once() {
    let (mut machines, mut server) = (pair(), Server::default());
    run(&mut machines, &mut server, 0..60_000);
    machines[0] = Machine::new("one", 77, 100);
    assert_eq!(run(&mut machines, &mut server, 60_000..60_100), [0]);
}
