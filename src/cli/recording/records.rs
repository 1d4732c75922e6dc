//! Records of an MCAP file that others wrote, one after the other, also those in chunks.
//!
//! The readers of the crate `mcap` take as much memory as a file claims to need, and rely on
//! the lengths in a chunk; so its records are found here, and it reads what is in them.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, Read};

use mcap::records::{Record, op};
use netcluster_wire::limits::HARD_MAX_PAYLOAD_BYTES;

/// Largest record of a file that is read: room for the largest event and whatever is in its
/// chunk.
const MAX_RECORD_BYTES: u64 = HARD_MAX_PAYLOAD_BYTES as u64 + (64 << 20);

/// Largest record of another kind than a chunk or a message.
const MAX_OTHER_BYTES: u64 = 1 << 20;

/// Length of the operation and the length before a record.
const HEAD_BYTES: usize = 1 + 8;

/// Way in which a file is bad.
#[derive(Debug)]
pub enum Bad {
    /// The file ends before its end, at this place.
    Cut {
        /// Bytes up to there.
        at: u64,
    },
    /// Something in the file is wrong.
    Damaged {
        /// Bytes up to the record.
        at: u64,
        /// Flaw of the record.
        why: Cow<'static, str>,
    },
    /// The system cannot read it.
    Io(io::Error),
}

impl fmt::Display for Bad {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Cut { at } => write!(
                formatter,
                "it ends in the middle, at byte {at}: what recorded it was ended, or a copy is \
                 not complete"
            ),
            Bad::Damaged { at, why } => write!(formatter, "it is damaged at byte {at}: {why}"),
            Bad::Io(error) => write!(formatter, "it cannot be read: {error}"),
        }
    }
}

/// Place of a record.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Kind of the record.
    pub opcode: u8,
    /// Range of the buffer.
    start: usize,
    end: usize,
    /// Place in the file, of its chunk if it is in one.
    at: u64,
}

impl Place {
    /// The failure that something is wrong there.
    pub fn damaged(&self, why: &'static str) -> Bad {
        Bad::Damaged { at: self.at, why: why.into() }
    }
}

/// Records of a file, in its order.
pub struct Records<R> {
    input: R,
    /// Bytes of the file, and of those the ones that are read.
    length: u64,
    position: u64,
    /// The record that is told, or the chunk it is in.
    buffer: Vec<u8>,
    /// Range of the buffer that is left of a chunk.
    chunk: Option<(usize, usize)>,
    /// Place of the chunk in the file.
    chunk_at: u64,
    /// Whether there was a chunk: then messages are in chunks alone.
    is_chunked: bool,
    /// Checksum of all before the end of the data, up to there.
    checksum: Option<crc32fast::Hasher>,
    ended: bool,
}

impl<R: BufRead> Records<R> {
    /// Begins at the start of a file of this length.
    pub fn begin(mut input: R, length: u64) -> Result<Records<R>, Bad> {
        let mut magic = Vec::new();
        let wanted = mcap::MAGIC.len() as u64;
        input.by_ref().take(wanted).read_to_end(&mut magic).map_err(Bad::Io)?;
        if magic != mcap::MAGIC {
            return Err(if mcap::MAGIC.starts_with(&magic) {
                Bad::Cut { at: magic.len() as u64 }
            } else {
                Bad::Damaged { at: 0, why: "it is no MCAP file".into() }
            });
        }
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&magic);
        Ok(Records {
            input,
            length,
            position: wanted,
            buffer: Vec::new(),
            chunk: None,
            chunk_at: 0,
            is_chunked: false,
            checksum: Some(checksum),
            ended: false,
        })
    }

    /// Goes to the next channel, message or metadata; `None` at the end of a whole file.
    /// What is in a chunk has been checked against its checksum.
    pub fn advance(&mut self) -> Result<Option<Place>, Bad> {
        loop {
            if let Some((at, end)) = self.chunk {
                if at == end {
                    self.chunk = None;
                    continue;
                }
                let place = self.chunk_at;
                let damaged = |why| Bad::Damaged { at: place, why };
                let short = || damaged("a record is longer than its chunk".into());
                let rest = &self.buffer[at..end];
                let (head, body) = rest.split_at_checked(HEAD_BYTES).ok_or_else(short)?;
                let (opcode, length) = split_head(head);
                let length = usize::try_from(length).map_err(|_| short())?;
                if length > body.len() {
                    return Err(short());
                }
                let start = at + HEAD_BYTES;
                self.chunk = Some((start + length, end));
                if is_told(opcode) {
                    check_length(opcode, length as u64, place)?;
                    return Ok(Some(Place { opcode, start, end: start + length, at: place }));
                }
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            let at = self.position;
            let (opcode, length) = self.head()?;
            if length > self.length.saturating_sub(self.position) {
                return Err(Bad::Cut { at });
            }
            match opcode {
                op::DATA_END => {
                    self.read(opcode, length, at)?;
                    self.check_data(at)?;
                }
                op::CHUNK => {
                    self.read(opcode, length, at)?;
                    self.enter(at)?;
                    self.is_chunked = true;
                }
                op::FOOTER => {
                    self.skip(length)?;
                    self.read_end()?;
                    self.ended = true;
                }
                op::MESSAGE if self.is_chunked => {
                    let why = "a message is outside of the chunks".into();
                    return Err(Bad::Damaged { at, why });
                }
                opcode if is_told(opcode) => {
                    self.read(opcode, length, at)?;
                    return Ok(Some(Place { opcode, start: 0, end: self.buffer.len(), at }));
                }
                _ => self.skip(length)?,
            }
        }
    }

    /// Reads a record at the place that [`Records::advance`] told last.
    pub fn record(&self, place: Place) -> Result<Record<'_>, Bad> {
        parse(place.opcode, &self.buffer[place.start..place.end], place.at)
    }

    fn head(&mut self) -> Result<(u8, u64), Bad> {
        let mut head = [0; HEAD_BYTES];
        let at = self.position;
        self.input.read_exact(&mut head).map_err(|error| cut_or(error, at))?;
        self.position += HEAD_BYTES as u64;
        if head[0] != op::DATA_END
            && let Some(checksum) = &mut self.checksum
        {
            checksum.update(&head);
        }
        Ok(split_head(&head))
    }

    /// Reads a record into the buffer, which grows as the bytes come.
    fn read(&mut self, opcode: u8, length: u64, at: u64) -> Result<(), Bad> {
        check_length(opcode, length, at)?;
        self.buffer.clear();
        let read = self.input.by_ref().take(length).read_to_end(&mut self.buffer);
        let read = read.map_err(Bad::Io)? as u64;
        self.position += read;
        if let Some(checksum) = &mut self.checksum
            && opcode != op::DATA_END
        {
            checksum.update(&self.buffer);
        }
        if read < length { Err(Bad::Cut { at }) } else { Ok(()) }
    }

    /// Reads past what is not told.
    fn skip(&mut self, length: u64) -> Result<(), Bad> {
        let at = self.position;
        let mut left = length;
        while left > 0 {
            let bytes = self.input.fill_buf().map_err(Bad::Io)?;
            let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if taken == 0 {
                return Err(Bad::Cut { at });
            }
            if let Some(checksum) = &mut self.checksum {
                checksum.update(&bytes[..taken]);
            }
            self.input.consume(taken);
            left -= taken as u64;
        }
        self.position += length;
        Ok(())
    }

    /// Checks all data against what their end says.
    fn check_data(&mut self, at: u64) -> Result<(), Bad> {
        let checksum = self.checksum.take().map(crc32fast::Hasher::finalize);
        match parse(op::DATA_END, &self.buffer, at)? {
            Record::DataEnd(end)
                if end.data_section_crc == 0 || Some(end.data_section_crc) == checksum =>
            {
                Ok(())
            }
            _ => {
                let why = "something before has another checksum than it says";
                Err(Bad::Damaged { at, why: why.into() })
            }
        }
    }

    fn read_end(&mut self) -> Result<(), Bad> {
        let mut magic = [0; mcap::MAGIC.len()];
        let at = self.position;
        self.input.read_exact(&mut magic).map_err(|error| cut_or(error, at))?;
        if magic != mcap::MAGIC {
            return Err(Bad::Damaged { at, why: "its last bytes are not those of MCAP".into() });
        }
        Ok(())
    }

    /// Enters the chunk in the buffer.
    fn enter(&mut self, at: u64) -> Result<(), Bad> {
        let damaged = |why: Cow<'static, str>| Bad::Damaged { at, why };
        let Record::Chunk { header, data } = parse(op::CHUNK, &self.buffer, at)? else {
            return Err(damaged("a chunk is none".into()));
        };
        if !header.compression.is_empty() {
            // Its name is what others wrote.
            let name: String = header.compression.chars().take(20).collect();
            return Err(damaged(
                format!(
                    "it is compressed by `{}`, which is not supported: `mcap decompress` makes a \
                     file that is not",
                    super::super::render::escaped(&name)
                )
                .into(),
            ));
        }
        if data.len() as u64 != header.uncompressed_size {
            return Err(damaged("a chunk has another length than it says".into()));
        }
        let is_checked = header.uncompressed_crc != 0;
        if is_checked && crc32fast::hash(&data) != header.uncompressed_crc {
            return Err(damaged("a chunk has another checksum than it says".into()));
        }
        let Cow::Borrowed(data) = data else {
            return Err(damaged("a chunk is none".into()));
        };
        // Its data are the last of what its header leaves, but for padding.
        let start = data.as_ptr() as usize - self.buffer.as_ptr() as usize;
        self.chunk = Some((start, start + data.len()));
        self.chunk_at = at;
        Ok(())
    }
}

fn is_told(opcode: u8) -> bool {
    matches!(opcode, op::CHANNEL | op::MESSAGE | op::METADATA)
}

fn split_head(head: &[u8]) -> (u8, u64) {
    let mut length = [0; 8];
    length.copy_from_slice(&head[1..HEAD_BYTES]);
    (head[0], u64::from_le_bytes(length))
}

fn check_length(opcode: u8, length: u64, at: u64) -> Result<(), Bad> {
    let limit = match opcode {
        op::CHUNK | op::MESSAGE => MAX_RECORD_BYTES,
        _ => MAX_OTHER_BYTES,
    };
    if length > limit {
        let why = format!("a record of {length} bytes is longer than {limit} bytes, the limit");
        return Err(Bad::Damaged { at, why: why.into() });
    }
    Ok(())
}

fn parse(opcode: u8, body: &[u8], at: u64) -> Result<Record<'_>, Bad> {
    let damaged = || Bad::Damaged { at, why: "a record is not what it is said to be".into() };
    has_its_texts(opcode, body).ok_or_else(damaged)?;
    mcap::parse_record(opcode, body).map_err(|_| damaged())
}

/// Checks that the texts of a record are in it: the crate takes memory for what their lengths
/// claim, before it reads.
fn has_its_texts(opcode: u8, body: &[u8]) -> Option<()> {
    let (numbers_bytes, texts, has_map) = match opcode {
        op::CHANNEL => (4, 2, true),
        op::METADATA => (0, 1, true),
        op::CHUNK => (28, 1, false),
        _ => return Some(()),
    };
    let mut rest = body.get(numbers_bytes..)?;
    for _ in 0..texts {
        rest = split_text(rest)?.1;
    }
    if has_map {
        let mut map = split_text(rest)?.0;
        while !map.is_empty() {
            map = split_text(split_text(map)?.1)?.1;
        }
    }
    Some(())
}

/// Splits behind a text and its length.
fn split_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

fn cut_or(error: io::Error, at: u64) -> Bad {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Bad::Cut { at },
        _ => Bad::Io(error),
    }
}
