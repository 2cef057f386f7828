//! The origin that browsers see, from configuration alone: no header of a request changes it.

use http::HeaderValue;
use url::Url;

/// `public_url` as an origin, with its pieces ready for headers.
#[derive(Debug, Clone)]
pub struct PublicOrigin {
    text: String,
    host: String,
    scheme: HeaderValue,
    authority: HeaderValue,
}

/// The URL has no origin of scheme, host and port.
#[derive(Debug, thiserror::Error)]
#[error("{0} has no origin")]
pub struct NoOrigin(Url);

impl PublicOrigin {
    /// The origin of `url`; its path counts for nothing.
    ///
    /// # Errors
    ///
    /// Where the URL is neither http nor https, or names no host.
    pub fn new(url: &Url) -> Result<Self, NoOrigin> {
        let no_origin = || NoOrigin(url.clone());
        let scheme = match url.scheme() {
            "https" => HeaderValue::from_static("https"),
            "http" => HeaderValue::from_static("http"),
            _ => return Err(no_origin()),
        };
        let host = url.host_str().ok_or_else(no_origin)?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self {
            text: format!("{}://{authority}", url.scheme()),
            host: host.to_owned(),
            scheme,
            authority: HeaderValue::try_from(authority).map_err(|_| no_origin())?,
        })
    }

    /// The origin as an `Origin` header writes it: `https://app.example.com`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host without its port, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &HeaderValue {
        &self.scheme
    }

    /// Host, and the port where it is not the scheme's own.
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// The same for another host of ours, which is reached by the same port.
    pub fn authority_of(&self, host: &str) -> Option<HeaderValue> {
        let ours = self.authority.to_str().ok()?;
        let port = ours.strip_prefix(self.host.as_str())?;
        HeaderValue::try_from(format!("{}{port}", host.to_ascii_lowercase())).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_unusual_port() {
        for (url, origin, authority) in [
            (
                "https://App.example.com/",
                "https://app.example.com",
                "app.example.com",
            ),
            (
                "https://app.example.com:443/x",
                "https://app.example.com",
                "app.example.com",
            ),
            (
                "http://localhost:8080",
                "http://localhost:8080",
                "localhost:8080",
            ),
            ("http://[::1]:8080", "http://[::1]:8080", "[::1]:8080"),
        ] {
            let public = PublicOrigin::new(&Url::parse(url).unwrap()).unwrap();
            assert_eq!(public.as_str(), origin, "{url}");
            assert_eq!(public.authority(), authority, "{url}");
        }
        assert!(PublicOrigin::new(&Url::parse("file:///x").unwrap()).is_err());
    }
}
