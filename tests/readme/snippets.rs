//! The Rust of README, compiled and run. What lies between the marks is what README
//! says, line by line; the test compares them.

use std::time::Duration;

use netcluster_client::Error;

pub fn receiver() -> Result<(), Error> {
    use netcluster_client::Client;
    // README: receiver
    let client = Client::connect_default()?;
    client.on("log", |message| println!("{}", String::from_utf8_lossy(message.payload())))?;
    // README: end
    loop {
        std::thread::park();
    }
}

pub fn sender() -> Result<(), Error> {
    use netcluster_client::Client;
    // README: sender
    let client = Client::connect_default()?;
    loop {
        client.emit("log", "TESTE")?;
        std::thread::sleep(Duration::from_secs(1));
    }
    // README: end
}

#[allow(unused_variables, reason = "as README shows it")]
pub fn client() -> Result<(), Error> {
    // README: client
    use netcluster_client::Client;

    let client = Client::builder().channel("prices").name("ticker").connect_default()?;

    let id = client.on("eur.*", |message| {              // `*` is one token, `**` any number
        println!("{} #{} from {}", message.event(), message.sequence(), message.source());
        let bytes: &[u8] = message.payload();            // in place, 8-aligned
    })?;
    client.once("ready", |_| println!("told once"))?;
    client.emit("eur.usd", 1.0842f64.to_le_bytes())?;    // coalesces under load, goes out at once when idle
    client.remove_listener(id);

    for item in client.subscribe("usd.**")?.take(3) {    // pull style: waits for each
        match item {
            Ok(message) => println!("{}", message.event()),
            Err(lost) => println!("{lost}"),             // events are missing at this place
        }
    }
    client.disconnect()?;                                // returns once all is queued at every listener
    // README: end
    Ok(())
}

pub fn everywhere() -> Result<(), Error> {
    use netcluster_client::Client;
    // README: everywhere
    let client = Client::builder().wait_for_cluster(Duration::from_secs(5)).connect_default()?;
    client.on("log.**", |message| println!("{}", message.event()))?;     // known to every linked broker
    // README: end
    client.disconnect()
}
