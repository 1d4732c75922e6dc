//! The wish of a broker's owner that its link be opened while it runs, as JSON: the request
//! `link-open`.
//!
//! Every key but `group` may be left out: then it is as for a broker that is started
//! without that setting.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use netcluster_link::crypto::{KEY_BYTES, Key, Keys, MAX_KEYS};
use netcluster_link::options::LinkOptions;
use netcluster_wire::limits::MAX_CONTROL_PAYLOAD_BYTES;

/// A wish as it is written.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    group: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    groups: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    unicast_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    interface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    ttl: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    packet_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    rate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    receive_buffer_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    history_bytes: Option<usize>,
    /// Keys in hexadecimal, the sealing one first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    keys: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    peers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    expected_peers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pressured: Vec<String>,
}

/// Writes the wish for a link with these options.
///
/// # Errors
/// It is too long for one frame.
pub fn encode(options: &LinkOptions) -> Result<String, String> {
    #[derive(Serialize)]
    #[serde(tag = "do", rename_all = "kebab-case")]
    enum Request {
        LinkOpen(LinkRequest),
    }

    let request = LinkRequest {
        group: options.group.to_string(),
        cluster: Some(options.cluster.clone()),
        name: Some(options.name.clone()),
        groups: Some(options.groups),
        unicast_port: options.unicast_port,
        interface: options.interface.clone(),
        ttl: Some(options.ttl),
        packet_bytes: Some(options.packet_bytes),
        rate: options.rate,
        receive_buffer_bytes: Some(options.receive_buffer_bytes),
        history_bytes: Some(options.history_bytes),
        keys: options.keys.iter().map(|key| hex(key.bytes())).collect(),
        peers: options.peers.clone(),
        expected_peers: options.expected_peers.clone(),
        pressured: options.pressured.clone(),
    };
    let json =
        serde_json::to_string(&Request::LinkOpen(request)).map_err(|error| error.to_string())?;
    if json.len() > MAX_CONTROL_PAYLOAD_BYTES {
        return Err(format!(
            "the settings of the link take more than {MAX_CONTROL_PAYLOAD_BYTES} bytes: name fewer \
             peers and channels, or start the broker with --link"
        ));
    }
    Ok(json)
}

impl LinkRequest {
    /// Returns the options of the link that is wanted, for a broker with this limit of
    /// payloads.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn options(self, max_payload_bytes: usize) -> Result<LinkOptions, String> {
        let group: SocketAddr = self.group.parse().map_err(|_| {
            let example = netcluster_link::options::DEFAULT_GROUP;
            format!("`{}` is no multicast address and port, such as {example}", self.group)
        })?;
        let name = self.name.unwrap_or_else(|| match netcluster_platform::host_name() {
            name if name.is_empty() => "unnamed".to_owned(),
            name => name,
        });
        let default = LinkOptions::new(name);
        let groups = match self.groups {
            Some(groups) => groups,
            None if netcluster_link::options::is_reserved(group.ip()) => 1,
            None => default.groups,
        };
        let options = LinkOptions {
            cluster: self.cluster.unwrap_or(default.cluster),
            name: default.name,
            group,
            groups,
            unicast_port: self.unicast_port.filter(|port| *port != 0),
            interface: self.interface,
            ttl: self.ttl.unwrap_or(default.ttl),
            packet_bytes: self.packet_bytes.unwrap_or(default.packet_bytes),
            rate: self.rate,
            receive_buffer_bytes: self.receive_buffer_bytes.unwrap_or(default.receive_buffer_bytes),
            history_bytes: self.history_bytes.unwrap_or(default.history_bytes),
            keys: keys(&self.keys)?,
            peers: self.peers,
            expected_peers: self.expected_peers,
            pressured: self.pressured,
        };
        options.check(max_payload_bytes)?;
        Ok(options)
    }
}

fn keys(texts: &[String]) -> Result<Keys, String> {
    if texts.len() > MAX_KEYS {
        return Err(format!("at most {MAX_KEYS} keys: the old one and the new one"));
    }
    let keys: Option<Vec<Key>> = texts.iter().map(|text| key(text)).collect();
    let keys = keys.ok_or_else(|| format!("a key has {} hexadecimal digits", 2 * KEY_BYTES))?;
    if let [first, second] = keys.as_slice()
        && first.id() == second.id()
    {
        return Err("the same key twice".to_owned());
    }
    Ok(Keys::new(keys))
}

fn key(text: &str) -> Option<Key> {
    let mut bytes = [0; KEY_BYTES];
    // A sign would be taken for a digit.
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(Key::new(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;

    fn decode(json: &str, max_payload_bytes: usize) -> Result<LinkOptions, String> {
        match Request::read(json.as_bytes())? {
            Request::LinkOpen(link) => link.options(max_payload_bytes),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_survive() {
        let mut options = LinkOptions::new("here");
        options.cluster = "office".into();
        options.interface = Some("lo".into());
        options.unicast_port = Some(4455);
        options.rate = Some(5_000_000);
        options.peers = vec!["a:1".into(), "b:2".into()];
        options.pressured = vec!["orders".into()];
        options.keys = Keys::new(vec![Key::new([7; KEY_BYTES]), Key::new([0xf8; KEY_BYTES])]);
        let decoded = decode(&encode(&options).unwrap(), 1 << 20).unwrap();
        assert_eq!(format!("{decoded:?}"), format!("{options:?}"));
        options.peers = vec![format!("{}:1", "x".repeat(300)); 20];
        assert!(encode(&options).unwrap_err().contains("4096 bytes"));
    }

    #[test]
    fn what_is_left_out_is_as_usual() {
        let options = decode(r#"{"do":"link-open","group":"239.1.2.3:4000"}"#, 1 << 20).unwrap();
        let mut expected = LinkOptions::new(options.name.clone());
        expected.group = "239.1.2.3:4000".parse().unwrap();
        assert_eq!(format!("{options:?}"), format!("{expected:?}"));
        assert_eq!(
            decode(r#"{"do":"link-open","group":"224.0.0.9:4000"}"#, 1 << 20).unwrap().groups,
            1
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, words) in [
            (r#"{"do":"link-open","group":"nonsense"}"#, "`nonsense` is no multicast address"),
            (r#"{"do":"link-open","group":4454}"#, "expected a string"),
            (r#"{"do":"link-open","cluster":"x"}"#, "group"),
            (r#"{"do":"link-open","group":"239.1.2.3:4000","gruops":3}"#, "gruops"),
            (r#"{"do":"link-open","group":"10.1.2.3:4000"}"#, "no multicast address"),
            (
                r#"{"do":"link-open","group":"239.1.2.3:4000","keys":["12"]}"#,
                "64 hexadecimal digits",
            ),
            (r#"{"do":"link-open","group":"239.1.2.3:4000","groups":65}"#, "between 1 and 64"),
        ] {
            let error = decode(json, 1 << 20).unwrap_err();
            assert!(error.contains(words), "{json}: {error}");
        }
    }
}
