//! Emits a value as JSON and reads it as a value: `json [SOCKET]`, with the feature
//! `json`.

use netcluster_client::{Client, Error};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Reading {
    room: String,
    celsius: f64,
}

fn main() -> Result<(), Error> {
    // Hears itself, as one program shows both sides.
    let builder = Client::builder().echo(true);
    let client = match std::env::args_os().nth(1) {
        Some(socket) => builder.connect(socket)?,
        None => builder.connect_default()?,
    };
    let readings = client.subscribe("reading.*")?;
    let reading = Reading { room: "kitchen".into(), celsius: 21.5 };
    client.emit_json("reading.kitchen", &reading)?;
    for message in readings.filter_map(Result::ok).take(1) {
        let heard: Reading = message.json()?;
        assert_eq!(heard, reading);
        println!("{heard:?}");
    }
    client.disconnect()
}
