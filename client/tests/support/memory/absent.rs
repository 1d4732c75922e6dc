//! Systems that have none.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use super::super::transport::Stream;

pub struct Memory(Infallible);
pub struct Reader(Infallible);
pub struct Writer(Infallible);

impl Memory {
    pub fn new() -> Option<Arc<Memory>> {
        None
    }

    pub fn offer(&self, _: &Stream, _: &[u8]) {
        match self.0 {}
    }

    pub fn arena_bytes(&self) -> u64 {
        match self.0 {}
    }

    pub fn reader(self: &Arc<Memory>) -> Reader {
        match self.0 {}
    }

    pub fn writer(self: &Arc<Memory>) -> Writer {
        match self.0 {}
    }
}

impl Reader {
    pub fn size(&self) -> usize {
        match self.0 {}
    }

    pub fn is_room_wanted(&self) -> bool {
        match self.0 {}
    }

    pub fn read(&mut self, _: &Stream, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Writer {
    pub fn send(&mut self, _: &Stream, _: &[u8]) -> bool {
        match self.0 {}
    }
}
