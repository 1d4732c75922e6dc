//! Emits `log` with `TESTE` every second: `sender [SOCKET [COUNT]]`.

use std::time::Duration;

use netcluster_client::{Client, Error};

fn main() -> Result<(), Error> {
    let count = std::env::args().nth(2).and_then(|count| count.parse().ok()).unwrap_or(u64::MAX);
    let client = match std::env::args_os().nth(1) {
        Some(socket) => Client::connect(socket)?,
        None => Client::connect_default()?,
    };
    for _ in 0..count {
        client.emit_text("log", "TESTE")?;
        std::thread::sleep(Duration::from_secs(1));
    }
    client.disconnect()
}
