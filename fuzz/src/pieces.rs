//! Bytes cut into pieces, as a network does.

use bytes::Bytes;

/// `data` in pieces of these lengths, and the rest in one; none is empty.
pub fn cut(data: &[u8], lengths: &[u8]) -> Vec<Bytes> {
    let mut rest = Bytes::copy_from_slice(data);
    let mut pieces = Vec::new();
    for &length in lengths {
        let length = usize::from(length).max(1);
        if length >= rest.len() {
            break;
        }
        pieces.push(rest.split_to(length));
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}
