use netcluster_platform::Conn;

use super::*;

fn target(shard: u16, client: u32) -> Target {
    Target { shard: ShardId(shard), conn: Conn(client), client }
}

fn pattern(text: &str) -> Pattern {
    Pattern::new(text.as_bytes()).unwrap()
}

fn routes(link: Option<ChannelHash>) -> Routes {
    Routes::new(1, link, &Budget::new(usize::MAX), &CacheShare::new(usize::MAX))
}

/// Looks a name up at once.
fn find(routes: &mut Routes, name: &[u8]) -> RouteId {
    if routes.is_overgrown() {
        routes.forget();
    }
    routes.find(name, &mut Effort::default()).unwrap()
}

fn targets(routes: &mut Routes, name: &[u8]) -> Vec<Target> {
    let id = find(routes, name);
    routes.get(id).clients().to_vec()
}

#[test]
fn names_with_the_same_targets_share_a_route() {
    let mut routes = routes(None);
    routes.insert(&pattern("a.*"), target(0, 1));
    assert_eq!(find(&mut routes, b"a.x"), find(&mut routes, b"a.y"));
    assert!(targets(&mut routes, b"b").is_empty());
}

#[test]
fn a_change_of_subscriptions_is_seen_at_once() {
    let mut routes = routes(None);
    assert!(targets(&mut routes, b"a").is_empty());
    routes.insert(&pattern("a"), target(0, 1));
    assert_eq!(targets(&mut routes, b"a"), [target(0, 1)]);
    routes.remove(&pattern("a"), target(0, 1));
    assert!(targets(&mut routes, b"a").is_empty());
}

#[test]
fn the_cache_is_bounded_and_right_beyond_its_bound() {
    let mut routes = routes(None);
    routes.insert(&pattern("*"), target(0, 1));
    for at in 0..cache::MAX_CACHED_NAMES * 2 + 10 {
        let name = at.to_string();
        assert_eq!(targets(&mut routes, name.as_bytes()).len(), 1);
        assert!(routes.cache.names() <= cache::MAX_CACHED_NAMES + 1);
    }
}

#[test]
fn every_event_goes_to_the_link() {
    let mut routes = routes(Some(ChannelHash(77)));
    routes.insert(&pattern("a"), target(1, 3));
    assert_eq!(targets(&mut routes, b"a"), [target(1, 3)]);
    let id = find(&mut routes, b"b");
    assert_eq!(routes.get(id).link(), Some(ChannelHash(77)));
    assert!(routes.get(id).of_shard(ShardId(1)).is_empty());
    assert_eq!(routes.len(), 1, "it is no listener");
}

#[test]
fn a_bad_name_is_refused_and_not_cached() {
    let mut routes = routes(None);
    let mut bad = |name: &[u8]| routes.find(name, &mut Effort::default()).unwrap_err();
    assert_eq!(bad(b""), Unfound::Name(NameError::Empty));
    assert_eq!(bad(b"\xff"), Unfound::Name(NameError::NotUtf8));
    assert_eq!(routes.cache.names(), 0);
}

#[test]
fn the_targets_of_a_shard_lie_together() {
    let mut routes = routes(None);
    for (shard, client) in [(1, 4), (0, 1), (2, 9), (1, 3)] {
        routes.insert(&pattern("a"), target(shard, client));
    }
    let id = find(&mut routes, b"a");
    let route = routes.get(id);
    assert_eq!(route.of_shard(ShardId(0)), [target(0, 1)]);
    assert_eq!(route.of_shard(ShardId(1)), [target(1, 3), target(1, 4)]);
    assert_eq!(route.of_shard(ShardId(2)), [target(2, 9)]);
    assert!(route.of_shard(ShardId(3)).is_empty());
}

/// Returns routes of which so many match `a.a.…` that no turn can look them all up, and
/// that name.
fn heavy(tokens: u32) -> (Routes, Vec<u8>) {
    let mut routes = routes(None);
    for bits in 0..1u32 << tokens {
        let word = |at: u32| if bits >> at & 1 == 0 { "*" } else { "a" };
        let text = (0..tokens).map(word).collect::<Vec<_>>().join(".");
        routes.insert(&pattern(&text), target(0, bits % 100));
    }
    (routes, vec!["a"; tokens as usize].join(".").into_bytes())
}

/// What broke: a look-up among 131,072 matching patterns took as long as it took.
#[test]
fn a_turn_spends_a_bounded_effort_on_look_ups() {
    let (mut routes, name) = heavy(15);
    let mut effort = Effort::default();
    let mut turns = 1;
    while routes.find(&name, &mut effort) == Err(Unfound::NotYet) {
        assert_eq!((effort.steps, routes.steps), (0, 0), "all of it was used");
        effort.renew();
        turns += 1;
    }
    let places = 3 << 15;
    assert!(turns > places / (STEPS_PER_TURN + STEPS_OF_CHANNEL) / 2, "{turns} turns");
    assert_eq!(targets(&mut routes, &name).len(), 100);
}

/// A channel that spends a turn's effort leaves some to each other channel.
#[test]
fn other_channels_find_their_routes_meanwhile() {
    let (mut heavy, name) = heavy(15);
    let mut light = routes(None);
    light.insert(&pattern("b.*"), target(0, 7));
    let mut effort = Effort::default();
    assert_eq!(heavy.find(&name, &mut effort), Err(Unfound::NotYet));
    assert!(light.find(b"b.c", &mut effort).is_ok());
}

/// Changes that come while a search is under way are in its result and in those of
/// other names; and they cannot hold the search up for ever.
#[test]
fn changes_during_a_search_are_in_force_at_once() {
    let (mut routes, name) = heavy(14);
    let mut effort = Effort::default();
    assert_eq!(routes.find(&name, &mut effort), Err(Unfound::NotYet));
    routes.insert(&pattern("a.**"), target(1, 500));
    routes.insert(&pattern("b"), target(1, 501));
    routes.insert(&pattern("**"), target(1, 502));
    routes.remove(&pattern("**"), target(1, 502));
    // All patterns of one client go, and one of two that another has for this name.
    for bits in (7..1u32 << 14).step_by(100) {
        let word = |at: u32| if bits >> at & 1 == 0 { "*" } else { "a" };
        let text = (0..14).map(word).collect::<Vec<_>>().join(".");
        routes.remove(&pattern(&text), target(0, 7));
    }
    let mut turns = 0;
    let id = loop {
        // Other names are asked for in between, and wait for this one.
        if turns % 2 == 1 && routes.find(b"b", &mut effort).is_ok() {
            assert_eq!(targets(&mut routes, b"b"), [target(1, 501)]);
        }
        effort.renew();
        turns += 1;
        // Patterns come and go all the while.
        routes.insert(&pattern("a.*"), target(2, turns));
        routes.remove(&pattern("a.*"), target(2, turns));
        if let Ok(id) = routes.find(&name, &mut effort) {
            break id;
        }
        assert!(turns < 100, "it ends");
    };
    let found: Vec<u32> = routes.get(id).clients().iter().map(|it| it.client).collect();
    let expected: Vec<u32> = (0..100).filter(|&client| client != 7).chain([500]).collect();
    assert_eq!(found, expected);
    assert_eq!(targets(&mut routes, b"b"), [target(1, 501)]);
}
