//! Moves the bytes of many connections on one thread: io_uring or tokio.
//!
//! Connections are opened one after the other, so that a broker's backlog is
//! not what is measured.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Connection, failed};

/// Room for what a read brings, in bytes: some eighty events of 64 bytes.
const READ_BYTES: usize = 8 * 1024;
/// Number of operations that are handed to the ring at once.
#[cfg(target_os = "linux")]
const RING_ENTRIES: u32 = 4096;

/// Drives all connections on a thread of its own; returns by what.
pub fn drive(socket: PathBuf, by_epoll: bool, connections: Vec<Connection>) -> Result<String> {
    let (told, driver) = channel();
    thread::Builder::new().name("sockets".into()).spawn(move || {
        let driven = if by_epoll {
            let _ = told.send("tokio".into());
            drive_tokio(&socket, connections)
        } else {
            drive_here(&socket, connections, &told)
        };
        if let Err(error) = driven {
            failed(error);
        }
    })?;
    driver.recv().context("the thread of the connections ended")
}

#[cfg(target_os = "linux")]
fn drive_here(socket: &Path, connections: Vec<Connection>, told: &Sender<String>) -> Result<()> {
    let mut builder = tokio_uring::builder();
    builder.entries(RING_ENTRIES);
    match tokio_uring::Runtime::new(&builder) {
        Ok(runtime) => {
            let _ = told.send("tokio-uring".into());
            runtime.block_on(connect_uring(socket, connections))
        }
        Err(error) => {
            let _ = told.send(format!("tokio, since io_uring is not available: {error}"));
            drive_tokio(socket, connections)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn drive_here(socket: &Path, connections: Vec<Connection>, told: &Sender<String>) -> Result<()> {
    let _ = told.send("tokio, since io_uring is Linux's".into());
    drive_tokio(socket, connections)
}

#[cfg(target_os = "linux")]
async fn connect_uring(socket: &Path, connections: Vec<Connection>) -> Result<()> {
    for connection in connections {
        let stream = tokio_uring::net::UnixStream::connect(socket).await;
        let stream = stream.context("cannot connect")?;
        tokio_uring::spawn(async move {
            if let Err(error) = run_uring(stream, connection).await {
                failed(error);
            }
        });
    }
    std::future::pending().await
}

#[cfg(target_os = "linux")]
async fn run_uring(stream: tokio_uring::net::UnixStream, mut connection: Connection) -> Result<()> {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        let outbound = connection.take_outbound();
        if !outbound.is_empty() {
            stream.write_all(outbound).await.0?;
        }
        let (read, filled) = stream.read(buffer).await;
        let read = read?;
        if read == 0 {
            bail!("closed by the broker");
        }
        connection.received(&filled[..read])?;
        buffer = filled;
    }
}

fn drive_tokio(socket: &Path, connections: Vec<Connection>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        for connection in connections {
            let stream = tokio::net::UnixStream::connect(socket).await;
            let stream = stream.context("cannot connect")?;
            tokio::task::spawn_local(async move {
                if let Err(error) = run_tokio(stream, connection).await {
                    failed(error);
                }
            });
        }
        std::future::pending().await
    })
}

async fn run_tokio(mut stream: tokio::net::UnixStream, mut connection: Connection) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let outbound = connection.take_outbound();
        if !outbound.is_empty() {
            stream.write_all(&outbound).await?;
        }
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            bail!("closed by the broker");
        }
        connection.received(&buffer[..read])?;
    }
}
