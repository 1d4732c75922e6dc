//! Settings of a broker's link, by the command line and by the table
//! `[link]` of the file.
//!
//! As with the other settings nothing has a default here: unset is unset.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use clap::Args;
use netcluster::ChannelOptions;
use netcluster_link::crypto::Keys;
use netcluster_link::options::{DEFAULT_GROUP, LinkOptions, is_reserved};
use serde::de::{Deserializer, SeqAccess, Visitor, value::StrDeserializer};
use serde::{Deserialize, Serialize, de};

use super::key_file;
use super::values::{ChannelName, LinkAddress, Peer, Pressure, Rate};
use crate::cli::failure::Failure;
use crate::cli::settings::Settings;
use crate::cli::values::Size;

/// The settings of the link.
#[derive(Clone, Debug, Default, Args, Deserialize, Serialize, PartialEq, Eq)]
#[command(next_help_heading = "Link to other machines")]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a table [link]")]
pub struct LinkSettings {
    /// Join the brokers of other machines that are linked at this multicast address; without
    /// a value at 239.255.44.54:4454
    #[arg(long = "link", id = "link", value_name = "ADDR:PORT", num_args = 0..=1,
          default_missing_value = "239.255.44.54:4454")]
    pub address: Option<LinkAddress>,
    /// Only brokers of the same cluster hear each other [default: default]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// This broker's name, for people [default: the host's]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// The network interface, by name or address [default: the one with a route]
    #[arg(long, value_name = "NAME|ADDR")]
    pub interface: Option<String>,
    /// The UDP port that other brokers answer to [default: any]
    #[arg(long, value_name = "N")]
    pub unicast_port: Option<u16>,
    /// How far multicast goes: 1 stays in this network, each router takes one off [default: 1]
    #[arg(long, value_name = "N")]
    pub ttl: Option<u8>,
    /// Addresses that channels are spread over, 1 to 64; the same for all brokers
    /// [default: 16; 1 in 224.0.0.0/24]
    #[arg(long, value_name = "N")]
    pub groups: Option<usize>,
    /// Bytes of the largest packet, IP header included, 1280 to 9000 [default: 1400]
    #[arg(long, value_name = "N")]
    pub mtu: Option<usize>,
    /// Send at most so many bytes a second, for example 100MiB/s [default: what the network
    /// takes]
    #[arg(long, value_name = "SIZE/s")]
    pub rate: Option<Rate>,
    /// How much the system holds of what came in [default: 8MiB]
    #[arg(long, value_name = "SIZE")]
    pub receive_buffer: Option<Size>,
    /// How much of what was sent each group keeps, to send it again when it got lost
    /// [default: 8MiB]
    #[arg(long, value_name = "SIZE")]
    pub history: Option<Size>,
    /// A file with 32 random bytes that all brokers share: seals everything; see `netcluster
    /// link keygen`. Given twice, the first one seals and both open
    #[arg(long, value_name = "PATH")]
    #[serde(deserialize_with = "one_or_more")]
    pub key_file: Vec<PathBuf>,
    /// A broker that multicast does not reach [port: the link's]; can be repeated
    #[arg(long, value_name = "HOST:PORT")]
    #[serde(deserialize_with = "one_or_more")]
    pub peer: Vec<Peer>,
    /// A broker, by its --node-name, that should be linked: `netcluster cluster`, `peers`, the log
    /// and metrics say if it is not; can be repeated. This broker's own name is fine
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "one_or_more")]
    pub expect_peer: Vec<String>,
    /// Emitters of this channel wait for slow listeners on other machines too, all brokers
    /// alike; can be repeated
    #[arg(long, value_name = "CHANNEL")]
    #[serde(deserialize_with = "one_or_more")]
    pub cluster_pressure: Vec<ChannelName>,
}

/// The table `[channels.NAME]` of the file. No command has these as flags; that they could
/// be says what they are.
#[derive(Clone, Debug, Default, Args, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[serde(expecting = "a table [channels.NAME]")]
pub struct ChannelSettings {
    /// Listeners that the channel's emitters wait for: with `cluster` those on other machines
    /// too, all brokers alike [default: those on this machine]
    #[arg(long, value_name = "WHOSE")]
    pub pressure: Option<Pressure>,
    /// Whether the channel's events go to other machines, and theirs come here, where there is a
    /// link [default: true]
    #[arg(long, value_name = "BOOL")]
    pub network: Option<bool>,
    /// Channels of this machine whose listeners get the channel's events as well: names, in which
    /// `*` is any token and `**` any number of them, which stand for other channels only; copies
    /// go on from channel to channel, and cycles are refused
    #[arg(long, value_name = "PATTERN")]
    #[serde(deserialize_with = "one_or_more")]
    pub forward_to: Vec<String>,
    /// The largest data of one event [default: as for all channels, at most as much]
    #[arg(long, value_name = "SIZE")]
    pub max_payload: Option<Size>,
    /// The most bytes that one client may emit in a second, on average; what is more waits
    /// [default: no limit]
    #[arg(long, value_name = "SIZE/s")]
    pub max_rate: Option<Rate>,
    /// The most events that one client may emit in a second, on average; what is more waits
    /// [default: no limit]
    #[arg(long, value_name = "N")]
    pub max_event_rate: Option<u64>,
}

impl LinkSettings {
    /// Reads the table `[link]`: that it is there says that there is a link.
    pub fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LinkSettings, D::Error> {
        let mut settings = LinkSettings::deserialize(deserializer)?;
        settings.address.get_or_insert(LinkAddress(DEFAULT_GROUP));
        Ok(settings)
    }

    /// The name of the first setting that is given, apart from the link's address.
    fn first_set(&self) -> Option<&'static str> {
        let LinkSettings {
            address: _,
            cluster,
            node_name,
            interface,
            unicast_port,
            ttl,
            groups,
            mtu,
            rate,
            receive_buffer,
            history,
            key_file,
            peer,
            expect_peer,
            cluster_pressure,
        } = self;
        let given = [
            ("--cluster", cluster.is_some()),
            ("--node-name", node_name.is_some()),
            ("--interface", interface.is_some()),
            ("--unicast-port", unicast_port.is_some()),
            ("--ttl", ttl.is_some()),
            ("--groups", groups.is_some()),
            ("--mtu", mtu.is_some()),
            ("--rate", rate.is_some()),
            ("--receive-buffer", receive_buffer.is_some()),
            ("--history", history.is_some()),
            ("--key-file", !key_file.is_empty()),
            ("--peer", !peer.is_empty()),
            ("--expect-peer", !expect_peer.is_empty()),
            ("--cluster-pressure", !cluster_pressure.is_empty()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }

    /// Takes these settings, and where they are unset, the others.
    pub fn or(self, other: LinkSettings) -> LinkSettings {
        LinkSettings {
            address: self.address.or(other.address),
            cluster: self.cluster.or(other.cluster),
            node_name: self.node_name.or(other.node_name),
            interface: self.interface.or(other.interface),
            unicast_port: self.unicast_port.or(other.unicast_port),
            ttl: self.ttl.or(other.ttl),
            groups: self.groups.or(other.groups),
            mtu: self.mtu.or(other.mtu),
            rate: self.rate.or(other.rate),
            receive_buffer: self.receive_buffer.or(other.receive_buffer),
            history: self.history.or(other.history),
            key_file: or_list(self.key_file, other.key_file),
            peer: or_list(self.peer, other.peer),
            expect_peer: or_list(self.expect_peer, other.expect_peer),
            cluster_pressure: or_list(self.cluster_pressure, other.cluster_pressure),
        }
    }
}

fn or_list<T>(list: Vec<T>, other: Vec<T>) -> Vec<T> {
    if list.is_empty() { other } else { list }
}

/// Turns the tables `[channels.NAME]` into options of the channels.
pub fn channel_options(settings: &Settings) -> BTreeMap<String, ChannelOptions> {
    let options = settings.channels.iter().map(|(name, channel)| {
        // Named one by one, so that a setting that is forgotten here does not compile.
        let ChannelSettings {
            pressure: _,
            network,
            forward_to,
            max_payload,
            max_rate,
            max_event_rate,
        } = channel;
        let mut options = ChannelOptions::default();
        options.network = network.unwrap_or(options.network);
        options.forward_to.clone_from(forward_to);
        options.max_payload_bytes = max_payload.map(|size| size.0);
        options.max_bytes_per_s = max_rate.map(|rate| rate.0);
        options.max_events_per_s = *max_event_rate;
        (name.0.clone(), options)
    });
    options.collect()
}

/// Turns the settings into options of the link, checked; `None` without a link. What is
/// worth saying is added to the warnings.
pub fn link_options(
    settings: &Settings,
    max_payload_bytes: usize,
    warnings: &mut Vec<String>,
) -> Result<Option<LinkOptions>, Failure> {
    let link = &settings.link;
    let Some(LinkAddress(group)) = link.address else {
        if let Some(setting) = link.first_set() {
            return Err(Failure::usage(format_args!(
                "{setting} is a setting of the link: add --link, or leave it out"
            )));
        }
        // A file may be the same on machines with and without a link.
        warnings.extend(pressured(&[], &settings.channels).iter().map(|channel| {
            format!(
                "pressure = \"cluster\" of the channel {channel} has no effect without the link: \
                 add a table [link]"
            )
        }));
        return Ok(None);
    };
    let default = LinkOptions::new(link.node_name.clone().unwrap_or_else(host_name));
    let groups = match link.groups {
        // The check refuses what is too large for the type.
        Some(groups) => u8::try_from(groups).unwrap_or(u8::MAX),
        None if is_reserved(group.ip()) => {
            warnings.push(format!(
                "all channels share {}: its neighbours in 224.0.0.0/24 are reserved, switches \
                 flood it and no router passes it; an address such as {DEFAULT_GROUP} is better",
                group.ip()
            ));
            1
        }
        None => default.groups,
    };
    let mut options = LinkOptions {
        cluster: link.cluster.clone().unwrap_or(default.cluster),
        group,
        groups,
        unicast_port: link.unicast_port.filter(|port| *port != 0),
        interface: link.interface.clone(),
        ttl: link.ttl.unwrap_or(default.ttl),
        packet_bytes: link.mtu.unwrap_or(default.packet_bytes),
        rate: link.rate.map(|rate| rate.0),
        receive_buffer_bytes: link
            .receive_buffer
            .map_or(default.receive_buffer_bytes, |size| size.0),
        history_bytes: link.history.map_or(default.history_bytes, |size| size.0),
        peers: link.peer.iter().map(|peer| peer.with_port(group.port())).collect(),
        expected_peers: link.expect_peer.clone(),
        pressured: pressured(&link.cluster_pressure, &settings.channels),
        ..default
    };
    options.check(max_payload_bytes).map_err(Failure::usage)?;
    options.keys = keys(&link.key_file, warnings)?;
    if options.keys.is_open() {
        warnings.push(
            "the link is open: whoever reaches it can read and emit; `netcluster link keygen` \
             and --key-file close it"
                .into(),
        );
    }
    Ok(Some(options))
}

/// The channels named by the setting or by a table of theirs, each once, in order.
fn pressured(
    named: &[ChannelName],
    channels: &BTreeMap<ChannelName, ChannelSettings>,
) -> Vec<String> {
    let tables = channels.iter().filter(|(_, channel)| channel.pressure == Some(Pressure::Cluster));
    let names: BTreeSet<&ChannelName> = named.iter().chain(tables.map(|(name, _)| name)).collect();
    names.into_iter().map(|name| name.0.clone()).collect()
}

fn keys(paths: &[PathBuf], warnings: &mut Vec<String>) -> Result<Keys, Failure> {
    if paths.len() > netcluster_link::crypto::MAX_KEYS {
        return Err(Failure::usage("at most two key files: the old one and the new one"));
    }
    let keys: Vec<_> =
        paths.iter().map(|path| key_file::read(path, warnings)).collect::<Result<_, _>>()?;
    if let ([first, second], [one, two]) = (paths, keys.as_slice())
        && one.id() == two.id()
    {
        return Err(Failure::usage(format_args!(
            "the key files {} and {} hold the same key",
            first.display(),
            second.display()
        )));
    }
    Ok(Keys::new(keys))
}

/// The host's name, as far as the link can carry it.
fn host_name() -> String {
    let name = netcluster_platform::host_name();
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

/// A list, or one value in place of a list of one.
fn one_or_more<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct OneOrMore<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMore<T> {
        type Value = Vec<T>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string or a list of strings")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            T::deserialize(StrDeserializer::new(text)).map(|value| vec![value])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut values = Vec::new();
            while let Some(value) = list.next_element()? {
                values.push(value);
            }
            Ok(values)
        }
    }

    deserializer.deserialize_any(OneOrMore(PhantomData))
}

#[cfg(test)]
mod tests;
