//! Emits `log` with `TESTE` every second: `sender [SOCKET [COUNT]]`.

use std::time::Duration;

use netcluster_client::{Client, Error, default_socket_path};

fn main() -> Result<(), Error> {
    let path = std::env::args_os().nth(1).map_or_else(default_socket_path, Into::into);
    let count = std::env::args().nth(2).and_then(|count| count.parse().ok()).unwrap_or(u64::MAX);
    let client = Client::connect(path)?;
    for _ in 0..count {
        client.emit("log", "TESTE")?;
        std::thread::sleep(Duration::from_secs(1));
    }
    client.disconnect()
}
