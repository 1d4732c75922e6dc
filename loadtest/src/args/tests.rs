use super::*;

fn parse(line: &str) -> Result<Scenario> {
    let words = std::iter::once("netcluster-loadtest").chain(line.split_whitespace());
    match Arguments::try_parse_from(words)?.command {
        Task::Local(local) => local.scenario(),
        _ => bail!("another task"),
    }
}

#[test]
fn flags_become_a_scenario() {
    let scenario = parse("local --emitters 4 --listeners 4 --events 4 --size 64").unwrap();
    let expected = Scenario {
        emitters: 4,
        listeners: 4,
        events: 4,
        seconds: DEFAULT_SECONDS,
        ..Scenario::default()
    };
    assert_eq!(scenario, expected);
    assert_eq!(parse("local --connections 1000").unwrap().events, 1000);
    assert_eq!(parse("local --round-trip --emitters 3").unwrap().listeners, 3);
    for baseline in ["--baseline", "--baseline bare", "--against bare"] {
        let scenario = parse(&format!("local {baseline} --size 16")).unwrap();
        assert_eq!(scenario.seconds, DEFAULT_PAIR_SECONDS, "{baseline}");
    }
}

#[test]
fn shared_memory_is_used_unless_it_is_off() {
    let auto = Transport::default();
    assert_eq!(parse("local").unwrap().transport, auto);
    assert_eq!(parse("local --shared-memory auto").unwrap().transport, auto);
    assert_eq!(parse("local --shared-memory off").unwrap().transport, Transport::SOCKETS);
    assert_eq!(parse("local --spin-us 50").unwrap().transport.spin_us, 50);
    let mixed = parse("local --shared-memory off --beside auto --baseline sockets").unwrap();
    assert_eq!(mixed.transport, Transport::SOCKETS);
    assert_eq!(mixed.beside, Some(SharedMemory::Auto));
}

#[test]
fn many_connections_are_clients_where_it_is_about_shared_memory() {
    for (line, by_clients) in [
        ("local --connections 5", false),
        ("local --connections 5 --shared-memory off", false),
        ("local --connections 5 --shared-memory auto", true),
        ("local --connections 5 --baseline sockets", true),
        ("local --baseline sockets", false),
    ] {
        assert_eq!(parse(line).unwrap().by_clients, by_clients, "{line}");
    }
}

#[test]
fn wrong_flags_are_named() {
    for (line, flag) in [
        ("local --size 15", "--size"),
        ("local --size 16 --rate 5", "--size"),
        ("local --size 17000000", "--size"),
        ("local --rate 0", "--rate"),
        ("local --emitters 0", "--emitters"),
        ("local --seconds nan", "--seconds"),
        ("local --seconds -1", "--seconds"),
        ("local --count 5 --seconds 1", "--seconds"),
        ("local --connections 0", "--connections"),
        ("local --connections 5 --events 2", "--events"),
        ("local --idle 5", "--connections"),
        ("local --round-trip --listeners 2", "--round-trip"),
        ("local --emitters 2 --listeners 2 --baseline", "--baseline"),
        ("local --connections 5 --baseline", "--baseline"),
        ("local --baseline --against poll", "--against"),
        ("local --baseline bare --round-trip", "--round-trip"),
        ("local --baseline bear", "--baseline"),
        ("local --only bare --patterns 5", "--only"),
        ("local --repeats 0 --baseline", "--repeats"),
        ("local --backend kqueue", "--backend"),
        ("local --shared-memory on", "--shared-memory"),
        ("local --shared-memory off --baseline sockets", "--shared-memory"),
        ("local --only sockets", "--shared-memory off"),
        ("local --only relay --shared-memory off", "--only"),
        ("local --spin-us 1000000", "--spin-us"),
        ("local --connections 5 --idle 1 --beside auto", "--beside"),
    ] {
        let error = parse(line).expect_err(line).to_string();
        assert!(error.contains(flag), "{line}: {error}");
    }
}
