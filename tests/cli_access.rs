//! Access rules on the command line: settings, refusals, live changes.

#![cfg(target_os = "linux")]

mod support;

use support::{Broker, NOBODY, Process, unprivileged};

/// Runs a command as an unprivileged user; `None` where that is not possible.
fn run_as_nobody(broker: &Broker, arguments: &[&str]) -> Option<support::Done> {
    Some(Process::start(unprivileged(broker.command(arguments))?).finish())
}

#[test]
fn commands_fail_by_what_rules_refuse_and_a_reload_lets_them_pass() {
    let directory = support::Directory::new();
    let config = directory.file(
        "n.toml",
        &format!("[access.sensors]\nuser = '{NOBODY}'\nemit = 'sensor.**'\nlisten = 'cmd'\n"),
    );
    let options = ["--socket-mode", "0666", "--config", config.to_str().unwrap()];
    let broker = Broker::start_with("auto", &options);
    let mut on = broker.on(&["**", "--format", "raw"]);
    let Some(done) = run_as_nobody(&broker, &["emit", "secret", "1"]) else { return };
    assert_eq!(done.code(), Some(1), "{done:?}");
    let reason = format!(
        "the event secret is not allowed: user {NOBODY} may emit sensor.** on channel default, by \
         [access] sensors: it was not delivered"
    );
    assert!(done.stderr.contains(&reason), "{done:?}");
    run_as_nobody(&broker, &["emit", "sensor.a", "2"]).unwrap().succeeded();
    assert_eq!(on.line(), "2");
    let done = run_as_nobody(&broker, &["on", "secret", "--timeout", "1min"]).unwrap();
    assert_eq!(done.code(), Some(1), "{done:?}");
    assert!(done.stderr.contains("may listen to cmd on channel default"), "{done:?}");
    let lines = unprivileged(broker.command(&["emit", "secret"])).unwrap();
    let done = Process::start_with_input(lines, "1\n2\n3\n4\n").finish();
    assert_eq!(done.code(), Some(1), "{done:?}");
    let status = broker.status();
    assert_eq!(status["totals"]["forbidden_events"], 5, "one, and four lines");
    assert_eq!(status["totals"]["forbidden_patterns"], 1);

    directory.file("n.toml", "access-default = 'deny'\n");
    let reloaded = broker.run(&["reload", "--json"]).succeeded();
    assert!(reloaded.stdout.contains("access-default"), "{reloaded:?}");
    assert!(reloaded.stdout.contains("access.sensors.emit"), "{reloaded:?}");
    let done = run_as_nobody(&broker, &["emit", "sensor.a", "3"]).unwrap();
    assert!(done.stderr.contains("as no rule of [access] is for it"), "{done:?}");
    broker.run(&["emit", "n", "root may everything"]).succeeded();
    assert_eq!(on.line(), "root may everything");

    directory.file("n.toml", "[access.a]\nuser = 'no-such-user-here'\n");
    let done = broker.run(&["reload"]);
    assert!(done.stderr.contains("n.toml:2:1: access.a.user: there is no user"), "{done:?}");
    directory.file("n.toml", "");
    broker.run(&["reload"]).succeeded();
    run_as_nobody(&broker, &["emit", "anything", "4"]).unwrap().succeeded();
    assert_eq!(on.line(), "4");
}
