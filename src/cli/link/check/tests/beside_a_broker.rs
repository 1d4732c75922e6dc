//! Answers of the broker that runs on this machine to a check.

use netcluster::status::{LinkIo, Status};
use netcluster_link::LinkStatus;
use netcluster_link::status::PeerStatus;

use super::*;
use crate::cli::link::check::running;

/// A trial in which db2 was found, and the broker of this machine, that has it as a peer.
fn trial_and_running() -> (Trial, Status) {
    let mut trial = Trial::new(options(&key(1)));
    trial.meet(&mut broker(&key(1), 2, |_| {}), "10.0.0.2:4000", GOOD);
    let peer = PeerStatus {
        node: "00000002".into(),
        path: "multicast".into(),
        is_multicast_heard: true,
        is_joined: true,
        since_ms: 60_000,
        ..PeerStatus::default()
    };
    let link = LinkStatus {
        cluster: "office".into(),
        group: GROUP.into(),
        groups: trial.options.groups,
        is_sealed: true,
        peers: vec![peer],
        ..LinkStatus::default()
    };
    let mut io = LinkIo::default();
    io.interface = "eth0".into();
    let mut status = Status::default();
    (status.node, status.uptime_ms) = ("00000001".into(), 60_000);
    (status.link, status.link_io) = (Some(link), Some(io));
    (trial, status)
}

fn running_findings(change: impl FnOnce(&mut Status, &mut LinkStatus)) -> Vec<Finding> {
    let (mut trial, mut status) = trial_and_running();
    trial.findings();
    let mut link = status.link.take().unwrap();
    change(&mut status, &mut link);
    status.link = Some(link);
    let heard = neighbours::list(&trial.options, &trial.seen);
    running::findings(&trial.options, &trial.seen, &heard, &Ok(status))
}

#[test]
fn the_broker_that_runs_here_is_asked_what_it_sees() {
    let [well] = &running_findings(|_, _| {})[..] else { panic!("one") };
    is(well, Level::Ok, "broker", "is linked with 1");
    // A firewall that lets answers pass: the check hears db2, the broker does not.
    let unlinked = running_findings(|_, link| link.peers.clear());
    is(&unlinked[0], Level::Problem, "broker", "db2 (10.0.0.2:4000) answers the check, and is not");
    let young = running_findings(|status, link| {
        link.peers.clear();
        link.is_discovering = true;
        status.uptime_ms = 900;
    });
    assert!(young.iter().all(|finding| finding.level == Level::Ok), "{young:?}");
    let deaf = running_findings(|_, link| {
        link.peers[0].deaf_groups = vec!["239.255.44.57".into()];
    });
    assert!(deaf[0].level == Level::Warning && deaf[0].text.contains("239.255.44.57"), "{deaf:?}");
}

#[test]
fn a_broker_that_is_not_the_one_that_was_checked_is_a_problem() {
    let elsewhere = running_findings(|status, _| {
        status.link_io.as_mut().unwrap().interface = "eth1".into();
    });
    let [only] = &elsewhere[..] else { panic!("{elsewhere:?}") };
    is(only, Level::Problem, "broker", "its interface is eth1, what was looked at is eth0");
    let other = running_findings(|_, link| link.cluster = "lab".into());
    is(&other[0], Level::Problem, "broker", "its cluster is lab, what was looked at is office");
    let open = running_findings(|_, link| link.is_sealed = false);
    is(
        &open[0],
        Level::Problem,
        "broker",
        "its link is without a key, what was looked at is with a key",
    );
    let (trial, _) = trial_and_running();
    let of = |running| running::findings(&trial.options, &trial.seen, &[], &running);
    is(&of(Ok(Status::default()))[0], Level::Problem, "broker", "has no link");
    is(&of(Err("nobody is there".into()))[0], Level::Note, "broker", "nobody is there");
}
