//! Prints the data of every `log` event: `receiver [SOCKET]`.

use netcluster_client::{Client, Error, default_socket_path};

fn main() -> Result<(), Error> {
    let path = std::env::args_os().nth(1).map_or_else(default_socket_path, Into::into);
    let client = Client::connect(path)?;
    client.on("log", |message| println!("{}", String::from_utf8_lossy(message.payload())))?;
    loop {
        std::thread::park();
    }
}
