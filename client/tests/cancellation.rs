//! Futures of the async client that are dropped before they are complete, at every
//! await; and what takes too long in the blocking one.

#![cfg(feature = "tokio")]

mod support;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::channel;
use std::task::Poll;
use std::time::Duration;

use netcluster_client::AsyncClient;
use netcluster_client::{Client, Error};
use support::{Broker, PATIENCE, wait_until};

/// A future is dropped after 1, 2, ... so many polls.
const MOST_POLLS: usize = 4;

/// Polls a future at most so many times, then drops it; what it returned if it was
/// complete by then.
async fn polled<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(move |context| {
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => {
                // As a task is that has other things to wait for as well.
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_whose_adding_is_dropped_is_gone() {
    let broker = Broker::start();
    let client = AsyncClient::connect(&broker.path).await.unwrap();
    broker.state.hold_acks.store(true, SeqCst);
    let (tell, told) = channel();
    let listener = || {
        let tell = tell.clone();
        move |_: &netcluster_client::Message<'_>| {
            let _ = tell.send(());
        }
    };
    for polls in 1..=MOST_POLLS {
        assert!(polled(polls, client.on("a", listener())).await.is_none());
        assert!(polled(polls, client.once("a", listener())).await.is_none());
        assert!(polled(polls, client.prepend_listener("a", listener())).await.is_none());
        assert!(polled(polls, client.prepend_once_listener("a", listener())).await.is_none());
        assert_eq!((client.listener_count("a"), client.event_names()), (0, vec![]));
    }
    broker.state.hold_acks.store(false, SeqCst);
    client.on("a", listener()).await.unwrap();
    let emitter = AsyncClient::connect(&broker.path).await.unwrap();
    emitter.emit("a", "x").await.unwrap();
    emitter.ping().await.unwrap();
    client.ping().await.unwrap();
    assert_eq!(told.try_iter().count(), 1, "only the one that is there was called");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_is_dropped_before_it_is_made_holds_up_nothing() {
    let broker = Broker::start();
    let client = AsyncClient::connect(&broker.path).await.unwrap();
    let emitter = AsyncClient::connect(&broker.path).await.unwrap();
    let mut other = client.subscribe("b").await.unwrap();
    broker.state.hold_acks.store(true, SeqCst);
    for polls in 1..=MOST_POLLS {
        assert!(polled(polls, client.subscribe("a")).await.is_none());
        assert_eq!(client.event_names(), ["b"]);
    }
    // One that takes long while much arrives.
    let subscribing = client.clone();
    let subscribing = tokio::spawn(async move { subscribing.subscribe("a").await });
    wait_until("it is asked for", || client.listener_count("a") == 1);
    for _ in 0..100 {
        emitter.emit("a", vec![7; 100_000]).await.unwrap();
    }
    emitter.emit("b", "x").await.unwrap();
    let heard = tokio::time::timeout(PATIENCE, other.recv()).await.expect("it is not held up");
    assert_eq!(heard.unwrap().payload(), b"x");
    subscribing.abort();
    assert!(subscribing.await.is_err());
    broker.state.hold_acks.store(false, SeqCst);
    broker.cut();
    let again = async {
        while client.ping().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("the connection comes back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_and_flushes_that_are_dropped_change_nothing() {
    let broker = Broker::start();
    let client = AsyncClient::connect(&broker.path).await.unwrap();
    for polls in 1..=MOST_POLLS {
        // They may be complete by then.
        drop(polled(polls, client.ping()).await);
        drop(polled(polls, client.status()).await);
        drop(polled(polls, client.audience("a")).await);
        drop(polled(polls, client.flush()).await);
        drop(polled(polls, client.wait_for_cluster(Duration::from_millis(1))).await);
        client.ping().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emit_that_is_dropped_emitted_nothing() {
    let broker = Broker::start();
    let client = AsyncClient::connect(&broker.path).await.unwrap();
    broker.state.stalled.store(true, SeqCst);
    let (mut emitted, mut dropped) = (0, 0);
    while dropped < MOST_POLLS {
        match polled(1 + dropped, client.emit("a", vec![1; 100_000])).await {
            Some(done) => {
                done.unwrap();
                emitted += 1;
            }
            None => dropped += 1,
        }
    }
    assert!(emitted > 0);
    broker.state.stalled.store(false, SeqCst);
    client.disconnect().await.unwrap();
    assert_eq!(broker.events(), emitted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receive_that_is_dropped_loses_no_message() {
    const EVENTS: u64 = 1000;
    let broker = Broker::start();
    let listener = AsyncClient::connect(&broker.path).await.unwrap();
    let emitter = AsyncClient::connect(&broker.path).await.unwrap();
    let mut subscription = listener.subscribe("a").await.unwrap();
    let emitting = tokio::spawn(async move {
        for number in 0..EVENTS {
            emitter.emit("a", number.to_le_bytes()).await.unwrap();
            if number % 50 == 0 {
                emitter.flush().await.unwrap();
            }
        }
        emitter
    });
    let mut next = 0;
    while next < EVENTS {
        let polls = 1 + next as usize % MOST_POLLS;
        match polled(polls, subscription.recv()).await {
            Some(message) => {
                assert_eq!(message.unwrap().payload(), next.to_le_bytes());
                next += 1;
            }
            None => tokio::task::yield_now().await,
        }
    }
    emitting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnect_that_is_dropped_goes_on_and_a_connect_leaves_nothing() {
    let broker = Broker::start();
    for polls in 1..=MOST_POLLS {
        let client = AsyncClient::connect(&broker.path).await.unwrap();
        client.emit("a", "x").await.unwrap();
        drop(polled(polls, client.disconnect()).await);
        wait_until("it is over", || client.is_closed());
        assert_eq!(broker.events(), polls, "what was emitted before has arrived");
        drop(polled(polls, AsyncClient::connect(&broker.path)).await);
    }
    wait_until("nobody is connected", || broker.clients() == 0);
}

#[test]
fn a_blocking_subscribe_that_takes_too_long_holds_up_nothing() {
    let broker = Broker::start();
    let builder = Client::builder().connect_timeout(Duration::from_secs(2));
    let client = builder.connect(&broker.path).unwrap();
    let emitter = Client::connect(&broker.path).unwrap();
    let other = client.subscribe("b").unwrap();
    broker.state.hold_acks.store(true, SeqCst);
    let subscribing = client.clone();
    let subscribing = std::thread::spawn(move || subscribing.subscribe("a").map(drop));
    wait_until("it is asked for", || client.listener_count("a") == 1);
    for _ in 0..100 {
        emitter.emit("a", vec![7; 100_000]).unwrap();
    }
    emitter.emit("b", "x").unwrap();
    assert!(matches!(subscribing.join().unwrap(), Err(Error::Timeout { .. })));
    assert_eq!(other.recv_timeout(PATIENCE).unwrap().payload(), b"x");
    assert_eq!(client.event_names(), ["b"]);
}
