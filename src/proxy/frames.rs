//! WebSocket frames, as far as a tunnel must know them: where they end, and how ours look.

use crate::web::ending::EndReason;

/// Why the tunnel ends before its ends do (RFC 6455 §7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    /// 1008, policy violation, with the reason in a word: whoever opened it may speak no more.
    Ended(EndReason),
    /// 1001, going away: `bff` stops.
    Shutdown,
    /// 1001 as well: the browser has left without a word.
    Silence,
}

/// Where in the stream of frames a direction is (RFC 6455 §5.2).
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The header's bytes so far; empty inside a payload and between frames.
    header: Vec<u8>,
    /// Of the payload under way.
    left: u64,
    close_seen: bool,
}

impl Frames {
    /// Whether a frame of ours may stand here.
    pub(super) fn at_boundary(&self) -> bool {
        self.left == 0 && self.header.is_empty()
    }

    /// Whether the direction has said goodbye itself.
    pub(super) fn closed(&self) -> bool {
        self.close_seen && self.at_boundary()
    }

    /// Takes note of bytes that went by.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = bytes
                    .len()
                    .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= skipped as u64;
                bytes = bytes.get(skipped..).unwrap_or_default();
            } else {
                self.header.push(first);
                bytes = rest;
                self.end_header();
            }
        }
    }

    /// How many of the bytes to come belong to the frame under way.
    pub(super) fn left_in(&self, bytes: &[u8]) -> usize {
        let mut ahead = Self {
            header: self.header.clone(),
            left: self.left,
            close_seen: false,
        };
        let mut count = 0;
        while !ahead.at_boundary() && count < bytes.len() {
            let rest = bytes.get(count..).unwrap_or_default();
            let step = if ahead.left > 0 {
                rest.len()
                    .min(usize::try_from(ahead.left).unwrap_or(usize::MAX))
            } else {
                1
            };
            ahead.pass(rest.get(..step).unwrap_or_default());
            count += step;
        }
        count
    }

    fn end_header(&mut self) {
        let [first, second, extended @ ..] = self.header.as_slice() else {
            return;
        };
        let masked = if second & 0x80 == 0 { 0 } else { 4 };
        let (length_bytes, short) = match second & 0x7f {
            126 => (2, 0),
            127 => (8, 0),
            short => (0, u64::from(short)),
        };
        if extended.len() < length_bytes + masked {
            return;
        }
        let length = extended
            .iter()
            .take(length_bytes)
            .fold(short, |length, &byte| (length << 8) | u64::from(byte));
        self.close_seen |= first & 0x0f == 0x8;
        self.left = length;
        self.header.clear();
    }
}

/// A ping that carries nothing (§5.5.2), as a server sends it.
pub(super) const PING: [u8; 2] = [0x89, 0];

/// A close frame with its code, and the reason where there is one.
pub(super) fn close_frame(close: Close, mask: Option<[u8; 4]>) -> Vec<u8> {
    let (code, reason): (u16, &str) = match close {
        Close::Ended(reason) => (1008, reason.as_str()),
        Close::Shutdown | Close::Silence => (1001, ""),
    };
    let payload = code.to_be_bytes().into_iter().chain(reason.bytes());
    // A control frame holds 125 bytes at most (§5.5); our words are far from that.
    let length = u8::try_from(2 + reason.len()).unwrap_or(2);
    let payload = payload.take(usize::from(length));
    match mask {
        None => [0x88, length].into_iter().chain(payload).collect(),
        Some(mask) => [0x88, 0x80 | length]
            .into_iter()
            .chain(mask)
            .chain(
                payload
                    .zip(mask.into_iter().cycle())
                    .map(|(byte, mask)| byte ^ mask),
            )
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_however_the_bytes_come() {
        let mut stream = Vec::new();
        let mut boundaries = vec![0];
        for (header, length) in [
            (&b"\x81\x05"[..], 5),
            (b"\x82\x00", 0),
            (b"\x81\x85\x01\x02\x03\x04", 5),
            (b"\x82\x7e\x01\x00", 256),
            (b"\x82\xfe\x00\x7f\x01\x02\x03\x04", 127),
            (b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 65536),
            (b"\x88\x02", 2),
        ] {
            stream.extend_from_slice(header);
            stream.resize(stream.len() + length, 0x81);
            boundaries.push(stream.len());
        }
        for chunk in [1, 2, 3, 7, 4096, stream.len()] {
            let mut frames = Frames::default();
            let mut passed = 0;
            for piece in stream.chunks(chunk) {
                let rest = &stream[passed..];
                let expected = boundaries.iter().find(|&&at| at >= passed).unwrap() - passed;
                assert_eq!(frames.left_in(rest), expected, "at {passed}");
                frames.pass(piece);
                passed += piece.len();
                assert_eq!(
                    frames.at_boundary(),
                    boundaries.contains(&passed),
                    "at {passed}"
                );
            }
            assert!(frames.closed());
        }
    }
}
