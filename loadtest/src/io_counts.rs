//! Counts of what the broker's back ends did, out of its stats.
//!
//! The stats are JSON with an `io` object per shard; they are summed up wherever they
//! lie, so that the rest of the stats may change.

use serde_json::Value;

/// Counts of all shards, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounts {
    /// Calls into the kernel.
    pub syscalls: u64,
    /// Completed receives.
    pub receives: u64,
    /// Completed sends.
    pub sends: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Connections that share memory with the broker, now.
    pub shared_clients: u64,
}

impl IoCounts {
    /// Reads the counts; `None` if there is no `io` object.
    pub fn from_stats(stats: &Value) -> Option<IoCounts> {
        let mut found = Vec::new();
        collect(stats, &mut found);
        let sum = |key: &str| found.iter().filter_map(|io| io.get(key)?.as_u64()).sum();
        (!found.is_empty()).then(|| IoCounts {
            syscalls: sum("syscalls"),
            receives: sum("receives"),
            sends: sum("sends"),
            sent_bytes: sum("sent_bytes"),
            shared_clients: stats["totals"]["shared_clients"].as_u64().unwrap_or(0),
        })
    }

    /// Returns the counts since an earlier answer, and the connections of this one.
    pub fn since(self, earlier: IoCounts) -> IoCounts {
        IoCounts {
            syscalls: self.syscalls.saturating_sub(earlier.syscalls),
            receives: self.receives.saturating_sub(earlier.receives),
            sends: self.sends.saturating_sub(earlier.sends),
            sent_bytes: self.sent_bytes.saturating_sub(earlier.sent_bytes),
            shared_clients: self.shared_clients,
        }
    }
}

fn collect<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if key == "io" && value.is_object() {
                    found.push(value);
                } else {
                    collect(value, found);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_shards_are_summed_up() {
        let io = |n: u64| json!({"syscalls": n, "sends": 2 * n, "receives": n, "sent_bytes": 7});
        let stats = json!({"shards": [{"io": io(1)}, {"io": io(10), "x": 1}], "totals": {"shared_clients": 2}});
        let counts = IoCounts::from_stats(&stats).unwrap();
        let shared_clients = 2;
        let expected =
            IoCounts { syscalls: 11, receives: 11, sends: 22, sent_bytes: 14, shared_clients };
        assert_eq!(counts, expected);
        assert_eq!(counts.since(counts), IoCounts { shared_clients, ..IoCounts::default() });
        assert_eq!(IoCounts::from_stats(&json!({"a": 1})), None);
    }
}
