//! Where an answer's body ends, and its pieces (RFC 9112 §6, §7).

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use httparse::Status;
use memchr::{memchr, memmem};

use super::error::WireError;
use super::head::{Coding, Head};

/// Pieces up to this size are copied out of the buffer, which then need not be made anew.
const COPIED: usize = 4 * 1024;

/// The longest line that gives a chunk's size, its extension included; we read none.
const MOST_SIZE_LINE: usize = 4 * 1024;
/// What extensions of one body may hold together: a byte of body must not cost a page of them.
const MOST_EXTENSIONS: usize = 16 * 1024;
/// The largest trailers.
const MOST_TRAILERS: usize = 16 * 1024;

/// Finds a body's pieces in what comes.
#[derive(Debug)]
pub(super) enum Decoder {
    /// So many bytes are still to come.
    Length(u64),
    Chunks(Chunks),
    /// All that comes.
    UntilTheEnd,
}

/// What is in the bytes that came.
#[derive(Debug)]
pub(super) enum Decoded {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// Nothing yet.
    Nothing,
}

impl Decoder {
    /// That of the answer's body, unless it has none.
    pub(super) fn of(head: &Head, of_head: bool, most_fields: usize) -> Option<Self> {
        let status = head.parts.status;
        if of_head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
            return None;
        }
        match (head.coding, head.length) {
            (Coding::Chunked, _) => Some(Self::Chunks(Chunks::new(most_fields))),
            (Coding::None, Some(0)) => None,
            (Coding::None, Some(length)) => Some(Self::Length(length)),
            (Coding::None, None) | (Coding::Other, _) => Some(Self::UntilTheEnd),
        }
    }

    /// The next piece.
    pub(super) fn decode(&mut self, came: &mut BytesMut) -> Result<Decoded, WireError> {
        match self {
            Self::Length(left) => Ok(match taken(came, *left) {
                Some(data) => {
                    *left -= data.len() as u64;
                    Decoded::Data(data)
                }
                None => Decoded::Nothing,
            }),
            Self::Chunks(chunks) => chunks.decode(came),
            Self::UntilTheEnd => Ok(match taken(came, u64::MAX) {
                Some(data) => Decoded::Data(data),
                None => Decoded::Nothing,
            }),
        }
    }

    /// Whether the last piece was given out.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunks(chunks) => chunks.at == At::End,
            Self::UntilTheEnd => false,
        }
    }

    pub(super) const fn length_left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunks(_) | Self::UntilTheEnd => None,
        }
    }

    pub(super) const fn ends_with_the_connection(&self) -> bool {
        matches!(self, Self::UntilTheEnd)
    }
}

/// At most so many bytes of those that came; `None` where none did.
fn taken(came: &mut BytesMut, most: u64) -> Option<Bytes> {
    let length = came.len().min(usize::try_from(most).unwrap_or(usize::MAX));
    if length == 0 {
        return None;
    }
    if length > COPIED {
        return Some(came.split_to(length).freeze());
    }
    let data = came.get(..length).map(Bytes::copy_from_slice)?;
    came.advance(length);
    Some(data)
}

/// A body in chunks.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    extensions: usize,
    most_fields: usize,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
enum At {
    Size,
    Data(u64),
    /// The line's end after a chunk's data.
    DataEnd,
    Trailers,
    End,
}

impl Chunks {
    const fn new(most_fields: usize) -> Self {
        Self {
            at: At::Size,
            extensions: 0,
            most_fields,
        }
    }

    fn decode(&mut self, came: &mut BytesMut) -> Result<Decoded, WireError> {
        loop {
            match &mut self.at {
                At::Size => {
                    let Some(line) = line(came, MOST_SIZE_LINE)? else {
                        return Ok(Decoded::Nothing);
                    };
                    let (size, extension) = size(line)?;
                    let length = line.len() + 2;
                    came.advance(length);
                    self.extensions += extension;
                    if self.extensions > MOST_EXTENSIONS {
                        return Err(WireError::Chunks("too many extensions"));
                    }
                    self.at = match size {
                        0 => At::Trailers,
                        size => At::Data(size),
                    };
                }
                At::Data(left) => {
                    let Some(data) = taken(came, *left) else {
                        return Ok(Decoded::Nothing);
                    };
                    *left -= data.len() as u64;
                    if *left == 0 {
                        self.at = At::DataEnd;
                    }
                    return Ok(Decoded::Data(data));
                }
                At::DataEnd => {
                    match came.as_ref() {
                        [b'\r', b'\n', ..] => came.advance(2),
                        [] | [b'\r'] => return Ok(Decoded::Nothing),
                        _ => return Err(WireError::Chunks("a chunk is longer than its size")),
                    }
                    self.at = At::Size;
                }
                At::Trailers => {
                    let Some(trailers) = trailers(came, self.most_fields)? else {
                        return Ok(Decoded::Nothing);
                    };
                    self.at = At::End;
                    return Ok(if trailers.is_empty() {
                        Decoded::End
                    } else {
                        Decoded::Trailers(trailers)
                    });
                }
                At::End => return Ok(Decoded::End),
            }
        }
    }
}

/// The line that came first, without its end, CR and LF both.
fn line(came: &[u8], most: usize) -> Result<Option<&[u8]>, WireError> {
    let within = came.get(..most).unwrap_or(came);
    match memchr(b'\n', within) {
        None if within.len() < most => Ok(None),
        None => Err(WireError::Chunks("a line is too long")),
        Some(at) => {
            let line = within.get(..at).and_then(|line| line.strip_suffix(b"\r"));
            line.map(Some)
                .ok_or(WireError::Chunks("a line ends without CR"))
        }
    }
}

/// The size that a line gives, and how long its extension is.
fn size(line: &[u8]) -> Result<(u64, usize), WireError> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (digits, rest) = line.split_at(digits.count());
    let text = str::from_utf8(digits).unwrap_or_default();
    let size = u64::from_str_radix(text, 16).map_err(|_| WireError::Chunks("no size"))?;
    let is_blank = |byte: &&u8| matches!(**byte, b' ' | b'\t');
    let blanks = rest.iter().take_while(is_blank).count();
    let is_well_formed = match rest.get(blanks..) {
        None | Some([]) => true,
        Some([b';', named @ ..]) => !named.contains(&b'\r'),
        Some(_) => false,
    };
    if is_well_formed {
        Ok((size, rest.len()))
    } else {
        Err(WireError::Chunks("what follows a size is no extension"))
    }
}

/// Takes the trailers, with the empty line that ends them, where all have come. As a chunk's, none of
/// their lines ends with LF alone (J4).
fn trailers(came: &mut BytesMut, most_fields: usize) -> Result<Option<HeaderMap>, WireError> {
    let malformed = WireError::Chunks("the trailers are malformed");
    if came.starts_with(b"\r\n") {
        came.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let within = came.get(..MOST_TRAILERS).unwrap_or(came);
    let Some(end) = memmem::find(within, b"\r\n\r\n") else {
        return if came.len() < MOST_TRAILERS {
            Ok(None)
        } else {
            Err(malformed)
        };
    };
    let section = came.split_to(end + 4);
    let mut lines = section.split_inclusive(|&byte| byte == b'\n');
    if !lines.all(|line| line.ends_with(b"\r\n")) {
        return Err(malformed);
    }
    let mut room = vec![httparse::EMPTY_HEADER; most_fields];
    let Ok(Status::Complete((_, fields))) = httparse::parse_headers(&section, &mut room) else {
        return Err(malformed);
    };
    let mut trailers = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(malformed);
        };
        if trailers.try_append(name, value).is_err() {
            return Err(malformed);
        }
    }
    Ok(Some(trailers))
}
