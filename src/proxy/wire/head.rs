//! The head of an answer, out of the bytes that came.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use httparse::{ParserConfig, Status};

use super::error::WireError;

/// Fields for which there is room without an allocation.
const USUAL_FIELDS: usize = 100;
/// Fields of ours that an answer will get: room for them is made at once.
const OURS: usize = 6;

/// Where in the bytes the fields of a head are; kept for the next head, so that it costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Places {
    fields: Vec<(Range<usize>, Range<usize>)>,
    /// How many bytes were looked at that had no whole head.
    looked_at: usize,
}

/// A head, and what it says of its body and its connection.
pub(super) struct Head {
    pub(super) parts: Parts,
    /// What its last `Content-Length` says, where that is a number.
    pub(super) length: Option<u64>,
    pub(super) coding: Coding,
    /// Whether `Connection` says `close`, and `keep-alive`.
    closes: bool,
    stays: bool,
}

/// What `Transfer-Encoding` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    None,
    Chunked,
    Other,
}

impl Places {
    /// Takes a head off the bytes that came, where there is a whole one.
    pub(super) fn take(
        &mut self,
        came: &mut BytesMut,
        most_fields: usize,
    ) -> Result<Option<Head>, WireError> {
        // A head that drips is not read again for each of its bytes.
        let fresh = came.get(self.looked_at..).unwrap_or_default();
        let has_new_line = memchr::memchr(b'\n', fresh).is_some();
        self.looked_at = came.len();
        if !has_new_line {
            return Ok(None);
        }
        let Some(found) = self.find(came, most_fields)? else {
            return Ok(None);
        };
        self.looked_at = 0;
        let bytes = came.split_to(found.length).freeze();
        let mut parts = Response::new(()).into_parts().0;
        parts.status = found.status;
        parts.version = found.version;
        let mut head = Head {
            parts,
            length: None,
            coding: Coding::None,
            closes: false,
            stays: false,
        };
        self.fill(&mut head, &bytes)?;
        Ok(Some(head))
    }

    fn find(&mut self, came: &[u8], most_fields: usize) -> Result<Option<Found>, WireError> {
        if most_fields <= USUAL_FIELDS {
            let mut room = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
            self.find_within(came, room.get_mut(..most_fields).unwrap_or_default())
        } else {
            self.find_within(came, &mut vec![MaybeUninit::uninit(); most_fields])
        }
    }

    fn find_within<'b>(
        &mut self,
        came: &'b [u8],
        room: &mut [MaybeUninit<httparse::Header<'b>>],
    ) -> Result<Option<Found>, WireError> {
        let mut answer = httparse::Response::new(&mut []);
        let parsed = ParserConfig::default()
            .parse_response_with_uninit_headers(&mut answer, came, room)
            .map_err(|error| match error {
                httparse::Error::TooManyHeaders => WireError::HeadTooLarge,
                error => WireError::Head(error),
            })?;
        let Status::Complete(length) = parsed else {
            return Ok(None);
        };
        let at = |text: &[u8]| {
            let from = text.as_ptr().addr() - came.as_ptr().addr();
            from..from + text.len()
        };
        self.fields.clear();
        let fields = answer.headers.iter();
        self.fields
            .extend(fields.map(|field| (at(field.name.as_bytes()), at(field.value))));
        let status = StatusCode::from_u16(answer.code.unwrap_or_default());
        Ok(Some(Found {
            length,
            status: status.map_err(|_| WireError::Malformed("no status"))?,
            version: match answer.version {
                Some(0) => Version::HTTP_10,
                _ => Version::HTTP_11,
            },
        }))
    }

    /// Reads the fields; their values share the bytes.
    fn fill(&self, head: &mut Head, bytes: &Bytes) -> Result<(), WireError> {
        let too_many = |_| WireError::HeadTooLarge;
        let mut headers =
            HeaderMap::try_with_capacity(self.fields.len() + OURS).map_err(too_many)?;
        for (name, value) in &self.fields {
            let name = bytes.get(name.clone()).unwrap_or_default();
            let name = HeaderName::from_bytes(name)
                .map_err(|_| WireError::Malformed("a field without a name"))?;
            let value = HeaderValue::from_maybe_shared(bytes.slice(value.clone()))
                .map_err(|_| WireError::Malformed("a field with a control character"))?;
            head.note(&name, value.as_bytes());
            headers.try_append(name, value).map_err(too_many)?;
        }
        head.parts.headers = headers;
        Ok(())
    }
}

struct Found {
    length: usize,
    status: StatusCode,
    version: Version,
}

impl Head {
    /// One that another follows (RFC 9110 §15.2).
    pub(super) fn is_interim(&self) -> bool {
        self.parts.status.is_informational() && !self.is_switch()
    }

    pub(super) fn is_switch(&self) -> bool {
        self.parts.status == StatusCode::SWITCHING_PROTOCOLS
    }

    /// Whether its connection may serve on (RFC 9112 §9.3).
    pub(super) fn keeps_alive(&self) -> bool {
        !self.closes && (self.stays || self.parts.version == Version::HTTP_11)
    }

    /// Notes what a field says of the body and of the connection.
    fn note(&mut self, name: &HeaderName, value: &[u8]) {
        if *name == CONTENT_LENGTH {
            let text = str::from_utf8(value).ok();
            self.length = text.and_then(|text| text.parse().ok());
        } else if *name == TRANSFER_ENCODING {
            let is_chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            self.coding = if is_chunked && self.coding == Coding::None {
                Coding::Chunked
            } else {
                Coding::Other
            };
        } else if *name == CONNECTION {
            for word in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                self.closes |= word.eq_ignore_ascii_case(b"close");
                self.stays |= word.eq_ignore_ascii_case(b"keep-alive");
            }
        }
    }
}
