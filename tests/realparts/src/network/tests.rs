use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::*;
use crate::process::{Launch, Process};
use crate::wait::wait_for;

const PATIENCE: Duration = Duration::from_secs(20);

/// Accepts on an address of the machine for as long as the test runs.
fn listen(network: &Network, side: Side) -> SocketAddr {
    let listener = TcpListener::bind((network.machine(side), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    address
}

/// A shell in a namespace that says again and again whether it reaches an address: `reached`, `silence` or `refused`.
fn caller(folder: &Path, name: &str, namespace: &Namespace, to: SocketAddr) -> Process {
    let call = format!("timeout 0.5 bash -c 'echo > /dev/tcp/{}/{}' 2> /dev/null", to.ip(), to.port());
    let script = format!(
        "while :; do {call}; case $? in 0) echo reached;; 124) echo silence;; *) echo refused;; esac; sleep 0.1; done"
    );
    let launch = Launch::new(name, Path::new("bash"), folder).args(["-c", &script]).inside(namespace);
    Process::start(launch).unwrap()
}

/// Waits until the newest lines all say the same.
fn says(process: &Process, word: &str) {
    let answered = process.wait_until(&format!("says {word}"), PATIENCE, || {
        let tail = process.log_tail();
        let newest: Vec<&str> = tail.lines().rev().take(3).collect();
        if newest == [word; 3] { Ok(()) } else { Err(tail) }
    });
    answered.unwrap();
}

#[test]
fn each_side_is_cut_in_silence_and_healed_alone_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::start(folder.path()).unwrap();
    let link = network.block.machine_link(Side::Front);
    let (one, two) = (network.attach("one").unwrap(), network.attach("two").unwrap());
    let (front, back) = (listen(&network, Side::Front), listen(&network, Side::Back));
    let at_front = caller(folder.path(), "front", &one, front);
    let at_back = caller(folder.path(), "back", &one, back);
    let neighbour = caller(folder.path(), "neighbour", &two, SocketAddr::from((one.address(Side::Front), 9)));
    says(&at_front, "reached");
    says(&at_back, "reached");
    says(&neighbour, "refused");

    network.isolate(&one, Side::Back).unwrap();
    says(&at_back, "silence");
    says(&at_front, "reached");
    network.heal(&one, Side::Back).unwrap();
    says(&at_back, "reached");

    network.isolate(&one, Side::Front).unwrap();
    says(&at_front, "silence");
    says(&neighbour, "silence");
    says(&at_back, "reached");
    network.heal(&one, Side::Front).unwrap();
    says(&at_front, "reached");

    // The calls arrive, their answers do not.
    network.cut(Side::Front, End::Machine, End::Namespace(&one)).unwrap();
    says(&at_front, "silence");
    says(&neighbour, "refused");
    network.mend(Side::Front, End::Machine, End::Namespace(&one)).unwrap();
    says(&at_front, "reached");

    assert!(tool::ask(&["-brief", "link"]).unwrap().contains(&link));
    drop((at_front, at_back, neighbour, one, two, network));
    wait_for("the links to go", PATIENCE, || {
        let links = tool::ask(&["-brief", "link"])?;
        if links.contains(&link) { Err(links) } else { Ok(()) }
    })
    .unwrap();
}

#[test]
fn a_connection_survives_a_short_cut() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::start(folder.path()).unwrap();
    let namespace = network.attach("one").unwrap();
    let listener = TcpListener::bind((network.machine(Side::Back), 0)).unwrap();
    let machine = listener.local_addr().unwrap();
    let script = format!("exec 3<>/dev/tcp/{}/{}; cat <&3 >&3", machine.ip(), machine.port());
    let launch = Launch::new("echo", Path::new("bash"), folder.path()).args(["-c", &script]).inside(&namespace);
    let _echo = Process::start(launch).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let echoed = |stream: &mut TcpStream| {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        byte[0]
    };
    stream.write_all(b"a").unwrap();
    assert_eq!(echoed(&mut stream), b'a');

    network.isolate(&namespace, Side::Back).unwrap();
    stream.write_all(b"b").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(stream.read(&mut [0]).is_err(), "nothing comes through");
    network.heal(&namespace, Side::Back).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(echoed(&mut stream), b'b');
}
