//! How the bytes of an answer may be packed, and which way a browser likes best (RFC 9110 §12.5.3).

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, RANGE};

/// How the bytes of an answer are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Brotli,
    Gzip,
    Identity,
}

impl Encoding {
    /// Its name in `Content-Encoding`.
    pub(super) const fn token(self) -> Option<&'static str> {
        match self {
            Self::Brotli => Some("br"),
            Self::Gzip => Some("gzip"),
            Self::Identity => None,
        }
    }

    /// What a file that lies there packed so is called beyond its name.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
            Self::Identity => "",
        }
    }
}

/// The encodings that a browser takes, in thousandths of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encodings {
    brotli: u16,
    gzip: u16,
    /// What is packed less gladly than this is not packed.
    identity: u16,
}

impl Encodings {
    /// The plain bytes alone.
    const PLAIN: Self = Self {
        brotli: 0,
        gzip: 0,
        identity: 0,
    };

    /// RFC 9110 §12.5.3. A range is of the plain bytes, so none is packed then.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        if headers.contains_key(RANGE) {
            return Self::PLAIN;
        }
        let (mut brotli, mut gzip, mut identity, mut any) = (None, None, None, None);
        let fields = headers.get_all(ACCEPT_ENCODING).iter();
        for item in fields
            .filter_map(|value| value.to_str().ok())
            .flat_map(|v| v.split(','))
        {
            let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
            let weight = weight(parameters);
            match coding.trim().to_ascii_lowercase().as_str() {
                "br" => brotli = Some(weight),
                "gzip" | "x-gzip" => gzip = Some(weight),
                "identity" => identity = Some(weight),
                "*" => any = Some(weight),
                _ => {}
            }
        }
        Self {
            brotli: brotli.or(any).unwrap_or(0),
            gzip: gzip.or(any).unwrap_or(0),
            // Unnamed, it is what is sent when nothing better is there; refused, it still is.
            identity: identity.unwrap_or(0),
        }
    }

    /// Those that are taken and not less gladly than the plain bytes, best first.
    pub(super) fn preferred(self) -> impl Iterator<Item = Encoding> {
        let mut both = [(self.brotli, Encoding::Brotli), (self.gzip, Encoding::Gzip)];
        if self.gzip > self.brotli {
            both.swap(0, 1);
        }
        both.into_iter()
            .filter(move |(weight, _)| *weight > 0 && *weight >= self.identity)
            .map(|(_, encoding)| encoding)
    }
}

/// `q=0.5` in thousandths; 1 where there is none or it cannot be read.
fn weight(parameters: &str) -> u16 {
    parameters
        .split(';')
        .filter_map(|parameter| parameter.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .and_then(|(_, value)| value.trim().parse::<f32>().ok())
        .map_or(1000, |weight| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and 1000"
            )]
            let thousandths = (weight.clamp(0.0, 1.0) * 1000.0) as u16;
            thousandths
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_encoding_that_the_browser_takes_comes_first() {
        use Encoding::{Brotli, Gzip};
        struct Case(&'static str, &'static [Encoding]);
        for Case(accept, expected) in [
            Case("gzip, deflate, br, zstd", &[Brotli, Gzip]),
            Case("br;q=0.5, gzip;q=0.8", &[Gzip, Brotli]),
            Case("br;q=0, gzip", &[Gzip]),
            Case("br;q=0.0,*", &[Gzip]),
            Case("*", &[Brotli, Gzip]),
            Case("*;q=0", &[]),
            Case("GZIP ; Q=0.1", &[Gzip]),
            Case("identity", &[]),
            Case("identity;q=1, br;q=0.5", &[]),
            Case("identity;q=0.6, br;q=0.5, gzip;q=0.7", &[Gzip]),
            Case("identity;q=0.5, br;q=0.5", &[Brotli]),
            Case("identity;q=0.5, *;q=0.4", &[]),
            Case("identity;q=0, gzip;q=0.1", &[Gzip]),
            Case("", &[]),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, accept.parse().unwrap());
            let found: Vec<_> = Encodings::accepted(&headers).preferred().collect();
            assert_eq!(found, expected, "{accept}");
            headers.insert(RANGE, "bytes=0-1".parse().unwrap());
            assert_eq!(
                Encodings::accepted(&headers).preferred().count(),
                0,
                "{accept}"
            );
        }
    }
}
