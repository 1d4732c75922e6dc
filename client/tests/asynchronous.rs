//! Behaviour of the async client alone: streams, one thread, runtimes that end.

#![cfg(feature = "tokio")]

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::channel;
use std::time::Duration;

use netcluster_client::{AsyncClient, Client, DisconnectReason, Error, Lifecycle, RecvError};
use netcluster_wire::control::Audience;
use support::{Broker, PATIENCE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_in_order_as_a_stream_and_coalesce() {
    const EVENTS: u64 = 50_000;
    let broker = Broker::start();
    let emitter = AsyncClient::connect(&broker.path).await.unwrap();
    let listener = AsyncClient::connect(&broker.path).await.unwrap();
    let mut subscription = listener.subscribe("a.*").await.unwrap();
    assert_eq!(subscription.try_recv(), Err(RecvError::Empty));
    let emitting = emitter.clone();
    let emits = tokio::spawn(async move {
        for number in 0..EVENTS {
            emitting.emit("a.x", number.to_le_bytes()).await.unwrap();
        }
        emitting.flush().await.unwrap();
    });
    for number in 0..EVENTS {
        let message = subscription.recv().await.unwrap();
        assert_eq!(message.payload(), number.to_le_bytes());
        assert_eq!((message.source(), message.sequence()), (emitter.source(), number + 1));
    }
    emits.await.unwrap();
    let reads = broker.state.reads.load(SeqCst);
    assert!(reads < EVENTS as usize / 10, "{reads} reads");
    listener.disconnect().await.unwrap();
    assert_eq!(subscription.recv().await, Err(RecvError::Ended));
}

#[tokio::test]
async fn it_works_on_one_thread_with_the_blocking_client_at_the_other_end() {
    let broker = Broker::start();
    let other = Client::connect(&broker.path).unwrap();
    let client = AsyncClient::connect(&broker.path).await.unwrap();
    let inside = client.clone();
    client
        .once("ask", move |message| inside.try_emit("answer", message.payload()).unwrap())
        .await
        .unwrap();
    let answers = std::thread::spawn(move || {
        let mut answers = other.subscribe("answer").unwrap();
        other.emit("ask", "1").unwrap();
        other.emit("ask", "2").unwrap();
        answers.next().unwrap().unwrap()
    });
    until_async(|| answers.is_finished()).await;
    assert_eq!(answers.join().unwrap().payload(), b"1");
    assert_eq!(client.listener_count("ask"), 0);
    client.ping().await.unwrap();
    assert_eq!(client.confirmed_sequence(), 1);
    assert_eq!(client.status().await.unwrap(), "{\"clients\":1}");
    assert_eq!(client.audience("four").await.unwrap(), Audience { clients: 4, brokers: 1 });
    assert!(matches!(client.audience("a.*").await, Err(Error::Name(_))));
    assert!(matches!(client.on("refused", |_| {}).await, Err(Error::PatternRefused(_))));
    client.disconnect().await.unwrap();
    assert!(matches!(client.emit("a", "").await, Err(Error::Disconnected(_))));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn connecting_is_given_up_in_time_also_while_nobody_accepts() {
    let path = std::env::temp_dir().join(format!("nc-backlog-async-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let held = support::full_backlog(&path);
    let timeout = Duration::from_millis(50);
    let builder = Client::builder().connect_timeout(timeout);
    let error = builder.connect_async(&path).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    // A place that becomes free is taken.
    let patient = Client::builder().connect_timeout(PATIENCE);
    let waiting = path.clone();
    let connecting = tokio::spawn(async move { patient.connect_async(&waiting).await });
    tokio::time::sleep(timeout).await;
    assert!(!connecting.is_finished());
    rustix::net::accept(&held[0]).unwrap();
    let listener = held[0].try_clone().unwrap();
    let accepting = tokio::task::spawn_blocking(move || rustix::net::accept(&listener).unwrap());
    drop((accepting.await.unwrap(), held));
    assert!(connecting.await.unwrap().is_err());
    std::fs::remove_file(&path).unwrap();
}

async fn until_async(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_get_backpressure_and_disconnect_has_its_timeout() {
    let broker = Broker::start();
    let client = Client::builder()
        .max_buffer(1 << 20)
        .disconnect_timeout(Duration::from_millis(50))
        .connect_async(&broker.path)
        .await
        .unwrap();
    broker.state.stalled.store(true, SeqCst);
    let error = loop {
        if let Err(error) = client.try_emit("flood", [0; 1000]) {
            break error;
        }
    };
    assert!(matches!(error, Error::Backpressure), "{error:?}");
    assert!(matches!(client.disconnect().await, Err(Error::Timeout { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_told_last_and_before_disconnect_returns() {
    let broker = Broker::start();
    let (sender, lifecycle) = channel();
    let client = Client::builder()
        .on_lifecycle(move |event| drop(sender.send(event.clone())))
        .connect_async(&broker.path)
        .await
        .unwrap();
    let (inside, (closed, told)) = (client.clone(), channel());
    client.on_lifecycle(move |event| {
        if let Lifecycle::Closed(_) = event {
            closed.send((inside.is_closed(), inside.try_emit("a", "").is_err())).unwrap();
        }
    });
    assert!(!client.is_closed());
    client.disconnect().await.unwrap();
    assert!(client.is_closed());
    assert_eq!(told.try_recv(), Ok((true, true)));
    let events: Vec<_> = lifecycle.try_iter().collect();
    assert!(matches!(
        events[..],
        [
            Lifecycle::Connect { .. },
            Lifecycle::Disconnect { reason: DisconnectReason::Requested, .. },
            Lifecycle::Closed(Error::Disconnected(DisconnectReason::Requested)),
        ]
    ));
    client.disconnect().await.unwrap();
}

#[test]
fn calls_from_elsewhere_end_when_the_runtime_of_the_client_does() {
    const NO_TIMEOUT: Duration = Duration::from_secs(3600);
    let broker = Broker::start();
    let (own, elsewhere) =
        (tokio::runtime::Runtime::new().unwrap(), tokio::runtime::Runtime::new().unwrap());
    let connect = || {
        let builder = Client::builder().connect_timeout(NO_TIMEOUT).disconnect_timeout(NO_TIMEOUT);
        own.block_on(builder.connect_async(&broker.path)).unwrap()
    };
    let (client, leaving) = (connect(), connect());
    let mut subscription = own.block_on(client.subscribe("never")).unwrap();
    broker.state.ignore_bye.store(true, SeqCst);
    broker.state.stalled.store(true, SeqCst);
    while client.try_emit("flood", [0; 1000]).is_ok() {}
    type Call = std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;
    let [emit, flush, on, ping, status] = [(); 5].map(|()| client.clone());
    let calls: [Call; 6] = [
        // More than any buffer takes.
        Box::pin(async move { emit.emit("big", vec![0; 12 << 20]).await }),
        Box::pin(async move { flush.flush().await }),
        Box::pin(async move { on.on("a", |_| {}).await.map(drop) }),
        Box::pin(async move { ping.ping().await.map(drop) }),
        Box::pin(async move { status.status().await.map(drop) }),
        Box::pin(async move { leaving.disconnect().await }),
    ];
    let calls = calls.map(|call| elsewhere.spawn(call));
    let taking = elsewhere.spawn(async move { subscription.recv().await });
    // So that they wait; it holds as well if they come too late for that.
    std::thread::sleep(Duration::from_millis(100));
    assert!(calls.iter().all(|call| !call.is_finished()) && !taking.is_finished());
    drop(own);
    elsewhere.block_on(async {
        for (index, call) in calls.into_iter().enumerate() {
            let done = tokio::time::timeout(PATIENCE, call).await.expect("it waits on").unwrap();
            let gone =
                matches!(done, Err(Error::Disconnected(DisconnectReason::ConnectionLost(_))));
            assert!(gone, "call {index}: {done:?}");
        }
        let taken = tokio::time::timeout(PATIENCE, taking).await.expect("it waits on").unwrap();
        assert_eq!(taken, Err(RecvError::Ended));
        assert!(client.is_closed());
        assert!(client.emit("a", "").await.is_err() && client.subscribe("a").await.is_err());
    });
}
