//! The head of an answer, out of the bytes that came.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use httparse::{ParserConfig, Status};

use super::WireError;

/// Fields for which there is room without an allocation.
const USUAL_FIELDS: usize = 100;

/// Where in the bytes the fields of a head are; kept for the next head, so that it costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Places {
    fields: Vec<(Range<usize>, Range<usize>)>,
    /// How many bytes were looked at that had no whole head.
    looked_at: usize,
}

/// A head, and what it says of its connection.
pub(super) struct Head {
    pub(super) parts: Parts,
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
        if memchr::memchr(b'\n', fresh).is_none() {
            return Ok(None);
        }
        let Some(found) = self.find(came, most_fields)? else {
            self.looked_at = came.len();
            return Ok(None);
        };
        self.looked_at = 0;
        let bytes = came.split_to(found.length).freeze();
        let mut parts = Response::new(()).into_parts().0;
        parts.status = found.status;
        parts.version = found.version;
        parts.headers = self.map(&bytes)?;
        Ok(Some(Head { parts }))
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

    /// The fields as a map; the values share the bytes.
    fn map(&self, bytes: &Bytes) -> Result<HeaderMap, WireError> {
        let too_many = |_| WireError::HeadTooLarge;
        let mut headers = HeaderMap::try_with_capacity(self.fields.len()).map_err(too_many)?;
        for (name, value) in &self.fields {
            let name = bytes.get(name.clone()).unwrap_or_default();
            let name = HeaderName::from_bytes(name)
                .map_err(|_| WireError::Malformed("a field without a name"))?;
            let value = HeaderValue::from_maybe_shared(bytes.slice(value.clone()))
                .map_err(|_| WireError::Malformed("a field with a control character"))?;
            headers.try_append(name, value).map_err(too_many)?;
        }
        Ok(headers)
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

    /// RFC 9112 §9.3.
    pub(super) fn keeps_alive(&self) -> bool {
        let lines = self.parts.headers.get_all(CONNECTION).iter();
        let mut words = lines
            .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii);
        if self.parts.version == Version::HTTP_10 {
            words.any(|word| word.eq_ignore_ascii_case(b"keep-alive"))
                && !words.any(|word| word.eq_ignore_ascii_case(b"close"))
        } else {
            !words.any(|word| word.eq_ignore_ascii_case(b"close"))
        }
    }

    /// Whether the body comes in chunks.
    pub(super) fn is_chunked(&self) -> bool {
        let coding = self.parts.headers.get(TRANSFER_ENCODING);
        coding.is_some_and(|coding| {
            coding
                .as_bytes()
                .trim_ascii()
                .eq_ignore_ascii_case(b"chunked")
        })
    }

    pub(super) fn is_coded(&self) -> bool {
        self.parts.headers.contains_key(TRANSFER_ENCODING)
    }

    /// What `Content-Length` says, where it is a number.
    pub(super) fn length(&self) -> Option<u64> {
        let length = self.parts.headers.get(CONTENT_LENGTH)?;
        let text = str::from_utf8(length.as_bytes()).ok()?;
        text.parse().ok()
    }
}
