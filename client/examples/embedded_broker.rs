//! A unit test of code that uses the bus, with a broker of its own: nothing is shared
//! with the machine's broker. `cargo test --example embedded_broker` runs it.

use netcluster_client::{Client, Error};

/// The code that is tested: doubles what it is sent.
fn serve(client: &Client) -> Result<(), Error> {
    let answering = client.clone();
    client.on("double", move |message| {
        let number = message.payload().first().copied().unwrap_or(0);
        // Full: whoever asked asks again.
        let _ = answering.emit("doubled", [number * 2]);
    })?;
    Ok(())
}

fn main() -> Result<(), Error> {
    serve(&Client::connect_default()?)?;
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use netcluster::{Broker, BrokerOptions};

    use super::*;

    #[test]
    fn numbers_are_doubled() -> Result<(), Box<dyn std::error::Error>> {
        let directory = std::env::temp_dir().join(format!("doubling-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let socket = directory.join("broker.sock");
        // Clients can connect once this returns; dropping it ends it.
        let _broker = Broker::start(BrokerOptions::new(&socket))?;

        let service = Client::connect(&socket)?;
        serve(&service)?;
        let asker = Client::connect(&socket)?;
        // In force once this returns: what is emitted afterwards arrives.
        let answers = asker.subscribe("doubled")?;
        asker.emit("double", [21])?;

        // Only a failure takes so long.
        let answer = answers.recv_timeout(Duration::from_secs(10))?;
        assert_eq!(answer.payload(), [42]);
        Ok(std::fs::remove_dir_all(&directory)?)
    }
}
