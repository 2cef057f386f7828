//! `WWW-Authenticate`, as far as we go by it: the parameters of its challenges (RFC 9110 §11.6.1).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// The most octets of a field that are read: no upstream has more to say.
const LONGEST: usize = 4096;

/// One challenge: a scheme, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// In the case that it was written in; to be compared without.
    pub scheme: String,
    params: Vec<(String, String)>,
}

impl Challenge {
    /// All challenges of an answer. What cannot be read ends its field.
    pub fn all(headers: &HeaderMap) -> Vec<Self> {
        let fields = headers.get_all(WWW_AUTHENTICATE).iter();
        let texts = fields.filter_map(|field| field.to_str().ok());
        let short = texts.filter(|text| text.len() <= LONGEST);
        short.flat_map(Self::of_field).collect()
    }

    /// The parameter of this name.
    pub fn param(&self, name: &str) -> Option<&str> {
        let mut params = self.params.iter();
        let found = params.find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn of_field(text: &str) -> Vec<Self> {
        let mut challenges: Vec<Self> = Vec::new();
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let (word, after) = split_token(rest);
            if word.is_empty() {
                return challenges;
            }
            let after_blanks = after.trim_start_matches([' ', '\t']);
            match (after_blanks.strip_prefix('='), challenges.last_mut()) {
                // A parameter of the challenge before.
                (Some(value), Some(last)) => {
                    let Some((value, after)) = read_value(value.trim_start_matches([' ', '\t']))
                    else {
                        return challenges;
                    };
                    last.params.push((word.to_owned(), value));
                    rest = after;
                }
                (Some(_), None) => return challenges,
                (None, _) => {
                    challenges.push(Self {
                        scheme: word.to_owned(),
                        params: Vec::new(),
                    });
                    rest = after;
                }
            }
        }
    }
}

fn split_token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// A token or a quoted string, and what comes after it.
fn read_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = split_token(text);
        return Some((value.to_owned(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// K1: several challenges in one field and in several, quoted or not, whatever the case.
    #[test]
    fn challenges_are_read() {
        let mut headers = HeaderMap::new();
        for field in [
            r#"Negotiate, BEARER realm="a, \"b\"", error="insufficient_user_authentication", acr_values="gold silver", max_age=5"#,
            r#"DPoP algs="ES256",error=use_dpop_nonce"#,
            r#"Basic realm="never ends"#,
            "=, ,",
            "",
        ] {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(field));
        }
        let all = Challenge::all(&headers);
        let schemes: Vec<_> = all.iter().map(|one| one.scheme.as_str()).collect();
        assert_eq!(schemes, ["Negotiate", "BEARER", "DPoP", "Basic"]);
        assert_eq!(all[1].param("realm"), Some("a, \"b\""));
        assert_eq!(
            all[1].param("ERROR"),
            Some("insufficient_user_authentication")
        );
        assert_eq!(all[1].param("acr_values"), Some("gold silver"));
        assert_eq!(all[1].param("max_age"), Some("5"));
        assert_eq!(all[2].param("error"), Some("use_dpop_nonce"));
        assert_eq!(all[3].param("realm"), None);
    }
}
