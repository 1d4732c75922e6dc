//! Answers questions, asks one, and waits for the answer: `tokio [SOCKET]`, with the
//! feature `tokio`.

use netcluster_client::{AsyncClient, Error};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let connect = async || match std::env::args_os().nth(1) {
        Some(socket) => AsyncClient::connect(socket).await,
        None => AsyncClient::connect_default().await,
    };
    let (server, asker) = (connect().await?, connect().await?);

    // Listeners must not wait: `try_emit`, or a task of its own for what has to.
    let answering = server.clone();
    server
        .on("question", move |message| {
            if let Err(error) = answering.try_emit("answer", message.payload()) {
                eprintln!("no answer: {error}");
            }
        })
        .await?;

    let mut answers = asker.subscribe("answer").await?;
    asker.emit("question", "still there?").await?;
    match answers.recv().await {
        Ok(message) => println!("{}", String::from_utf8_lossy(message.payload())),
        Err(error) => eprintln!("{error}"),
    }
    asker.disconnect().await?;
    server.disconnect().await
}
