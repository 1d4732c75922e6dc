//! Doubts about waiting for the cluster: whether there is one.
//!
//! A broker without a link answers at once that all know of the listeners, and so does
//! one that is linked with nobody: both are right, and seldom what was meant.

use netcluster::status::Status;
use netcluster_client::Client;
use netcluster_link::LinkStatus;

/// Doubt about the cluster that was waited for; nothing if there are others.
///
/// A broker whose status is not understood is of another version: nothing is known.
pub fn doubt(client: &Client) -> Option<&'static str> {
    let status: Status = serde_json::from_str(&client.status().ok()?).ok()?;
    doubt_of(status.link.as_ref())
}

fn doubt_of(link: Option<&LinkStatus>) -> Option<&'static str> {
    match link {
        None => Some(
            "the broker has no link, so only events of this machine come: it was started without \
             --link",
        ),
        Some(link) if link.peers.is_empty() => Some(
            "the broker is linked with no other, so only events of this machine come until one is \
             found; `netcluster peers` and `netcluster link check` look for the reason",
        ),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netcluster_link::status::PeerStatus;

    #[test]
    fn no_link_and_nobody_linked_are_told_apart_and_a_cluster_is_no_news() {
        let mut link = LinkStatus::default();
        assert!(doubt_of(None).is_some_and(|text| text.contains("without --link")));
        assert!(doubt_of(Some(&link)).is_some_and(|text| text.contains("linked with no other")));
        link.peers.push(PeerStatus::default());
        assert_eq!(doubt_of(Some(&link)), None);
    }
}
