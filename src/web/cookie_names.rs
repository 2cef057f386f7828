//! The names of our cookies: all of them follow from the name of the session cookie, and they follow
//! here, for whoever writes one, takes one back, or keeps one from an upstream.

/// The most chunks that one value is cut into (G8).
pub const MOST_CHUNKS: usize = 8;

/// The cookie of this name and its chunks: `name`, `name-1`, ….
pub fn chunk(name: &str, index: usize) -> String {
    if index == 0 {
        name.to_owned()
    } else {
        format!("{name}-{index}")
    }
}

/// The number of the chunk of `name` that a cookie is.
pub fn chunk_index(cookie: &[u8], name: &[u8]) -> Option<usize> {
    let index = match cookie.strip_prefix(name)? {
        [] => 0,
        [b'-', digit @ b'1'..=b'9'] => usize::from(digit - b'0'),
        _ => return None,
    };
    (index < MOST_CHUNKS).then_some(index)
}

/// How the names of logins under way begin; a piece of their state follows (B4).
pub fn login_prefix(name: &str) -> String {
    format!("{name}-login-")
}

/// The name of a logout that has yet to go on at the provider.
pub fn logout(name: &str) -> String {
    format!("{name}-logout")
}

/// The name of what remembers which of several providers this browser chose last.
pub fn provider(name: &str) -> String {
    format!("{name}-provider")
}

/// All names that are ours, for those who must tell them from others'.
#[derive(Debug, Clone, Default)]
pub struct CookieNames {
    /// Whole names.
    whole: Vec<String>,
    /// Beginnings of names.
    beginnings: Vec<String>,
    /// What all of them begin with, so that a stranger's cookie costs one comparison.
    stem: String,
}

impl CookieNames {
    /// Those that follow from the session cookie's `name`. The name that it had before is the default
    /// of loopback without a port: what follows from it with a digit is a `bff`'s on another port,
    /// since cookies know no ports (I3).
    pub fn of(name: &str, former: Option<&str>) -> Self {
        let mut whole: Vec<String> = (0..MOST_CHUNKS).map(|index| chunk(name, index)).collect();
        whole.push(provider(name));
        let mut beginnings = vec![login_prefix(name), logout(name)];
        if let Some(former) = former {
            whole.push(former.to_owned());
            beginnings.extend([login_prefix(former), logout(former)]);
            beginnings.extend((0..=9).map(|digit| format!("{former}-{digit}")));
        }
        Self::with_stem(whole, beginnings)
    }

    /// These and those of another site on the same host, whose cookies come along and are no less ours.
    #[must_use]
    pub fn and(mut self, others: &Self) -> Self {
        self.whole.extend(others.whole.iter().cloned());
        self.beginnings.extend(others.beginnings.iter().cloned());
        Self::with_stem(self.whole, self.beginnings)
    }

    fn with_stem(whole: Vec<String>, beginnings: Vec<String>) -> Self {
        let all = || whole.iter().chain(&beginnings).map(String::as_bytes);
        let mut stem = all().next().unwrap_or_default();
        while !all().all(|name| name.starts_with(stem)) {
            stem = stem.split_last().map_or(&[], |(_, rest)| rest);
        }
        Self {
            stem: String::from_utf8_lossy(stem).into_owned(),
            whole,
            beginnings,
        }
    }

    /// Whether a cookie of this name is ours; names differ by case (G2).
    pub fn contains(&self, name: &[u8]) -> bool {
        let begins_as = |ours: &String| name.starts_with(ours.as_bytes());
        name.starts_with(self.stem.as_bytes())
            && (self.whole.iter().any(|ours| ours.as_bytes() == name)
                || self.beginnings.iter().any(begins_as))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I3, G2: every name that is written is known as ours, and no neighbour's is.
    #[test]
    fn our_names_are_told_from_others() {
        let cases = [
            ("bff-08", None, "bff-08", true),
            ("bff-08", None, "bff", false),
            ("bff-08", None, "bff-08x", false),
            ("bff-08", None, "bff-08-8", false),
            ("bff-08", None, "bff-09", false),
            ("bff-08", None, "BFF-08", false),
            ("bff-08", None, "", false),
            ("bff-08", Some("bff"), "bff", true),
            ("bff-08", Some("bff"), "bff-1", true),
            ("bff-08", Some("bff"), "bff-login-aaaaaaaaaaaa", true),
            ("bff-08", Some("bff"), "bff-logout", true),
            ("bff-08", Some("bff"), "bff-09", true),
            ("bff-08", Some("bff"), "bff-09-login-aaaaaaaaaaaa", true),
            ("bff-08", Some("bff"), "bff-other", false),
            ("bff-08", Some("bff"), "bffs", false),
            ("__Host-Http-a", None, "__Host-Http-a-7", true),
            ("__Host-Http-a", None, "__Host-Http-b", false),
        ];
        for (name, former, cookie, expected) in cases {
            let names = CookieNames::of(name, former);
            assert_eq!(
                names.contains(cookie.as_bytes()),
                expected,
                "{name}: {cookie}"
            );
            let written = (0..MOST_CHUNKS).map(|index| chunk(name, index));
            let written = written.chain([format!("{}x", login_prefix(name)), logout(name)]);
            for index in 0..MOST_CHUNKS {
                let chunk = chunk(name, index);
                assert_eq!(chunk_index(chunk.as_bytes(), name.as_bytes()), Some(index));
            }
            for own in written {
                assert!(names.contains(own.as_bytes()), "{name}: {own}");
            }
        }
        assert!(!CookieNames::default().contains(b"a"));
    }
}
