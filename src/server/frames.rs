//! The frames of an HTTP/2 connection as they come, looked at no further than to see whether a head is
//! under way: the engine waits for the rest of one for as long as it takes (J18).

/// RFC 9113 §3.4: how a connection says that it is HTTP/2 without asking first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// RFC 9113 §4.1: length, kind, flags, stream.
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Where in its frames a connection is.
#[derive(Debug)]
pub(super) struct Frames {
    preface_left: usize,
    header: [u8; FRAME_HEADER],
    header_len: usize,
    payload_left: usize,
    /// Whether the frame under way, or the one before it, belongs to a head.
    in_head: bool,
    /// Whether CONTINUATION must follow.
    block_open: bool,
}

impl Frames {
    /// A connection of which nothing came yet.
    pub(super) const fn new() -> Self {
        Self {
            preface_left: PREFACE.len(),
            header: [0; FRAME_HEADER],
            header_len: 0,
            payload_left: 0,
            in_head: false,
            block_open: false,
        }
    }

    /// Whether the peer owes the rest of a head, or of the preface that comes before the first.
    pub(super) const fn owes_a_head(&self) -> bool {
        self.preface_left > 0 || self.block_open || (self.in_head && self.payload_left > 0)
    }

    /// Takes the next bytes; how many heads begin in them.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> u32 {
        let mut heads = 0;
        while !bytes.is_empty() {
            if self.preface_left > 0 {
                skip(&mut bytes, &mut self.preface_left);
            } else if self.payload_left > 0 {
                skip(&mut bytes, &mut self.payload_left);
            } else if let Some(kind) = self.pass_header(&mut bytes) {
                heads += u32::from(kind == HEADERS);
            }
        }
        heads
    }

    /// Gathers a frame's header; the frame's kind, once that is complete.
    fn pass_header(&mut self, bytes: &mut &[u8]) -> Option<u8> {
        while self.header_len < FRAME_HEADER {
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            *self.header.get_mut(self.header_len)? = byte;
            self.header_len += 1;
        }
        self.header_len = 0;
        let [high, middle, low, kind, flags, ..] = self.header;
        self.payload_left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.in_head = matches!(kind, HEADERS | CONTINUATION);
        if self.in_head {
            self.block_open = flags & END_HEADERS == 0;
        }
        Some(kind)
    }
}

fn skip(bytes: &mut &[u8], left: &mut usize) {
    let count = bytes.len().min(*left);
    *bytes = bytes.get(count..).unwrap_or_default();
    *left -= count;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(FRAME_HEADER + usize::from(length), b'x');
        frame
    }

    /// J18: a head is owed from the first byte of its payload to the last of its last CONTINUATION,
    /// however the bytes are cut.
    #[test]
    fn a_head_is_owed_until_its_block_is_complete() {
        let settings = frame(4, 0, 6);
        let (whole, open) = (frame(HEADERS, END_HEADERS, 5), frame(HEADERS, 0, 5));
        let (more, last) = (
            frame(CONTINUATION, 0, 3),
            frame(CONTINUATION, END_HEADERS, 0),
        );
        let data = frame(0, 0, 200);
        let begun = whole[..11].to_vec();
        for (name, frames, owed, heads) in [
            ("the preface", vec![], false, 0),
            ("settings", vec![&settings], false, 0),
            ("a head", vec![&settings, &whole], false, 1),
            ("a part of one", vec![&settings, &begun], true, 1),
            ("an open block", vec![&open], true, 1),
            ("one that goes on", vec![&open, &more], true, 1),
            ("one that ends", vec![&open, &more, &last], false, 1),
            ("a body", vec![&whole, &data, &whole], false, 2),
        ] {
            let mut bytes = PREFACE.to_vec();
            bytes.extend(frames.into_iter().flatten());
            for size in [1, 2, 7, bytes.len()] {
                let mut frames = Frames::new();
                let begun: u32 = bytes.chunks(size).map(|piece| frames.pass(piece)).sum();
                assert_eq!(frames.owes_a_head(), owed, "{name} by {size}");
                assert_eq!(begun, heads, "{name} by {size}");
            }
        }
        let mut frames = Frames::new();
        frames.pass(&PREFACE[..23]);
        assert!(frames.owes_a_head());
    }
}
