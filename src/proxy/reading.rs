//! A path as the most lenient of all readers would take it, for decisions that must fail closed.

/// How often a path may be encoded before nobody looks at what it hides.
const MOST_DECODINGS: usize = 8;

/// The loosest reading of a path: decoded until nothing is left to decode, `\` for `/`, no
/// parameters, no empty segments, in lower case, and without a slash at its end. `None` where even
/// then it is not clear what it names.
///
/// Where this does not lie below a prefix, no reader takes the path to lie there.
pub fn loosest_reading(raw: &str) -> Option<String> {
    let mut bytes = raw.as_bytes().to_vec();
    let mut decodings = 0;
    loop {
        let decoded: Vec<u8> = percent_encoding::percent_decode(&bytes).collect();
        if decoded == bytes {
            break;
        }
        decodings += 1;
        if decodings > MOST_DECODINGS {
            return None;
        }
        bytes = decoded;
    }
    let text = String::from_utf8(bytes).ok()?.to_ascii_lowercase();
    if text.contains(char::is_control) {
        return None;
    }
    let mut reading = String::with_capacity(text.len());
    for segment in text.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" => {}
            "." | ".." => return None,
            segment => {
                reading.push('/');
                reading.push_str(segment);
            }
        }
    }
    Some(reading)
}

/// Whether a reading lies at or below a prefix, which has no slash at its end.
pub(super) fn lies_below(reading: &str, prefix: &str) -> bool {
    reading
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I9: what decides where nothing has been normalised fails closed.
    #[test]
    fn the_loosest_reading_is_every_readers() {
        for (raw, reading) in [
            ("/", Some("")),
            ("//", Some("")),
            ("/Heroes;id=15", Some("/heroes")),
            ("/files/a%2Fb", Some("/files/a/b")),
            ("//api/x", Some("/api/x")),
            ("/%2561pi%255Cx", Some("/api/x")),
            ("/a%3B/api", Some("/a/api")),
            ("/;/api", Some("/api")),
            ("/api;x/", Some("/api")),
            ("/100%", Some("/100%")),
            ("/a/../b", None),
            ("/a/..;/b", None),
            ("/a/%252e%252e/b", None),
            ("/a%00", None),
            ("/a%0A", None),
            ("/%c0%af", None),
        ] {
            assert_eq!(loosest_reading(raw).as_deref(), reading, "{raw}");
        }
        let nested = format!("/%{}61pi", "25".repeat(MOST_DECODINGS));
        assert_eq!(loosest_reading(&nested), None, "{nested}");
    }
}
