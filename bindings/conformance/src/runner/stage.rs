//! The place of one scenario: a directory, and the programs that are started in it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use netcluster_testkit::Directory;

use super::{Broker, Driver, Liar, Wire};

/// The programs of a run.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Command of the driver under test.
    pub client: String,
    /// Command of the other driver.
    pub peer: String,
    /// The broker's program.
    pub broker: PathBuf,
}

/// The stage of one scenario.
pub struct Stage<'a> {
    directory: Directory,
    programs: &'a Programs,
}

impl Stage<'_> {
    /// An empty stage.
    #[must_use]
    pub fn new(programs: &Programs) -> Stage<'_> {
        Stage { directory: Directory::new(), programs }
    }

    /// A path on it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A broker with these arguments.
    ///
    /// # Errors
    /// It does not start.
    pub fn broker(&self, arguments: &[&str]) -> Result<Broker> {
        Broker::start(&self.programs.broker, &self.path("bus.sock"), arguments)
    }

    /// A server that lies.
    ///
    /// # Errors
    /// The system's.
    pub fn liar(
        &self,
        script: impl Fn(usize, Wire) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Liar> {
        Liar::start(&self.path("liar.sock"), script)
    }

    /// A driver of the client under test.
    ///
    /// # Errors
    /// It does not start.
    pub fn client(&self) -> Result<Driver> {
        Driver::start(&self.programs.client).context("the client's driver")
    }

    /// A driver of the other client.
    ///
    /// # Errors
    /// It does not start.
    pub fn peer(&self) -> Result<Driver> {
        Driver::start(&self.programs.peer).context("the peer's driver")
    }

    /// A broker, and both drivers connected to it.
    ///
    /// # Errors
    /// One of them does not start.
    pub fn trio(&self, arguments: &[&str]) -> Result<(Broker, Driver, Driver)> {
        let broker = self.broker(arguments)?;
        let (mut client, mut peer) = (self.client()?, self.peer()?);
        client.connect(broker.socket())?;
        peer.connect(broker.socket())?;
        Ok((broker, client, peer))
    }
}
