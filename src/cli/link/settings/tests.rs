use clap::Parser;

use super::*;
use crate::cli::args::{Cli, Command};

const PAYLOAD: usize = 16 << 20;

fn typed(line: &str) -> Settings {
    let all = ["netcluster", "serve"].into_iter().chain(line.split_whitespace());
    match Cli::try_parse_from(all).unwrap_or_else(|error| panic!("{error}")).command {
        Command::Serve(args) => args.settings,
        other => panic!("{other:?}"),
    }
}

fn file(text: &str) -> Settings {
    toml::from_str(text).unwrap()
}

fn meant(settings: &Settings) -> (LinkOptions, Vec<String>) {
    let mut warnings = Vec::new();
    let options = link_options(settings, PAYLOAD, &mut warnings).unwrap();
    (options.expect("a link"), warnings)
}

#[track_caller]
fn refused(line: &str, words: &str) {
    let failure = link_options(&typed(line), PAYLOAD, &mut Vec::new()).unwrap_err();
    let text = format!("{failure:?}");
    assert!(text.contains(words) && text.contains("Usage"), "{text}");
}

#[test]
fn file_and_command_line_mean_the_same() {
    let from_file = file(
        "
        [link]
        address = '224.0.1.7:99'
        cluster = 'office'
        node-name = 'here'
        interface = 'eth0'
        unicast-port = 98
        ttl = 3
        groups = 4
        mtu = 1500
        rate = '10MiB/s'
        receive-buffer = '4MiB'
        history = 2097152
        key-file = ['/a', '/b']
        peer = ['db1', 'db2:7']
        cluster-pressure = 'orders'
        ",
    );
    let line = "--link 224.0.1.7:99 --cluster office --node-name here --interface eth0 \
        --unicast-port 98 --ttl 3 --groups 4 --mtu 1500 --rate 10MiB/s --receive-buffer 4MiB \
        --history 2MiB --key-file /a --key-file /b --peer db1 --peer db2:7 \
        --cluster-pressure orders";
    assert_eq!(from_file, typed(line));
    // Nothing was forgotten in the merge either.
    assert_eq!(Settings::default().or(typed(line)), typed(line));
}

#[test]
fn the_link_is_on_by_its_flag_with_or_without_address_or_by_its_table() {
    let address = |settings: &Settings| settings.link.address.map(|address| address.0.to_string());
    let default = Some(DEFAULT_GROUP.to_string());
    assert_eq!(address(&typed("--link")), default);
    assert_eq!(address(&typed("--link --shards 1")), default);
    assert_eq!(address(&typed("--link 224.0.0.0:4454 --pin")).as_deref(), Some("224.0.0.0:4454"));
    assert_eq!(address(&typed("--link=239.1.1.1")).as_deref(), Some("239.1.1.1:4454"));
    assert_eq!(address(&file("[link]")), default);
    assert_eq!(address(&file("[link]\ncluster = 'office'")), default);
    assert_eq!(address(&typed("--shards 1")), None);
    assert_eq!(address(&file("shards = 1")), None);
}

#[test]
fn what_is_typed_wins_also_lists() {
    let settings = typed("--link 239.1.1.1:1 --peer a --groups 2")
        .or(file("[link]\npeer = ['b', 'c']\ngroups = 3\nttl = 9\n[channels.x]\n"));
    let (options, _) = meant(&settings);
    assert_eq!(options.group.to_string(), "239.1.1.1:1");
    assert_eq!((options.peers, options.groups, options.ttl), (vec!["a:1".to_owned()], 2, 9));
}

#[test]
fn unset_settings_are_the_links_defaults() {
    let (options, warnings) = meant(&typed("--link"));
    let default = LinkOptions::new(host_name());
    assert_eq!(format!("{options:?}"), format!("{default:?}"));
    assert!(warnings.len() == 1 && warnings[0].contains("the link is open"), "{warnings:?}");
}

#[test]
fn the_reserved_range_implies_one_group_and_one_warning() {
    let (options, mut warnings) = meant(&typed("--link 224.0.0.0:4454"));
    assert_eq!(options.groups, 1);
    warnings.retain(|warning| !warning.contains("open"));
    assert!(warnings.len() == 1 && warnings[0].contains("224.0.0.0/24"), "{warnings:?}");
    // Somebody who asks for one group knows.
    let (options, warnings) = meant(&typed("--link 224.0.0.0:4454 --groups 1"));
    assert_eq!((options.groups, warnings.len()), (1, 1));
    refused("--link 224.0.0.0:4454 --groups 16", "groups must be 1");
}

#[test]
fn what_cannot_be_is_refused() {
    refused("--cluster office", "--cluster is a setting of the link: add --link");
    refused("--peer a", "--peer is a setting of the link: add --link");
    refused("--link 10.0.0.1:4454", "no multicast address");
    refused("--link --groups 65", "between 1 and 64");
    refused("--link --groups 1000", "between 1 and 64");
    refused("--link --mtu 576", "mtu must be between");
    refused("--link 239.255.255.250", "fewer groups");
    refused("--link --key-file a --key-file b --key-file c", "at most two key files");
    refused("--link --key-file /nowhere/key", "netcluster link keygen /nowhere/key");
    let failure = link_options(&typed("--link"), 65 << 20, &mut Vec::new()).unwrap_err();
    assert!(format!("{failure:?}").contains("64 MiB"), "{failure:?}");
}

#[test]
fn a_channels_table_or_the_flag_gives_it_pressure() {
    let settings = file(
        "
        [link]
        cluster-pressure = ['b', 'c']
        [channels.c]
        pressure = 'cluster'
        [channels.'a.with dots']
        pressure = 'cluster'
        [channels.d]
        ",
    );
    assert_eq!(meant(&settings).0.pressured, ["a.with dots", "b", "c"]);
    // Without a link there is nobody else to wait for.
    let alone = file("[channels.a]\npressure = 'cluster'");
    let mut warnings = Vec::new();
    assert!(link_options(&alone, PAYLOAD, &mut warnings).unwrap().is_none());
    assert!(
        matches!(&warnings[..], [it] if it.contains("channel a has no effect")),
        "{warnings:?}"
    );
}

#[test]
fn mistakes_in_the_tables_name_what_is_right() {
    for (text, words) in [
        ("[link]\nadress = 'x'", "unknown field `adress`"),
        ("[link]\naddress = 'here'", "239.255.44.54:4454"),
        ("[link]\nrate = 100", "expected a string"),
        ("[link]\nrate = '100Mbit/s'", "100MiB/s"),
        ("[link]\npeer = [1]", "expected a string"),
        ("[link]\npeer = 1", "a string or a list of strings"),
        ("[link]\npeer = 'a b'", "a host name"),
        ("link = true", "a table [link]"),
        ("[channels]\nx = 1", "a table [channels.NAME]"),
        ("[channels.x]\npressure = 'all'", "expected `cluster`"),
        ("[channels.x]\npresure = 'cluster'", "unknown field `presure`"),
        ("[channels.'']\npressure = 'cluster'", "channel"),
    ] {
        let problem = toml::from_str::<Settings>(text).unwrap_err().to_string();
        assert!(problem.contains(words), "{text}:\n{problem}");
    }
}
