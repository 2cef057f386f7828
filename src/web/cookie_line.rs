//! The pairs of a `Cookie` line, whatever its bytes.

use memchr::memchr;

/// What stands between the semicolons, without the blanks around it; what is empty is left out.
pub fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let end = memchr(b';', line).unwrap_or(line.len());
        let (pair, after) = line.split_at_checked(end)?;
        rest = after.get(1..);
        Some(pair.trim_ascii())
    })
    .filter(|pair| !pair.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_line_falls_into_its_pairs() {
        for (line, expected) in [
            (&b""[..], &[][..]),
            (b";", &[]),
            (b" ; ;; ", &[]),
            (b"a=b", &[&b"a=b"[..]]),
            (b"a=b;", &[b"a=b"]),
            (b"a=b; c=d ;e", &[b"a=b", b"c=d", b"e"]),
            (b"\xff=;=\x01", &[b"\xff=", b"=\x01"]),
        ] {
            let found: Vec<&[u8]> = pairs(line).collect();
            assert_eq!(found, expected, "{line:?}");
        }
    }
}
