//! Prints the data of every `log` event: `receiver [SOCKET]`.

use netcluster_client::{Client, Error};

fn main() -> Result<(), Error> {
    let client = match std::env::args_os().nth(1) {
        Some(socket) => Client::connect(socket)?,
        None => Client::connect_default()?,
    };
    client.on("log", |message| println!("{}", String::from_utf8_lossy(message.payload())))?;
    loop {
        std::thread::park();
    }
}
