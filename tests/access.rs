//! Access rules: clients of another user, who may do what the rules allow and nothing else.

#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;

use common::{Bed, Bus, PATIENCE, Raw, on_all, take, wait_until};
use netcluster::{AccessOptions, Broker, BrokerOptions};
use netcluster_client::{Client, ClientBuilder, Error, ErrorKind, Lifecycle, RecvError};
use netcluster_wire::{ErrorCode, Hello, Kind};

/// User of the clients that rules are for, and a group of theirs.
const USER: u32 = 65_533;
const GROUP: u32 = 65_531;

/// Options of a rule: who it is for, on which channels, emits and listens to what.
fn rule(who: &str, channels: &[&str], emit: &[&str], listen: &[&str]) -> AccessOptions {
    let list = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let mut options = AccessOptions::default();
    match who.split_once('=') {
        Some(("group", group)) => options.groups = vec![group.to_owned()],
        Some(("user", user)) => options.users = vec![user.to_owned()],
        _ => {}
    }
    options.channels = list(channels);
    options.emit = list(emit);
    options.listen = list(listen);
    options
}

fn rules(all: &[AccessOptions]) -> BTreeMap<String, AccessOptions> {
    let named = all.iter().enumerate();
    named.map(|(number, rule)| (format!("rule-{number}"), rule.clone())).collect()
}

fn restrict(options: &mut BrokerOptions, all: &[AccessOptions]) {
    options.bind.mode = 0o666;
    options.access = rules(all);
}

/// Gives a broker that runs other rules.
fn reload(bed: &Bed, bus: &Bus, all: &[AccessOptions]) {
    let mut options = bed.options(&bus.path);
    restrict(&mut options, all);
    bus.broker.as_ref().unwrap().reloader().reload(&options).unwrap();
}

/// Does something as another user: on a thread that is his from then on, as are those that it
/// starts. `None`, with the reason printed, where only root could.
fn as_user<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
    use rustix::{fs::Gid, fs::Uid};
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can be another user");
        return None;
    }
    let work = move || {
        set_thread_groups(&[Gid::from_raw(GROUP)]).unwrap();
        set_thread_gid(Gid::from_raw(USER)).unwrap();
        set_thread_uid(Uid::from_raw(USER)).unwrap();
        work()
    };
    Some(thread::spawn(work).join().unwrap())
}

/// Connects a client of that user. Returns what its lifecycle tells, too.
fn client_of_user(
    bus: &Bus,
    change: impl FnOnce(ClientBuilder) -> ClientBuilder + Send + 'static,
) -> Option<(Client, mpsc::Receiver<Lifecycle>)> {
    let path = bus.path.clone();
    let (told, tells) = mpsc::channel();
    let listener = move |happened: &Lifecycle| drop(told.send(happened.clone()));
    let connect = move || common::connect(&path, |it| change(it).on_lifecycle(listener));
    as_user(connect).map(|client| (client, tells))
}

/// Returns the errors of this kind that a client was told so far.
fn forbidden(tells: &mpsc::Receiver<Lifecycle>) -> Vec<String> {
    let errors = tells.try_iter().filter_map(|happened| match happened {
        Lifecycle::Error(error) if error.kind() == ErrorKind::Forbidden => Some(error.to_string()),
        _ => None,
    });
    errors.collect()
}

fn is_forbidden<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Forbidden(_)))
}

on_all! {
    fn what_no_rule_allows_is_refused_told_and_counted_and_all_else_goes_on(bed) {
        let user = format!("user={USER}");
        let rule = rule(&user, &["default"], &["sensor.**"], &["cmd.*"]);
        let bus = bed.bus_with(|options| restrict(options, &[rule]));
        let free = bus.client();
        let heard = free.subscribe("**").unwrap();
        let Some((client, tells)) = client_of_user(&bus, |it| it) else { return };
        let commands = client.subscribe("cmd.*").unwrap();
        assert!(is_forbidden(client.subscribe("**")));
        assert!(is_forbidden(client.subscribe("cmd.**")));
        assert!(is_forbidden(client.audience("secret")));
        let Err(Error::Forbidden(text)) = client.subscribe("secret.*") else { panic!() };
        let expected = format!(
            "the pattern secret.* is not allowed: user {USER} may listen to cmd.* on channel \
             default, by [access] rule-0"
        );
        assert_eq!(text, expected);
        client.ping().unwrap();
        assert_eq!(forbidden(&tells).len(), 3, "of patterns");

        let large = vec![7; 1 << 20];
        for number in 0..1000u32 {
            client.emit("sensor.a", number.to_le_bytes()).unwrap();
            client.emit(&format!("secret.{}", number % 7), b"x").unwrap();
        }
        client.emit("secret.large", &large).unwrap();
        client.emit("sensor.large", &large).unwrap();
        client.ping().unwrap();
        let told = forbidden(&tells);
        assert!(told[0].contains("the event secret.0 is not allowed"), "{told:?}");
        assert!(told[0].contains(&format!("user {USER} may emit sensor.**")), "{told:?}");
        assert!(told.len() <= 12, "not one for each: {told:?}");
        let number = |text: &String| {
            let end = text.find(" events were not").unwrap_or(0);
            text[..end].rsplit(' ').next().unwrap().parse().unwrap_or(1)
        };
        assert_eq!(told.iter().map(number).sum::<u64>(), 1001, "{told:?}");
        for number in 0..1000u32 {
            let message = take(&heard);
            assert_eq!((message.event(), message.payload()), ("sensor.a", &number.to_le_bytes()[..]));
        }
        assert_eq!(take(&heard).payload(), large);
        free.emit("cmd.go", b"go").unwrap();
        assert_eq!(take(&commands).payload(), b"go");
        assert!(matches!(heard.try_recv(), Err(RecvError::Empty)), "nothing else was heard");

        let status = bus.status();
        assert_eq!(status.totals.forbidden_events, 1001);
        assert_eq!(status.totals.forbidden_patterns, 3);
        let restricted = status.clients.iter().find(|it| it.uid == USER).unwrap();
        assert_eq!(restricted.forbidden, 1001);
        assert_eq!(restricted.shared_note.as_deref(), Some("access rules"));
        assert!(restricted.shared.is_none());
        client.disconnect().unwrap();
    }
}

on_all! {
    fn rules_are_for_groups_and_for_single_channels(bed) {
        let group = format!("group={GROUP}");
        let all = [rule(&group, &["plant.*"], &["**"], &["**"]), rule("", &[], &["hello"], &[])];
        let bus = bed.bus_with(|options| restrict(options, &all));
        let Some((plant, _)) = client_of_user(&bus, |it| it.channel("plant.a")) else { return };
        assert!(plant.subscribe("**").is_ok());
        let Some((office, tells)) = client_of_user(&bus, |it| it.channel("office")) else { return };
        assert!(is_forbidden(office.subscribe("x")));
        let owner = bus.client_with(|it| it.channel("office"));
        let heard = owner.subscribe("**").unwrap();
        office.emit("other", b"x").unwrap();
        office.emit("hello", b"x").unwrap();
        office.ping().unwrap();
        assert_eq!(take(&heard).event(), "hello");
        let told = forbidden(&tells);
        assert_eq!(told.len(), 2, "{told:?}");
    }
}

on_all! {
    fn a_reload_takes_rights_away_and_gives_them_back(bed) {
        let bus = bed.bus_with(|options| restrict(options, &[]));
        let Some((client, tells)) = client_of_user(&bus, |it| {
            it.shared_memory(netcluster_client::SharedMemory::Off)
        }) else { return };
        let (kept, lost) = (client.subscribe("kept").unwrap(), client.subscribe("lost.*").unwrap());
        let free = bus.client();
        let heard = free.subscribe("**").unwrap();
        let both = |number: u8| {
            free.emit("lost.a", [number]).unwrap();
            free.emit("kept", [number]).unwrap();
        };
        both(1);
        assert_eq!((take(&lost).payload(), take(&kept).payload()), (&[1][..], &[1][..]));
        client.emit("mine", b"1").unwrap();
        assert_eq!(take(&heard).payload(), b"1");

        let user = format!("user={USER}");
        reload(bed, &bus, &[rule(&user, &[], &["other"], &["kept"])]);
        both(2);
        assert_eq!(take(&kept).payload(), [2]);
        assert!(matches!(lost.try_recv(), Err(RecvError::Empty)), "it is not in force");
        client.emit("mine", b"2").unwrap();
        client.emit("other", b"3").unwrap();
        client.ping().unwrap();
        assert_eq!(take(&heard).payload(), b"3");
        let told = forbidden(&tells);
        assert!(told[0].contains("lost.* is not listened to any more"), "{told:?}");
        assert!(told[1].contains("the event mine"), "{told:?}");
        assert_eq!(told.len(), 2, "{told:?}");

        reload(bed, &bus, &[]);
        both(4);
        assert_eq!((take(&lost).payload(), take(&kept).payload()), (&[4][..], &[4][..]));
        client.emit("mine", b"5").unwrap();
        assert_eq!(take(&heard).payload(), b"5");
        let connects = tells.try_iter().filter(|it| matches!(it, Lifecycle::Disconnect { .. }));
        assert_eq!(connects.count(), 0, "nobody is disconnected");
        assert_eq!(bus.status().totals.forbidden_patterns, 1);
    }
}

on_all! {
    fn a_client_that_is_restricted_while_it_shares_memory_connects_anew_without(bed) {
        if !bed.is_sharing {
            return;
        }
        let bus = bed.bus_with(|options| restrict(options, &[]));
        let Some((client, tells)) = client_of_user(&bus, |it| it) else { return };
        let free = bus.client();
        let heard = free.subscribe("n").unwrap();
        let is_sharing = || {
            let status = bus.status();
            let client = status.clients.iter().find(|it| it.uid == USER);
            client.is_some_and(|client| client.shared.is_some())
        };
        let _allowed = client.subscribe("allowed").unwrap();
        let lost = client.subscribe("lost").unwrap();
        let count = std::cell::Cell::new(0u64);
        let emit = |times| {
            for _ in 0..times {
                client.emit("n", count.get().to_le_bytes()).unwrap();
                count.set(count.get() + 1);
            }
        };
        wait_until("it shares memory", || {
            emit(1);
            is_sharing()
        });
        emit(5000);
        reload(bed, &bus, &[rule(&format!("user={USER}"), &[], &["n"], &["allowed"])]);
        emit(5000);
        wait_until("it is back", || client.ping().is_ok());
        // Every event that was emitted before, meanwhile and after arrives, in order.
        for number in 0..count.get() {
            assert_eq!(take(&heard).payload(), number.to_le_bytes(), "of {count:?}");
        }
        emit(1000);
        client.ping().unwrap();
        let status = bus.status();
        let restricted = status.clients.iter().find(|it| it.uid == USER && it.state == "open");
        let restricted = restricted.unwrap();
        assert!(restricted.shared.is_none(), "{restricted:?}");
        assert_eq!(restricted.shared_note.as_deref(), Some("access rules"));
        let told = forbidden(&tells);
        assert!(told[0].contains("lost is not listened to any more"), "{told:?}");
        assert!(told[1].contains("connect anew, without shared memory"), "{told:?}");
        assert_eq!(restricted.listeners, 1, "its listener is there again");
        reload(bed, &bus, &[]);
        free.emit("lost", b"found").unwrap();
        assert_eq!(take(&lost).payload(), b"found", "nobody is deaf after a mistake is mended");
    }
}

/// Has a broker with these rules take the place of another. For a client that is not back it
/// would wait longer than a test does.
fn succeed(bed: &Bed, bus: &mut Bus, all: &[AccessOptions]) {
    let mut options = bed.options(&bus.path);
    restrict(&mut options, all);
    options.stall_timeout = PATIENCE * 10;
    let claimant = Broker::prepare(options).unwrap().bind_beside().unwrap();
    let broker = bus.broker.take().unwrap();
    broker.hand_over(claimant.name(), claimant.terms()).expect("it hands over");
    let ending = thread::spawn(move || broker.join());
    let owned = claimant.own(PATIENCE, || {}).unwrap();
    bus.broker = Some(owned.start().unwrap());
    ending.join().unwrap().expect("an orderly end");
}

on_all! {
    fn nobody_waits_for_a_pattern_that_a_successor_refuses(bed) {
        let mut bus = bed.bus_with(|options| restrict(options, &[]));
        let Some((client, _tells)) = client_of_user(&bus, |it| it) else { return };
        let lost = client.subscribe("lost").unwrap();
        let (free, listener) = (bus.client(), bus.client());
        let heard = listener.subscribe("n").unwrap();
        succeed(bed, &mut bus, &[rule(&format!("user={USER}"), &[], &[], &["other"])]);
        free.emit("n", b"1").unwrap();
        assert_eq!(take(&heard).payload(), b"1");
        assert_eq!(bus.status().totals.forbidden_patterns, 1);
        reload(bed, &bus, &[]);
        free.emit("lost", b"found").unwrap();
        assert_eq!(take(&lost).payload(), b"found");
    }
}

on_all! {
    fn a_client_that_ignores_refusals_harms_only_itself(bed) {
        const FLOOD: usize = 100_000;
        let user = format!("user={USER}");
        let bus = bed.bus_with(|options| restrict(options, &[rule(&user, &[], &[], &[])]));
        let path = bus.path.clone();
        let Some(mut hostile) = as_user(move || Raw::welcomed(&path, &Hello::default()).0) else {
            return;
        };
        let before = bus.status().memory.used_bytes;
        let (emitter, listener) = (bus.client(), bus.client());
        let heard = listener.subscribe("**").unwrap();
        let flood = thread::spawn(move || {
            for number in 0..FLOOD {
                let event = hostile.event(&format!("n{number}"), b"");
                hostile.send(&event);
                if number % 1000 == 0 {
                    let pattern = hostile.encode(Kind::Subscribe, 7, b"**", b"");
                    hostile.send(&pattern);
                }
            }
            hostile
        });
        for number in 0..1000u32 {
            emitter.emit("mine", number.to_le_bytes()).unwrap();
            assert_eq!(take(&heard).payload(), number.to_le_bytes());
        }
        let mut hostile = flood.join().unwrap();
        hostile.ask(Kind::Ping, b"");
        let mut refusals = 0;
        loop {
            let frame = hostile.frame();
            if frame.kind == Kind::Pong {
                break;
            }
            assert_eq!((frame.kind, frame.error().0), (Kind::Error, ErrorCode::Forbidden));
            refusals += u64::from(frame.sequence == 0);
        }
        assert!((1..50).contains(&refusals), "{refusals} for {FLOOD} events");
        let status = bus.status();
        assert_eq!(status.totals.forbidden_events, FLOOD as u64);
        assert_eq!(status.totals.forbidden_patterns, 100);
        assert!(status.memory.used_bytes < before + (1 << 20), "{:?}", status.memory);
        assert!(matches!(heard.try_recv(), Err(RecvError::Empty)), "nothing of it was heard");
    }
}
