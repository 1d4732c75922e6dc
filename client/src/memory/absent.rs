//! Systems without shared memory: nothing is ever offered or mapped.

/// Descriptors that came with an offer: none ever do.
#[derive(Debug, Default)]
pub(crate) struct Descriptors;

impl Descriptors {
    /// Maps what they are of.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn map(&mut self, _: u64) -> Result<Memory, String> {
        Err("this system has no memory that can be shared".to_owned())
    }

    /// Forgets them.
    pub(crate) fn clear(&mut self) {}
}

/// Both halves of a connection's memory.
#[derive(Debug)]
pub(crate) enum Memory {}

impl Memory {
    pub(crate) fn split(self) -> (Ring, Incoming) {
        match self {}
    }
}

/// A bell of the broker's.
#[derive(Debug)]
pub(crate) enum Bell {}

impl Bell {
    pub(crate) fn ring(self) {
        match self {}
    }
}

#[cfg(unix)]
mod waits {
    use std::io;
    use std::os::fd::BorrowedFd;
    use std::time::Duration;

    impl super::Ring {
        pub(crate) fn wait_for_room(&mut self, _: usize, _: BorrowedFd<'_>) -> io::Result<()> {
            match *self {}
        }
    }

    impl super::Incoming {
        pub(crate) fn wait(&mut self, _: BorrowedFd<'_>, _: Duration) -> io::Result<bool> {
            match *self {}
        }
    }
}

/// The outgoing half.
#[derive(Debug)]
pub(crate) enum Ring {}

impl Ring {
    pub(crate) fn is_forked(&self) -> bool {
        match *self {}
    }

    pub(crate) fn appended(&self) -> usize {
        match *self {}
    }

    pub(crate) fn has_batch(&self) -> bool {
        match *self {}
    }

    pub(crate) fn may_grow(&self) -> bool {
        match *self {}
    }

    pub(crate) fn space(&mut self, _: usize) -> Option<&mut [u8]> {
        match *self {}
    }

    pub(crate) fn append(&mut self, _: usize) {
        match *self {}
    }

    pub(crate) fn copy(&mut self, _: &[u8]) -> usize {
        match *self {}
    }

    pub(crate) fn put(&mut self) -> Option<Bell> {
        match *self {}
    }

    pub(crate) fn room(&mut self) -> usize {
        match *self {}
    }

    pub(crate) fn size(&self) -> usize {
        match *self {}
    }

    #[cfg(any(test, feature = "tokio"))]
    pub(crate) fn want_room(&mut self, _: usize) -> bool {
        match *self {}
    }

    pub(crate) fn is_ended(&self) -> bool {
        match *self {}
    }

    pub(crate) fn begin_cut(&mut self, _bytes: usize) {
        match *self {}
    }

    pub(crate) fn end_cut(&mut self) {
        match *self {}
    }

    pub(crate) fn is_cut_by_end(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_taken(&self) -> bool {
        match *self {}
    }

    pub(crate) fn take_back(&mut self) -> Vec<u8> {
        match *self {}
    }
}

/// The incoming half.
#[derive(Debug)]
pub(crate) enum Incoming {}

impl Incoming {
    pub(crate) fn take(&mut self) -> super::Taken {
        match *self {}
    }

    pub(crate) fn range(&self, _: u64, _: u32) -> Option<&[u8]> {
        match *self {}
    }

    pub(crate) fn is_revoked(&self) -> bool {
        match *self {}
    }

    pub(crate) fn release(&mut self) {
        match *self {}
    }
}
