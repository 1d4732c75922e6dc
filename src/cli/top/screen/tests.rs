//! Screens as they are drawn. Those of 80 × 24 are in `screens`; with `UPDATE_SCREENS` set
//! the test writes them.

use std::time::Duration;

use netcluster::status::{
    ChannelStatus, ClientStatus, ClosedClient, LinkIo, LinkStatus, ShardSummary,
};
use netcluster_link::status::PeerStatus;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::cli::top::samples::Page;

use super::*;

/// Makes a look at a broker that has done something for so many seconds.
fn look(start: Instant, view: View, seconds: u64) -> Look {
    let mut status = Status::default();
    (status.version, status.node, status.pid) = ("0.1.0".into(), "0000002a".into(), 4711);
    (status.backend, status.uptime_ms) = ("uring".into(), 3_600_000 + seconds * 1000);
    let totals = &mut status.totals;
    (totals.clients, totals.shared_clients, totals.listeners) = (40, 3, 120);
    (totals.events_in, totals.events_out) = (1_500_000 * seconds, 4_500_000 * seconds);
    (totals.bytes_in, totals.bytes_out) = ((96 << 20) * seconds, (288 << 20) * seconds);
    (totals.queued_bytes, totals.full, totals.slow) = (9 << 20, 1, 2);
    (totals.pauses, totals.dropped, totals.stalled) = (20 * seconds, 7 * seconds, 1);
    (status.memory.used_bytes, status.memory.limit_bytes) = (32 << 20, 1 << 30);
    let mut closed = ClosedClient::default();
    (closed.client, closed.reason) = (9, "it did not read for 5 s\x1b]0;x\x07".into());
    status.closed_by_broker.push(closed);
    for number in 0..2 {
        let mut shard = ShardSummary::default();
        (shard.shard, shard.clients) = (number, 20);
        (shard.io.syscalls, shard.io.receives, shard.io.sends) =
            (9000 * seconds, 12_345 * seconds, 54_321 * seconds);
        (shard.io.buffers, shard.io.pinned_buffers, shard.io.blocked_sends) = (64, 7, 3);
        status.shards.push(shard);
    }
    let mut link = LinkStatus { cluster: "office".into(), peers_total: 2, ..LinkStatus::default() };
    link.counters.repaired = 3 * seconds;
    link.unanswered_peers.push("10.1.2.9:4455".into());
    status.link_io = Some(LinkIo::default());
    status.link = Some(link.clone());
    link.peers = peers(seconds);
    let mut page = Page { link: Some(link), omitted: 9960, ..Page::default() };
    page.clients = (1..=40).map(|number| client(number, seconds)).collect();
    for (name, events) in [("orders", 900), ("default", 40_000), ("\u{202e}evil\r\n", 0)] {
        let mut channel = ChannelStatus::default();
        (channel.name, channel.clients, channel.listeners) = (name.into(), 12, 30);
        (channel.events_in, channel.events_out) = (events * seconds, 3 * events * seconds);
        page.channels.push(channel);
    }
    Look { at: start + Duration::from_secs(seconds), view, status, page }
}

fn client(number: u32, seconds: u64) -> ClientStatus {
    let mut client = ClientStatus::default();
    client.client = number;
    client.name = format!("worker-{number} with a long name that does not fit");
    (client.channel, client.pid, client.state) = ("default".into(), 1000 + number, "open".into());
    client.events_in = u64::from(number) * 1000 * seconds;
    client.events_out = 12 * seconds;
    client.max_queue = 8 << 20;
    match number {
        7 => {
            (client.queued_bytes, client.state) = (8 << 20, "full".into());
            client.name = "evil\x1b[2J\nname".into();
        }
        8 => (client.state, client.paused_by) = ("paused".into(), vec![7]),
        9 => {
            (client.queued_bytes, client.dropped) = (1 << 20, 7 * seconds);
            (client.state, client.latest, client.name) = ("slow".into(), true, "größer".into());
        }
        _ => {}
    }
    client
}

fn peers(seconds: u64) -> Vec<PeerStatus> {
    let peer = |name: &str, place: u64| {
        let mut peer = PeerStatus { name: name.into(), ..PeerStatus::default() };
        peer.address = format!("10.1.2.{place}:4455");
        peer.session = format!("{place:032x}");
        (peer.path, peer.round_trip_us, peer.heard_ms) = ("multicast".into(), Some(312), 120);
        (peer.since_ms, peer.counters.received) = (86_400_000, 1234 * place * seconds);
        peer
    };
    vec![peer("db1", 3), peer("db2\x1b[31m", 4)]
}

fn samples(view: View, looks: u64) -> (Instant, Samples) {
    let (start, mut samples) = (Instant::now(), Samples::default());
    (1..=looks).for_each(|seconds| samples.add(look(start, view, seconds)));
    (start + Duration::from_secs(looks), samples)
}

fn controls(view: View) -> Controls {
    Controls::new(view, Duration::from_secs(1), String::new())
}

/// Draws a screen and returns its lines.
fn drawn(controls: &Controls, samples: &Samples, now: Instant, size: (u16, u16)) -> Vec<String> {
    lines_of(&Screen { controls, samples, now, is_printed: false }, size)
}

fn lines_of(screen: &Screen<'_>, size: (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal.draw(|frame| screen.render(frame.area(), frame.buffer_mut())).unwrap();
    let cells = terminal.backend().buffer().content();
    let text = |row: &[ratatui::buffer::Cell]| -> String {
        row.iter().map(ratatui::buffer::Cell::symbol).collect()
    };
    let lines = cells.chunks(usize::from(size.0));
    lines.map(|row| text(row).trim_end().to_owned()).collect()
}

fn lines(controls: &Controls, samples: &(Instant, Samples)) -> Vec<String> {
    drawn(controls, &samples.1, samples.0, (80, 24))
}

fn press(controls: &mut Controls, samples: &Samples, keys: &[KeyCode]) {
    for &key in keys {
        controls.key(KeyEvent::new(key, KeyModifiers::NONE), samples);
    }
}

#[track_caller]
fn check(name: &str, controls: &Controls, samples: &(Instant, Samples), expected: &str) {
    let screen = format!("{}\n", lines(controls, samples).join("\n"));
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/top/screen/screens");
        std::fs::write(format!("{directory}/{name}.txt"), &screen).unwrap();
    } else {
        assert_eq!(screen, expected, "\n{screen}");
    }
}

#[test]
fn screens_of_80_by_24_are_as_they_were() {
    let screens: [(View, &str); 6] = [
        (View::Clients, include_str!("screens/clients.txt")),
        (View::Slow, include_str!("screens/slow.txt")),
        (View::Channels, include_str!("screens/channels.txt")),
        (View::Peers, include_str!("screens/peers.txt")),
        (View::Losses, include_str!("screens/losses.txt")),
        (View::Shards, include_str!("screens/shards.txt")),
    ];
    for (view, expected) in screens {
        check(view.name(), &controls(view), &samples(view, 2), expected);
    }
    let mut helped = controls(View::Clients);
    helped.is_help = true;
    check("help", &helped, &samples(View::Clients, 2), include_str!("screens/help.txt"));
}

#[test]
fn clients_are_sorted_by_each_column_both_ways_filtered_and_scrolled() {
    let (now, samples) = samples(View::Clients, 2);
    let mut controls = controls(View::Clients);
    let first = |controls: &Controls| {
        let lines = drawn(controls, &samples, now, (80, 24));
        lines[8].split_whitespace().next().unwrap_or_default().to_owned()
    };
    let mut firsts = Vec::new();
    for column in ["client", "in", "queued", "lost", "pid", "name"] {
        controls.sort_by(column).unwrap();
        firsts.push(first(&controls));
        press(&mut controls, &samples, &[KeyCode::Char('r')]);
        firsts.push(first(&controls));
    }
    // Each column both ways; what is alike keeps its order.
    let expected = ["1", "40", "40", "1", "7", "1", "9", "1", "1", "40", "7", "8"];
    assert_eq!(firsts, expected);
    controls.sort_by("client").unwrap();
    press(&mut controls, &samples, &[KeyCode::Down, KeyCode::Down]);
    assert_eq!(first(&controls), "3");
    press(&mut controls, &samples, &[KeyCode::End]);
    assert_eq!(first(&controls), "40");
    assert!(drawn(&controls, &samples, now, (80, 24))[6].ends_with(" 40/40 (+9960)"));
    press(&mut controls, &samples, &[KeyCode::Up, KeyCode::PageUp]);
    assert_eq!(first(&controls), "29");
    press(&mut controls, &samples, &[KeyCode::Home]);
    assert_eq!(first(&controls), "1");
    press(&mut controls, &samples, &['/', 'G', 'R', 'Ö'].map(KeyCode::Char));
    let screen = drawn(&controls, &samples, now, (80, 24));
    assert!(screen[8].contains("größer") && screen[9].is_empty(), "{screen:#?}");
    assert_eq!(screen[23], "filter: GRÖ_");
    press(&mut controls, &samples, &['z'].map(KeyCode::Char));
    assert_eq!(drawn(&controls, &samples, now, (80, 24))[8], "nothing matches the filter");
}

#[test]
fn a_first_look_has_no_rates() {
    let (now, samples) = samples(View::Clients, 1);
    let lines = drawn(&controls(View::Clients), &samples, now, (80, 24));
    assert_eq!(lines[1], "events   in -  out -  from the link -  unheard -");
}

#[test]
fn trouble_is_told_and_what_was_known_stays() {
    let (now, mut samples) = samples(View::Clients, 2);
    samples.failed(now, "the broker is gone\x1b[2J".into());
    samples.failed(now + Duration::from_secs(1), "still".into());
    let later = now + Duration::from_secs(3);
    let lines = drawn(&controls(View::Clients), &samples, later, (80, 24));
    assert_eq!(lines[0], "NO ANSWER for 3 s: still");
    assert!(lines[8].contains("worker-"), "{lines:#?}");
    samples.add(look(now, View::Clients, 4));
    assert!(drawn(&controls(View::Clients), &samples, later, (80, 24))[0].contains("pid 4711"));
}

#[test]
fn a_broker_that_was_restarted_counts_from_zero() {
    let (now, mut samples) = samples(View::Clients, 3);
    assert!(samples.rate(|it| it.totals.events_in).is_some());
    let mut restarted = look(now, View::Clients, 0);
    restarted.status.pid += 1;
    samples.add(restarted);
    assert_eq!(samples.rate(|it| it.totals.events_in), None);
    assert_eq!(samples.clients.rate(&1, 0), None);
}

#[test]
fn no_size_of_terminal_is_a_reason_to_panic_and_no_byte_of_others_controls_it() {
    for view in View::ALL {
        for looks in 0..=2 {
            let (now, mut samples) = samples(view, looks);
            for is_troubled in [false, true] {
                if is_troubled {
                    samples.failed(now, "x".repeat(300));
                }
                for width in [1, 2, 7, 8, 9, 16, 20, 25, 40, 79, 80, 81, 300] {
                    for height in [1, 2, 3, 5, 8, 13, 14, 15, 16, 24, 100] {
                        let mut controls = controls(view);
                        controls.is_help = height == 13;
                        controls.is_typing = width == 40;
                        controls.first = usize::from(height);
                        let lines = drawn(&controls, &samples, now, (width, height));
                        let all = lines.concat();
                        assert!(!all.chars().any(char::is_control), "{all:?}");
                        assert!(!all.contains('\u{202e}'), "{all:?}");
                    }
                }
            }
        }
    }
    let (now, samples) = samples(View::Clients, 2);
    let small = drawn(&controls(View::Clients), &samples, now, (20, 5));
    assert!(small[0].starts_with("netcluster 0.1.0"), "{small:#?}");
    assert!(small[2].trim_start().starts_with("CLIENT") && small[3].contains("work"), "{small:#?}");
}

#[test]
fn all_rows_are_there_where_there_is_no_terminal() {
    let (now, samples) = samples(View::Clients, 2);
    let controls = controls(View::Clients);
    let screen = Screen { controls: &controls, samples: &samples, now, is_printed: true };
    let lines = lines_of(&screen, (100, screen.height_of_all()));
    assert_eq!(lines.iter().filter(|line| line.contains("worker-")).count(), 38, "{lines:#?}");
    assert!(!lines.last().unwrap().is_empty());
    assert!(!lines.concat().contains("q end"));
}
