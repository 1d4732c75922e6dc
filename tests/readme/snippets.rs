//! Rust of README and `docs/`, compiled and run. The lines between the marks are those
//! that a document shows; the test compares them.

use std::time::Duration;

/// Outcome of a snippet.
type Ended = Result<(), Box<dyn std::error::Error>>;

pub fn receiver() -> Ended {
    use netcluster_client::Client;
    // shown: receiver
    let client = Client::connect_default()?;
    client.on("log", |message| println!("{}", String::from_utf8_lossy(message.payload())))?;
    // shown: end
    loop {
        std::thread::park();
    }
}

pub fn sender() -> Ended {
    use netcluster_client::Client;
    // shown: sender
    let client = Client::connect_default()?;
    loop {
        client.emit_text("log", "TESTE")?;
        std::thread::sleep(Duration::from_secs(1));
    }
    // shown: end
}

pub fn languages() -> Ended {
    // shown: languages
    use netcluster_client::Client;

    let client = Client::builder().echo(true).connect_default()?;
    let events = client.subscribe("sensor.**")?;
    client.emit_text("sensor.kitchen", "21.5")?;
    client.emit_json("sensor.attic", &[19.5, 20.5])?;
    for message in events.take(2) {
        let message = message?;
        println!("{} {} {}", message.event(), message.encoding(), message.text()?);
    }
    client.disconnect()?;
    // shown: end
    Ok(())
}

#[allow(unused_variables, reason = "as the document shows it")]
pub fn client() -> Ended {
    // shown: client
    use netcluster_client::Client;

    let client = Client::builder().channel("prices").name("ticker").connect_default()?;

    let id = client.on("eur.*", |message| {              // `*` is one token, `**` any number
        println!("{} #{} from {}", message.event(), message.sequence(), message.source());
        let bytes: &[u8] = message.payload();            // in place, 8-aligned
    })?;
    client.once("ready", |_| println!("told once"))?;
    client.emit("eur.usd", 1.0842f64.to_le_bytes())?;    // bytes; `emit_text`, `emit_json` for other languages
    client.remove_listener(id);

    for item in client.subscribe("usd.**")?.take(3) {    // pull style: waits for each
        match item {
            Ok(message) => println!("{}", message.event()),
            Err(lost) => println!("{lost}"),             // events are missing at this place
        }
    }
    client.disconnect()?;                                // returns once all is queued at every listener
    // shown: end
    Ok(())
}

pub fn everywhere() -> Ended {
    use netcluster_client::Client;
    // shown: everywhere
    let client = Client::builder().wait_for_cluster(Duration::from_secs(5)).connect_default()?;
    client.on("log.**", |message| println!("{}", message.event()))?;     // known to every linked broker
    // shown: end
    client.disconnect()?;
    Ok(())
}

pub fn embedded() -> Ended {
    // shown: embedded
    use netcluster::{Broker, BrokerOptions};
    use netcluster_client::Client;

    let directory = std::env::temp_dir().join(format!("bus-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let socket = directory.join("broker.sock");                  // short: the system allows some 100 bytes
    let broker = Broker::start(BrokerOptions::new(&socket))?;     // clients can connect once this returns

    let listener = Client::connect(&socket)?;
    let orders = listener.subscribe("order.*")?;                 // in force once this returns
    let emitter = Client::connect(&socket)?;
    emitter.emit("order.new", "42")?;

    let order = orders.recv_timeout(Duration::from_secs(10))?;
    assert_eq!((order.event(), order.payload()), ("order.new", &b"42"[..]));
    drop(broker);                                                // says goodbye to the clients and ends
    // shown: end
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

#[allow(unused_variables, reason = "as the document shows it")]
pub fn restart() -> Ended {
    use netcluster::{Broker, BrokerOptions};
    use netcluster_client::{Client, Lifecycle};
    let socket = std::env::temp_dir().join(format!("bus-{}.sock", std::process::id()));
    let broker = Broker::start(BrokerOptions::new(&socket))?;
    // shown: restart
    let (told, lifecycle) = std::sync::mpsc::channel();
    let client = Client::builder()
        .on_lifecycle(move |what| drop(told.send(what.clone())))
        .connect(&socket)?;
    drop(broker);
    let broker = Broker::start(BrokerOptions::new(&socket))?;
    let wait = Duration::from_secs(10);
    while !matches!(lifecycle.recv_timeout(wait)?, Lifecycle::Connect { resumed: true, .. }) {}
    // shown: end
    client.emit("order.new", "42")?;
    client.disconnect()?;
    Ok(())
}
