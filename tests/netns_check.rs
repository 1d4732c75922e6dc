//! Words of `link check`, `peers` and the log about a network that lets some things pass
//! and others not.

#![cfg(target_os = "linux")]

#[path = "support/hosts.rs"]
mod hosts;
mod support;

use hosts::{Broker, GROUP_V4, Site, any_backend, count, run};
use serde_json::Value;
use support::wait_until;

const LINK: [&str; 4] = ["--link", GROUP_V4, "--interface", "eth0"];

/// Lets a host drop packets that come in and match.
fn drop_incoming(site: &Site, host: usize, what: &str) {
    run(
        site.host(host),
        "nft",
        &format!(
            "add table inet wall; add chain inet wall in {{ type filter hook input priority 0 ; }} ; \
             add rule inet wall in iifname eth0 {what} drop"
        ),
    );
}

/// Returns whether a check beside a broker finds all well, and its findings.
fn checked(broker: &Broker<'_>, host: usize, options: &[&str]) -> (bool, Value) {
    let arguments = [&["link", "check", "--json"], options].concat();
    let done = broker.start(host, &arguments).finish();
    assert!(matches!(done.code(), Some(0 | 1)), "{done:?}");
    let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
    (done.status.success(), report["findings"].clone())
}

fn has(findings: &Value, level: &str, words: &str) -> bool {
    let mut all = findings.as_array().expect("a list").iter();
    all.any(|it| it["level"] == level && it["text"].as_str().is_some_and(|it| it.contains(words)))
}

#[test]
fn brokers_that_reach_each_other_are_well_and_so_says_the_one_that_runs() {
    let Some(site) = Site::new(2) else { return };
    let brokers = site.brokers(any_backend(), &LINK);
    wait_until("the brokers have settled", || brokers[1].status().uptime_ms > 5_500);
    let (is_well, findings) = checked(&brokers[1], 1, &LINK);
    assert!(is_well, "{findings:#}");
    assert!(has(&findings, "ok", "the broker that runs here is linked with 1"), "{findings:#}");
}

/// Datagrams that are sent to host 0 alone are dropped there; multicast passes, and so
/// does all that host 0 sends. Host 0 answers what is asked by multicast, so that all
/// looked well from host 1.
#[test]
fn a_firewall_that_lets_pass_one_way_alone_is_a_problem_and_named_on_both_sides() {
    let Some(site) = Site::new(2) else { return };
    drop_incoming(&site, 0, "ip daddr != 224.0.0.0/4 meta l4proto udp");
    let brokers = [0, 1].map(|host| site.broker(host, any_backend(), &LINK));
    for (broker, other) in brokers.iter().zip(["host1", "host0"]) {
        let words = format!("broker {other} at ");
        wait_until("the other one is named", || {
            let unlinked = broker.status().link.expect("a link").unlinked;
            unlinked.iter().any(|it| it.name == other)
        });
        broker.process.wait_for_notice(&words);
        broker.process.wait_for_notice("is heard, but does not answer");
        let page = broker.start(0, &["peers"]).finish().succeeded().stdout;
        assert!(page.contains(&format!("! {other} at ")), "{page}");
    }
    wait_until("the brokers have settled", || brokers[1].status().uptime_ms > 5_500);
    let (is_well, findings) = checked(&brokers[1], 1, &LINK);
    assert!(!is_well, "{findings:#}");
    assert!(has(&findings, "problem", "not what is sent to it alone"), "{findings:#}");
    assert!(has(&findings, "problem", "is not linked with the broker"), "{findings:#}");
    let (is_well, findings) = checked(&brokers[0], 0, &LINK);
    assert!(!is_well, "{findings:#}");
    assert!(has(&findings, "problem", "is heard, but does not answer"), "{findings:#}");
}

#[test]
fn a_broker_on_another_interface_than_the_one_checked_is_a_problem() {
    let Some(site) = Site::new(1) else { return };
    let broker = site.broker(0, any_backend(), &LINK);
    let (is_well, findings) = checked(&broker, 0, &["--link", GROUP_V4, "--interface", "lo"]);
    assert!(!is_well, "{findings:#}");
    let words = "its interface is eth0, what was looked at is lo";
    assert!(has(&findings, "problem", words), "{findings:#}");
}

/// The control group passes, those of channels do not.
#[test]
fn a_group_that_is_filtered_is_named_by_peers_and_by_a_check() {
    let Some(site) = Site::new(2) else { return };
    drop_incoming(&site, 1, "ip daddr 239.255.44.55-239.255.44.70");
    let brokers = site.brokers(any_backend(), &LINK);
    let listener = brokers[1].listener();
    let emitter = brokers[0].client();
    let mut emitted = 0;
    wait_until("its events come by unicast", || {
        count(&emitter, emitted..emitted + 20);
        emitted += 20;
        !brokers[1].peers()[0].deaf_groups.is_empty()
    });
    let words = "of host0 arrives, but not in the groups 239.255.44.";
    let page = brokers[1].start(1, &["peers"]).finish().succeeded().stdout;
    assert!(page.contains(words), "{page}");
    let (_, findings) = checked(&brokers[1], 1, &LINK);
    assert!(has(&findings, "warning", words), "{findings:#}");
    listener.take_counts(1, emitted);
}
