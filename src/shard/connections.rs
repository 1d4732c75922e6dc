//! The connections that one shard owns, by their places.
//!
//! Decision: `docs/decisions/002-route-copy-per-shard.md`.

use netcluster_platform::Conn;

use crate::connection::Connection;
use crate::target::Target;

/// Table of connections. A place is used by one at a time.
#[derive(Default)]
pub(super) struct Connections {
    table: Vec<Option<Box<Connection>>>,
    /// Number of places taken.
    present: usize,
    /// Number of connections that are drained: their last bytes are read and thrown
    /// away.
    pub drained: usize,
}

impl Connections {
    /// Puts a connection into its place.
    pub fn insert(&mut self, connection: Connection) {
        let at = connection.target.conn.0 as usize;
        if self.table.len() <= at {
            self.table.resize_with(at + 1, || None);
        }
        assert!(self.table[at].is_none(), "a place is used once at a time");
        self.table[at] = Some(Box::new(connection));
        self.present += 1;
    }

    /// Takes a connection out of its place.
    pub fn remove(&mut self, conn: Conn) -> Option<Box<Connection>> {
        let connection = self.table[conn.0 as usize].take();
        self.present -= usize::from(connection.is_some());
        connection
    }

    /// Returns the connection in this place.
    ///
    /// # Panics
    /// If there is none: a completion came for a connection that is closed.
    #[inline]
    pub fn at(&mut self, conn: Conn) -> &mut Connection {
        self.get_mut(conn).expect("a completion has its connection")
    }

    /// Returns the connection in this place, if there is one.
    #[inline]
    pub fn get_mut(&mut self, conn: Conn) -> Option<&mut Connection> {
        self.table.get_mut(conn.0 as usize)?.as_deref_mut()
    }

    /// Returns the connection that a target names, if it is still there.
    #[inline]
    pub fn find(&mut self, target: Target) -> Option<&mut Connection> {
        self.get_mut(target.conn).filter(|connection| connection.target == target)
    }

    /// Returns the connection that a target names, if events may be queued to it.
    #[inline]
    pub fn find_open(&mut self, target: Target) -> Option<&mut Connection> {
        self.find(target).filter(|connection| connection.is_open())
    }

    /// Returns all connections.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.table.iter().flatten().map(Box::as_ref)
    }

    /// Returns the connections in so many places from one on.
    pub fn range(&self, from: usize, places: usize) -> impl Iterator<Item = &Connection> {
        self.table.iter().skip(from).take(places).flatten().map(Box::as_ref)
    }

    /// Returns the number of places that were ever used.
    pub fn places_used(&self) -> usize {
        self.table.len()
    }

    /// Returns all connections, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.table.iter_mut().flatten().map(Box::as_mut)
    }

    /// Returns the places of all connections, for callers that change the table as they
    /// go.
    pub fn places(&self) -> Vec<Conn> {
        self.iter().map(|connection| connection.target.conn).collect()
    }

    /// Returns whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// Gives back the room behind the last connection.
    pub fn shrink(&mut self) {
        while let Some(None) = self.table.last() {
            self.table.pop();
        }
        self.table.shrink_to_fit();
    }
}
