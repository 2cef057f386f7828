//! The one normal form of a request's path: what routes are matched against and what is sent on,
//! so that no two readers see two paths (I9).

/// A path that was found harmless, in its normal form: unreserved characters plain, everything
/// else percent-encoded in upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath {
    text: String,
    form: Form,
    holds: Holds,
}

/// What a path may hold of that which some readers take for more than characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathRules {
    /// Whether `;` may stand in it.
    pub semicolons: Semicolons,
    /// Whether `%2F` may.
    pub encoded_slashes: EncodedSlashes,
}

/// Whether `;` may stand in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Semicolons {
    /// It is a character like others; `.;` and `..;` are dot segments all the same.
    Allow,
    /// Some upstreams cut path parameters off, so `/a;/../b` is not what it seems.
    Refuse,
}

/// Whether `%2F` may stand in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodedSlashes {
    /// It stays what it is, within its segment.
    Pass,
    /// Some upstreams take it for a slash.
    Refuse,
}

/// What of that a path does hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Holds {
    semicolon: bool,
    encoded_slash: bool,
}

/// What makes a path unfit to be forwarded; all of it is the browser's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// `%2F`, `%5C` or a backslash.
    #[error("an encoded slash or a backslash")]
    Separator,
    /// A control character, plain or encoded, or a plain `#`, `?` or space.
    #[error("a character that may not stand in a path")]
    Forbidden,
    /// `.` or `..` as a segment, in any encoding.
    #[error("a dot segment")]
    DotSegment,
    /// Two slashes in a row.
    #[error("an empty segment")]
    EmptySegment,
    /// A semicolon where they are refused.
    #[error("a semicolon")]
    Semicolon,
    /// `%25` before something that a second decoding would make dangerous.
    #[error("a doubly encoded character")]
    HiddenEncoding,
    /// `%` without two hexadecimal digits.
    #[error("a broken percent-encoding")]
    BrokenEncoding,
    /// Bytes that are not UTF-8, plain or encoded: overlong forms of `/` and `.` among them.
    #[error("bytes that are not UTF-8")]
    NotUtf8,
    /// A semicolon or an encoded slash that leads a lenient reader to another route.
    #[error("a path that reads as another route's to some")]
    TwoRoutes,
}

impl PathRules {
    /// Nothing beyond the plain.
    pub const STRICT: Self = Self {
        semicolons: Semicolons::Refuse,
        encoded_slashes: EncodedSlashes::Refuse,
    };

    /// All that either of two takes.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            semicolons: match (self.semicolons, other.semicolons) {
                (Semicolons::Refuse, Semicolons::Refuse) => Semicolons::Refuse,
                _ => Semicolons::Allow,
            },
            encoded_slashes: match (self.encoded_slashes, other.encoded_slashes) {
                (EncodedSlashes::Refuse, EncodedSlashes::Refuse) => EncodedSlashes::Refuse,
                _ => EncodedSlashes::Pass,
            },
        }
    }
}

/// Whether normalising changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    AsItCame,
    Rewritten,
}

impl RequestPath {
    /// Normalises the path of a request-target, without its query.
    ///
    /// # Errors
    ///
    /// The first thing found that two readers could take for two paths.
    pub fn parse(raw: &str, rules: PathRules) -> Result<Self, PathFault> {
        if !raw.starts_with('/') {
            return Err(PathFault::NotAbsolute);
        }
        let mut text = String::with_capacity(raw.len());
        let mut segment_at = 0;
        let mut percent = false;
        let mut high = false;
        let mut holds = Holds::default();
        let mut bytes = raw.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'/' => {
                    if text.ends_with('/') {
                        return Err(PathFault::EmptySegment);
                    }
                    check_segment(&text, segment_at)?;
                    text.push('/');
                    segment_at = text.len();
                }
                b'%' => {
                    let digits = (bytes.next(), bytes.next());
                    let (Some(upper), Some(lower)) = digits else {
                        return Err(PathFault::BrokenEncoding);
                    };
                    let decoded = decode(upper, lower).ok_or(PathFault::BrokenEncoding)?;
                    check_encoded(decoded, rules)?;
                    percent |= decoded == b'%';
                    high |= !decoded.is_ascii();
                    holds.semicolon |= decoded == b';';
                    if decoded == b'/' {
                        holds.encoded_slash = true;
                        check_segment(&text, segment_at)?;
                        push_encoded(&mut text, decoded);
                        segment_at = text.len();
                    } else if is_unreserved(decoded) {
                        text.push(char::from(decoded));
                    } else {
                        push_encoded(&mut text, decoded);
                    }
                }
                b';' => {
                    if rules.semicolons == Semicolons::Refuse {
                        return Err(PathFault::Semicolon);
                    }
                    holds.semicolon = true;
                    text.push(';');
                }
                b'\\' => return Err(PathFault::Separator),
                // What RFC 3986 wants encoded and browsers send plain.
                b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                    push_encoded(&mut text, byte);
                }
                b'#' | b'?' | b' ' => return Err(PathFault::Forbidden),
                byte if byte.is_ascii_control() => return Err(PathFault::Forbidden),
                byte if !byte.is_ascii() => return Err(PathFault::NotUtf8),
                byte => text.push(char::from(byte)),
            }
        }
        check_segment(&text, segment_at)?;
        // On the normal form, since `%25%32%66` hides a slash as well as `%252f` does.
        if percent {
            check_hidden(&text, rules.semicolons)?;
        }
        if high
            && percent_encoding::percent_decode_str(&text)
                .decode_utf8()
                .is_err()
        {
            return Err(PathFault::NotUtf8);
        }
        let form = if text == raw {
            Form::AsItCame
        } else {
            Form::Rewritten
        };
        Ok(Self { text, form, holds })
    }

    /// Holds the path against the rules of whoever is to serve it, where it was parsed by looser
    /// ones.
    ///
    /// # Errors
    ///
    /// What those rules refuse.
    pub fn check(&self, rules: PathRules) -> Result<(), PathFault> {
        if self.holds.semicolon && rules.semicolons == Semicolons::Refuse {
            return Err(PathFault::Semicolon);
        }
        if self.holds.encoded_slash && rules.encoded_slashes == EncodedSlashes::Refuse {
            return Err(PathFault::Separator);
        }
        Ok(())
    }

    /// Whether some reader could take it for another path.
    pub fn has_two_readings(&self) -> bool {
        self.holds.semicolon || self.holds.encoded_slash
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the request-target may be sent on as it stands.
    pub(super) fn is_as_it_came(&self) -> bool {
        self.form == Form::AsItCame
    }
}

/// A dot segment with parameters is one to readers that cut them off.
fn check_segment(text: &str, from: usize) -> Result<(), PathFault> {
    let Some(after_one) = text.get(from..).and_then(|rest| rest.strip_prefix('.')) else {
        return Ok(());
    };
    let after_dots = after_one.strip_prefix('.').unwrap_or(after_one);
    if after_dots.is_empty() || begins_parameters(after_dots) {
        return Err(PathFault::DotSegment);
    }
    Ok(())
}

/// Whether `;` stands here, in any encoding.
fn begins_parameters(text: &str) -> bool {
    let Some(mut encoded) = text.strip_prefix('%') else {
        return text.starts_with(';');
    };
    while let Some(deeper) = encoded.strip_prefix("25") {
        encoded = deeper;
    }
    encoded
        .get(..2)
        .is_some_and(|digits| digits.eq_ignore_ascii_case("3b"))
}

fn check_encoded(decoded: u8, rules: PathRules) -> Result<(), PathFault> {
    match decoded {
        b'/' if rules.encoded_slashes == EncodedSlashes::Refuse => Err(PathFault::Separator),
        b'\\' => Err(PathFault::Separator),
        b';' if rules.semicolons == Semicolons::Refuse => Err(PathFault::Semicolon),
        byte if byte.is_ascii_control() => Err(PathFault::Forbidden),
        _ => Ok(()),
    }
}

/// Looks behind each `%25`, however often it is encoded, for what a second reader would decode. A
/// slash that is hidden so is nobody's wish, even where an encoded one passes.
fn check_hidden(text: &str, semicolons: Semicolons) -> Result<(), PathFault> {
    let rules = PathRules {
        semicolons,
        encoded_slashes: EncodedSlashes::Refuse,
    };
    for (at, encoded) in text.match_indices("%25") {
        let mut rest = text.get(at + encoded.len()..).unwrap_or_default();
        while let Some(deeper) = rest.strip_prefix("25") {
            rest = deeper;
        }
        let mut digits = rest.bytes();
        let (Some(upper), Some(lower)) = (digits.next(), digits.next()) else {
            continue;
        };
        let Some(hidden) = decode(upper, lower) else {
            continue;
        };
        if hidden == b'.' || hidden == b'#' || check_encoded(hidden, rules).is_err() {
            return Err(PathFault::HiddenEncoding);
        }
    }
    Ok(())
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn decode(upper: u8, lower: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(upper)? * 16 + digit(lower)?).ok()
}

fn push_encoded(text: &mut String, byte: u8) {
    text.push_str(percent_encoding::percent_encode_byte(byte));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// I9: one normal form, for matching and for forwarding.
    #[test]
    fn a_path_has_one_normal_form() {
        for (raw, normal) in [
            ("/", "/"),
            ("/api/orders", "/api/orders"),
            ("/api/", "/api/"),
            ("/%61pi/%7Eme", "/api/~me"),
            ("/a%20b/%c3%a9", "/a%20b/%C3%A9"),
            ("/a|b[1]{2}^`", "/a%7Cb%5B1%5D%7B2%7D%5E%60"),
            ("/a%7cb", "/a%7Cb"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a..b/..c/d..", "/a..b/..c/d.."),
            ("/100%25", "/100%25"),
            ("/100%25!", "/100%25!"),
            ("/C%23", "/C%23"),
            ("/a%3Fb", "/a%3Fb"),
            ("/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,="),
        ] {
            let path = RequestPath::parse(raw, PathRules::STRICT).unwrap();
            assert_eq!(path.as_str(), normal, "{raw}");
            assert_eq!(path.is_as_it_came(), raw == normal, "{raw}");
        }
    }

    /// I9: what two readers could take for two paths is refused.
    #[test]
    fn an_ambiguous_path_is_refused() {
        use PathFault as F;
        for (raw, fault) in [
            ("", F::NotAbsolute),
            ("*", F::NotAbsolute),
            ("api", F::NotAbsolute),
            ("/a%2fb", F::Separator),
            ("/a%2Fb", F::Separator),
            ("/a%5cb", F::Separator),
            ("/a\\b", F::Separator),
            ("/a%00", F::Forbidden),
            ("/a%0d%0a", F::Forbidden),
            ("/a%7f", F::Forbidden),
            ("/a#b", F::Forbidden),
            ("/a b", F::Forbidden),
            ("/a?b", F::Forbidden),
            ("/a\tb", F::Forbidden),
            ("/..", F::DotSegment),
            ("/../a", F::DotSegment),
            ("/a/../b", F::DotSegment),
            ("/a/%2e%2e/b", F::DotSegment),
            ("/a/.%2E", F::DotSegment),
            ("/a/./b", F::DotSegment),
            ("/a/%2e", F::DotSegment),
            ("//a", F::EmptySegment),
            ("/a//b", F::EmptySegment),
            ("/a//", F::EmptySegment),
            ("/a;b", F::Semicolon),
            ("/a%3bb", F::Semicolon),
            ("/a%252fb", F::HiddenEncoding),
            ("/a%25252fb", F::HiddenEncoding),
            ("/a%25%32%66b", F::HiddenEncoding),
            ("/a%255cb", F::HiddenEncoding),
            ("/%252e%252e/b", F::HiddenEncoding),
            ("/a%2500", F::HiddenEncoding),
            ("/a%253b", F::HiddenEncoding),
            ("/a%2523", F::HiddenEncoding),
            ("/a%", F::BrokenEncoding),
            ("/a%2", F::BrokenEncoding),
            ("/a%zz", F::BrokenEncoding),
            ("/a%+2", F::BrokenEncoding),
            ("/\u{e9}", F::NotUtf8),
            ("/%c0%af", F::NotUtf8),
            ("/%e0%80%ae", F::NotUtf8),
            ("/%e9", F::NotUtf8),
        ] {
            let outcome = RequestPath::parse(raw, PathRules::STRICT);
            assert_eq!(outcome, Err(fault), "{raw}");
        }
    }

    const SEMICOLONS: PathRules = PathRules {
        semicolons: Semicolons::Allow,
        ..PathRules::STRICT
    };
    const ENCODED_SLASHES: PathRules = PathRules {
        encoded_slashes: EncodedSlashes::Pass,
        ..PathRules::STRICT
    };

    #[test]
    fn semicolons_pass_where_allowed() {
        for (raw, normal) in [
            ("/a;v=1", "/a;v=1"),
            ("/a%3bv", "/a%3Bv"),
            ("/...;v", "/...;v"),
            ("/.a;v/..b;", "/.a;v/..b;"),
        ] {
            let path = RequestPath::parse(raw, SEMICOLONS).unwrap();
            assert_eq!(path.as_str(), normal, "{raw}");
            assert_eq!(path.check(PathRules::STRICT), Err(PathFault::Semicolon));
            assert_eq!(path.check(SEMICOLONS), Ok(()));
        }
    }

    /// I9: a dot segment stays one, whatever parameters it carries; `/api/..;/admin` went through
    /// where semicolons were allowed.
    #[test]
    fn parameters_hide_no_dot_segment() {
        for raw in [
            "/a/..;/b",
            "/a/.;/b",
            "/a/..;v=1",
            "/a/.;",
            "/a/..%3b/b",
            "/a/%2e%2e;/b",
            "/a/..%253b/b",
            "/a/..%25253B/b",
        ] {
            let outcome = RequestPath::parse(raw, SEMICOLONS);
            assert_eq!(outcome, Err(PathFault::DotSegment), "{raw}");
        }
    }

    /// I9: an encoded slash passes where a route asks for it, and hides no dot segment.
    #[test]
    fn encoded_slashes_pass_where_asked_for() {
        for (raw, normal) in [
            ("/a%2fb", "/a%2Fb"),
            ("/a%2F/b", "/a%2F/b"),
            ("/https%3a%2f%2fx", "/https%3A%2F%2Fx"),
        ] {
            let path = RequestPath::parse(raw, ENCODED_SLASHES).unwrap();
            assert_eq!(path.as_str(), normal, "{raw}");
            assert_eq!(path.check(PathRules::STRICT), Err(PathFault::Separator));
            assert_eq!(path.check(ENCODED_SLASHES), Ok(()));
        }
        for (raw, fault) in [
            ("/a%2f..%2fb", PathFault::DotSegment),
            ("/a/..%2fb", PathFault::DotSegment),
            ("/a%2f..", PathFault::DotSegment),
            ("/a%2f.", PathFault::DotSegment),
            ("/a%5cb", PathFault::Separator),
            ("/a%252fb", PathFault::HiddenEncoding),
            ("/a;b", PathFault::Semicolon),
        ] {
            let outcome = RequestPath::parse(raw, ENCODED_SLASHES);
            assert_eq!(outcome, Err(fault), "{raw}");
        }
    }

    proptest! {
        /// I9: the normal form is its own normal form, and decoding it leaves the segments alone.
        #[test]
        fn normalising_twice_changes_nothing(raw in "/[a-z/.%0-9a-fA-F;|~-]{0,24}") {
            let rules = SEMICOLONS.or(ENCODED_SLASHES);
            if let Ok(path) = RequestPath::parse(&raw, rules) {
                let again = RequestPath::parse(path.as_str(), rules).unwrap();
                prop_assert_eq!(again.as_str(), path.as_str());
                prop_assert!(again.is_as_it_came());
                let decoded = percent_encoding::percent_decode_str(path.as_str()).decode_utf8().unwrap();
                let encoded = path.as_str().matches("%2F").count();
                prop_assert_eq!(decoded.matches('/').count(), path.as_str().matches('/').count() + encoded);
                prop_assert!(!decoded.split('/').any(|segment| segment.split(';').next() == Some("..")));
                prop_assert_eq!(path.has_two_readings(), path.check(PathRules::STRICT).is_err());
            }
        }
    }
}
