//! Values of headers with placeholders: `{claims.email}` and the like, filled in for each call.
//!
//! A claim is the provider's word, and in part the user's own, so it is written in letters that no reader
//! of a field can take for anything else: percent-encoded, unless the operator asks for it raw.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::web::claims::texts;

/// What is escaped of a claim: all but letters, digits and the few that make e-mail addresses and URLs
/// readable. A comma stands between the items of a list alone.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'@')
    .remove(b':')
    .remove(b'/');

/// A value with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderTemplate {
    written: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Gap { of: Known, raw: bool },
}

/// What a placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    Claim(String),
    SessionTag,
    Site,
}

/// What is known of a call, for its placeholders.
pub trait KnownOfCall {
    /// The claim at this path.
    fn claim(&self, path: &str) -> Option<&Value>;
    /// The name of its session.
    fn session_tag(&self) -> Option<&str>;
    /// The site that it came to.
    fn site(&self) -> &str;
}

/// Why a value is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateFault {
    /// A placeholder stands for nothing.
    #[error("holds {{{0}}}, which stands for nothing")]
    Unknown(String),
    /// A brace is neither a placeholder's nor doubled.
    #[error("holds a single brace beside its placeholders")]
    Brace,
}

impl HeaderTemplate {
    /// Whether a value holds a placeholder. Other braces are text, such as those of JSON.
    pub fn is_one(text: &str) -> bool {
        ["{claims.", "{session.", "{site}", "{raw:"]
            .iter()
            .any(|beginning| text.contains(beginning))
    }

    /// Reads a value; in a template a brace of its own is doubled.
    ///
    /// # Errors
    ///
    /// A brace is in the wrong place, or stands around the wrong word.
    pub fn parse(written: &str) -> Result<Self, TemplateFault> {
        let mut pieces = Vec::new();
        let (mut text, mut rest) = (String::new(), written);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at_checked(at).ok_or(TemplateFault::Brace)?;
            text.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                text.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                text.push('}');
                rest = after;
            } else {
                let within = from.strip_prefix('{').ok_or(TemplateFault::Brace)?;
                let (word, after) = within.split_once('}').ok_or(TemplateFault::Brace)?;
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(gap(word)?);
                rest = after;
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Self {
            written: written.to_owned(),
            pieces,
        })
    }

    /// As the operator wrote it.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The claims that it asks for, by their paths.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Gap {
                of: Known::Claim(path),
                ..
            } => Some(path.as_str()),
            Piece::Gap { .. } | Piece::Text(_) => None,
        })
    }

    /// Whether it can be filled without a session.
    pub fn needs_session(&self) -> bool {
        self.pieces.iter().any(|piece| match piece {
            Piece::Gap { of, .. } => *of != Known::Site,
            Piece::Text(_) => false,
        })
    }

    /// The value for a call; `None` where something is not known, or nothing would be said.
    pub fn fill(&self, known: &impl KnownOfCall) -> Option<HeaderValue> {
        let mut filled = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Gap { of, raw } => match of {
                    Known::Claim(path) => push_claim(&mut filled, known.claim(path)?, *raw),
                    Known::SessionTag => push(&mut filled, known.session_tag()?, *raw),
                    Known::Site => push(&mut filled, known.site(), *raw),
                },
            }
        }
        let said = filled.trim();
        if said.is_empty() {
            return None;
        }
        HeaderValue::from_str(said).ok()
    }
}

fn gap(word: &str) -> Result<Piece, TemplateFault> {
    let (name, raw) = match word.strip_prefix("raw:") {
        Some(name) => (name, true),
        None => (word, false),
    };
    let of = match (name, name.strip_prefix("claims.")) {
        ("session.tag", _) => Known::SessionTag,
        ("site", _) => Known::Site,
        (_, Some(path)) if !path.is_empty() => Known::Claim(path.to_owned()),
        _ => return Err(TemplateFault::Unknown(word.to_owned())),
    };
    Ok(Piece::Gap { of, raw })
}

fn push_claim(into: &mut String, claim: &Value, raw: bool) {
    for (at, text) in texts(claim).enumerate() {
        if at > 0 {
            into.push(',');
        }
        // A comma of its own would make two items of one.
        let may_be_raw = raw && !(claim.is_array() && text.contains(','));
        push(into, &text, may_be_raw);
    }
}

fn push(into: &mut String, text: &str, raw: bool) {
    if raw && is_safe(text) {
        into.push_str(text);
    } else {
        into.extend(utf8_percent_encode(text, ESCAPED));
    }
}

/// Whether every reader of a field takes it for the same text: visible letters of ASCII, with blanks
/// between them.
fn is_safe(text: &str) -> bool {
    text == text.trim() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Alice(Value, String);

    impl KnownOfCall for Alice {
        fn claim(&self, path: &str) -> Option<&Value> {
            self.0.get(path)
        }

        fn session_tag(&self) -> Option<&str> {
            Some("t-1")
        }

        fn site(&self) -> &str {
            &self.1
        }
    }

    fn filled(text: &str) -> Option<String> {
        let claims = json!({
            "sub": "a 1",
            "email": "alice@example.com",
            "name": "Zoë, \"Z\"",
            "plain": "Zoe Z, 100%",
            "blank": " x ",
            "groups": ["a", "b,c", "d e"],
            "none": [],
            "empty": "",
            "level": 3,
            "verified": true,
            "split": "a\r\nX-Admin: 1",
        });
        let alice = Alice(claims, "shop".to_owned());
        let value = HeaderTemplate::parse(text).unwrap().fill(&alice);
        value.map(|value| value.to_str().unwrap().to_owned())
    }

    /// §8: a claim is escaped, raw only where every reader takes it for the same; what is missing leaves
    /// the header out.
    #[test]
    fn a_claim_says_one_thing_to_every_reader() {
        for (text, says) in [
            ("{claims.sub}", Some("a%201")),
            ("{claims.email}", Some("alice@example.com")),
            ("{claims.name}", Some("Zo%C3%AB%2C%20%22Z%22")),
            ("{raw:claims.name}", Some("Zo%C3%AB%2C%20%22Z%22")),
            ("{raw:claims.plain}", Some("Zoe Z, 100%")),
            ("{raw:claims.blank}", Some("%20x%20")),
            ("{claims.groups}", Some("a,b%2Cc,d%20e")),
            ("{raw:claims.groups}", Some("a,b%2Cc,d e")),
            ("{raw:claims.split}", Some("a%0D%0AX-Admin:%201")),
            ("{claims.level}/{claims.verified}", Some("3/true")),
            ("{claims.none}", None),
            ("{claims.empty}", None),
            ("{claims.absent}", None),
            ("user={claims.absent}", None),
            ("{site}:{session.tag}", Some("shop:t-1")),
            ("{{\"id\":\"{claims.sub}\"}}", Some("{\"id\":\"a%201\"}")),
        ] {
            assert_eq!(filled(text).as_deref(), says, "{text}");
        }
    }

    /// §8: a template that cannot be meant so is told at the start; other braces are text as ever.
    #[test]
    fn a_template_is_read_strictly() {
        for (text, fault) in [
            ("{claims.}", TemplateFault::Unknown("claims.".to_owned())),
            (
                "{session.id}",
                TemplateFault::Unknown("session.id".to_owned()),
            ),
            ("{raw:x}", TemplateFault::Unknown("raw:x".to_owned())),
            ("{claims.sub} }", TemplateFault::Brace),
            (
                "{ {claims.sub}",
                TemplateFault::Unknown(" {claims.sub".to_owned()),
            ),
            ("{claims.sub", TemplateFault::Brace),
        ] {
            assert!(HeaderTemplate::is_one(text), "{text}");
            assert_eq!(HeaderTemplate::parse(text), Err(fault), "{text}");
        }
        for text in ["{\"a\":{\"b\":1}}", "{}", "{tenant}", "orders", "{claims}"] {
            assert!(!HeaderTemplate::is_one(text), "{text}");
        }
        let read = HeaderTemplate::parse("{claims.a.b}{site}{raw:claims.c}").unwrap();
        assert_eq!(read.claims().collect::<Vec<_>>(), ["a.b", "c"]);
        assert!(read.needs_session());
        assert!(!HeaderTemplate::parse("{site}").unwrap().needs_session());
    }
}
