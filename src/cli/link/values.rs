//! Values of the link's settings with a form of their own.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use clap::ValueEnum;
use netcluster_link::options::DEFAULT_PORT;
use serde::{Deserialize, Serialize};

use crate::cli::values::{Channel, Size, read_from_file};

/// Address of the link: `239.255.44.54:4454`, `[ff15::1]:4454`; without a port, the
/// default one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddress(pub SocketAddr);

impl FromStr for LinkAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<LinkAddress, String> {
        let alone = || text.parse::<IpAddr>().map(|address| (address, DEFAULT_PORT).into());
        text.parse::<SocketAddr>().or_else(|_| alone()).map(LinkAddress).map_err(|_| {
            "write a multicast address and a port: 239.255.44.54:4454 or [ff15::1]:4454".into()
        })
    }
}

/// Bytes a second: `100MiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub u64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        // Networks are sold by bits: the unit is written out.
        let size = text.strip_suffix("/s").map(str::trim_end).filter(|size| size.ends_with('B'));
        size.and_then(|size| size.parse::<Size>().ok())
            .map(|size| Rate(size.0 as u64))
            .ok_or_else(|| "write bytes a second: 100MiB/s".into())
    }
}

/// A broker to reach by unicast: `host`, `host:port`, `[ff02::1]:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    host: String,
    port: Option<u16>,
}

impl Peer {
    /// Writes `host:port`, with this port unless another one was given.
    pub fn with_port(&self, port: u16) -> String {
        format!("{}:{}", self.host, self.port.unwrap_or(port))
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Peer, String> {
        let wrong = || "write a host name or an address, and a port: db1:4454".to_owned();
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<Ipv6Addr>() {
            return Ok(Peer { host: format!("[{address}]"), port: None });
        }
        if let Ok(SocketAddr::V6(address)) = text.parse() {
            let host = match address.scope_id() {
                0 => format!("[{}]", address.ip()),
                scope => format!("[{}%{scope}]", address.ip()),
            };
            return some_port(address.port()).map(|port| Peer { host, port }).ok_or_else(wrong);
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => {
                let port = port.parse().ok().and_then(some_port).ok_or_else(wrong)?;
                (host, port)
            }
            None => (text, None),
        };
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if host.is_empty() || host.len() > 253 || !host.bytes().all(is_good) {
            return Err(wrong());
        }
        Ok(Peer { host: host.to_owned(), port })
    }
}

/// A port that is one.
fn some_port(port: u16) -> Option<Option<u16>> {
    (port != 0).then_some(Some(port))
}

/// A channel's name as the file has it, also as the name of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelName(pub String);

impl FromStr for ChannelName {
    type Err = String;

    fn from_str(text: &str) -> Result<ChannelName, String> {
        text.parse().map(|channel: Channel| ChannelName(channel.0))
    }
}

/// Listeners that a channel's emitters wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pressure {
    /// Emitters wait for listeners on this machine and on all others.
    Cluster,
}

impl fmt::Display for LinkAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = usize::try_from(self.0).unwrap_or(usize::MAX);
        write!(formatter, "{}/s", Size(bytes))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(formatter, "{}:{port}", self.host),
            None => formatter.write_str(&self.host),
        }
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

read_from_file! {
    LinkAddress, numbers: false;
    // 100 bytes or bits, a second?
    Rate, numbers: false;
    Peer, numbers: false;
    ChannelName, numbers: false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port_or_the_default_one() {
        let address = |text: &str| text.parse::<LinkAddress>().map(|it| it.0.to_string()).ok();
        assert_eq!(address("224.0.0.0:4454").as_deref(), Some("224.0.0.0:4454"));
        assert_eq!(address("239.1.2.3").as_deref(), Some("239.1.2.3:4454"));
        assert_eq!(address("[ff15::7]:99").as_deref(), Some("[ff15::7]:99"));
        assert_eq!(address("ff15::7").as_deref(), Some("[ff15::7]:4454"));
        for bad in ["", "239.1.2", "host:1", "239.1.2.3:", "239.1.2.3:99999", "4454"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }

    #[test]
    fn rates_are_bytes_a_second_and_say_so() {
        let rate = |text: &str| text.parse::<Rate>().map(|rate| rate.0).ok();
        assert_eq!(rate("100MiB/s"), Some(100 << 20));
        assert_eq!(rate("1 GiB /s"), Some(1 << 30));
        assert_eq!(rate("5000B/s"), Some(5000));
        for bad in ["", "100", "100MiB", "100M/s", "1000/s", "100Mbit/s", "/s", "B/s"] {
            assert_eq!(rate(bad), None, "{bad}");
        }
    }

    #[test]
    fn peers_have_a_host_and_perhaps_a_port() {
        let peer = |text: &str| text.parse::<Peer>().map(|peer| peer.with_port(4454)).ok();
        for (written, meant) in [
            ("db1", "db1:4454"),
            ("db1.example.com:99", "db1.example.com:99"),
            ("10.0.0.1", "10.0.0.1:4454"),
            ("10.0.0.1:99", "10.0.0.1:99"),
            ("::1", "[::1]:4454"),
            ("[::1]", "[::1]:4454"),
            ("[fe80::1]:99", "[fe80::1]:99"),
            ("[fe80::1%2]:99", "[fe80::1%2]:99"),
        ] {
            assert_eq!(peer(written).as_deref(), Some(meant));
        }
        for bad in ["", ":99", "db1:", "db1:0", "db1:99999", "a b", "a/b", "1:2:3", "[::1]:0", "[]"]
        {
            assert_eq!(peer(bad), None, "{bad}");
        }
    }
}
