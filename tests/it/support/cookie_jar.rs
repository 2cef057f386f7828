//! Cookies as Chromium keeps them (RFC 6265bis): prefixes, `SameSite`, Secure, size, scope, age.

use std::sync::Arc;
use std::time::Duration;

use bff::clock::{Clock, ManualClock, Timestamp};
use url::{Host, Url};

/// The most that a name and a value may measure together (RFC 6265bis §5.6).
const LARGEST_COOKIE: usize = 4096;

/// What the jar holds; a clone is another jar.
#[derive(Debug, Clone)]
pub(crate) struct CookieJar {
    clock: Arc<ManualClock>,
    cookies: Vec<Cookie>,
    refused: Vec<String>,
}

/// One cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cookie {
    pub(crate) name: String,
    pub(crate) value: String,
    /// The host, or the domain where `host_only` is not set.
    pub(crate) domain: String,
    pub(crate) host_only: bool,
    pub(crate) path: String,
    pub(crate) secure: bool,
    pub(crate) http_only: bool,
    pub(crate) same_site: SameSite,
    /// `None` lives until the browser is closed.
    pub(crate) expires_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SameSite {
    Strict,
    Lax,
    None,
}

/// Who made a request, as far as cookies care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// The site itself, or the person at the address bar.
    SameSite,
    /// Another site sends the top window here with a safe method.
    CrossSiteNavigation,
    /// Another site posts a form into the top window.
    CrossSitePost,
    /// Anything else of another site: fetch, frame, image.
    CrossSiteSubresource,
}

impl CookieJar {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Self {
        Self {
            clock,
            cookies: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Takes one `Set-Cookie` of an answer from `url`.
    pub(crate) fn set(&mut self, url: &Url, context: Context, set_cookie: &str) {
        match self.judge(url, context, set_cookie) {
            Ok(cookie) => {
                let same = |known: &Cookie| {
                    (&known.name, &known.domain, known.host_only, &known.path)
                        == (&cookie.name, &cookie.domain, cookie.host_only, &cookie.path)
                };
                let at = self.cookies.iter().position(same);
                let ended = cookie
                    .expires_at
                    .is_some_and(|ends| ends <= self.clock.now());
                match (at, ended) {
                    (Some(at), false) => self.cookies[at] = cookie,
                    (Some(at), true) => {
                        self.cookies.remove(at);
                    }
                    (None, false) => self.cookies.push(cookie),
                    (None, true) => {}
                }
            }
            Err(why) => self.refused.push(format!("{why}: {set_cookie}")),
        }
    }

    /// The `Cookie` value of a request to `url`.
    pub(crate) fn header(&self, url: &Url, context: Context) -> Option<String> {
        let host = host_of(url);
        let now = self.clock.now();
        let mut fitting: Vec<&Cookie> = self
            .cookies
            .iter()
            .filter(|cookie| {
                let host_fits = if cookie.host_only {
                    host == cookie.domain
                } else {
                    domain_matches(&host, &cookie.domain)
                };
                let site_fits = match cookie.same_site {
                    SameSite::Strict => context == Context::SameSite,
                    SameSite::Lax => {
                        matches!(context, Context::SameSite | Context::CrossSiteNavigation)
                    }
                    SameSite::None => true,
                };
                host_fits
                    && site_fits
                    && path_matches(url.path(), &cookie.path)
                    && (!cookie.secure || is_trustworthy(url))
                    && cookie.expires_at.is_none_or(|ends| now < ends)
            })
            .collect();
        // Longer paths first; the sort is stable, so older cookies come first within a path.
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<_> = fitting
            .iter()
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// The cookie of this name, where there is one.
    pub(crate) fn cookie(&self, name: &str) -> Option<&Cookie> {
        self.cookies.iter().find(|cookie| cookie.name == name)
    }

    /// All of them.
    pub(crate) fn cookies(&self) -> &[Cookie] {
        &self.cookies
    }

    /// Puts a cookie in as a person with developer tools would, past every rule.
    pub(crate) fn plant(&mut self, cookie: Cookie) {
        self.cookies.push(cookie);
    }

    /// Forgets every cookie of this name.
    pub(crate) fn remove(&mut self, name: &str) {
        self.cookies.retain(|cookie| cookie.name != name);
    }

    /// The person closes the browser: what has no age is gone.
    pub(crate) fn close_browser(&mut self) {
        self.cookies.retain(|cookie| cookie.expires_at.is_some());
    }

    /// Every `Set-Cookie` that the browser refused, and why.
    pub(crate) fn refused(&self) -> &[String] {
        &self.refused
    }

    fn judge(&self, url: &Url, context: Context, text: &str) -> Result<Cookie, &'static str> {
        let mut parts = text.split(';').map(str::trim);
        let (name, value) = parts
            .next()
            .and_then(|pair| pair.split_once('='))
            .ok_or("no name")?;
        if text
            .bytes()
            .any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f)
        {
            return Err("a control character");
        }
        let (name, value) = (name.trim(), value.trim());
        if name.len() + value.len() > LARGEST_COOKIE {
            return Err("too large");
        }
        let host = host_of(url);
        let mut cookie = Cookie {
            name: name.to_owned(),
            value: value.to_owned(),
            domain: host.clone(),
            host_only: true,
            path: default_path(url.path()),
            secure: false,
            http_only: false,
            same_site: SameSite::Lax,
            expires_at: None,
        };
        let mut explicit_path = false;
        let mut max_age = None;
        for attribute in parts {
            let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            if value.len() > 1024 {
                continue;
            }
            match key.trim().to_ascii_lowercase().as_str() {
                "secure" => cookie.secure = true,
                "httponly" => cookie.http_only = true,
                "path" if value.starts_with('/') => {
                    value.clone_into(&mut cookie.path);
                    explicit_path = true;
                }
                "domain" if !value.is_empty() => {
                    let domain = value.trim_start_matches('.').to_ascii_lowercase();
                    if !domain_matches(&host, &domain) || !domain.contains('.') {
                        return Err("a domain that is not the host's");
                    }
                    cookie.domain = domain;
                    cookie.host_only = false;
                }
                "samesite" => {
                    cookie.same_site = match value.to_ascii_lowercase().as_str() {
                        "strict" => SameSite::Strict,
                        "none" => SameSite::None,
                        _ => SameSite::Lax,
                    };
                }
                "max-age" => max_age = value.parse::<i64>().ok(),
                "expires" => {
                    cookie.expires_at = httpdate::parse_http_date(value).ok().map(|moment| {
                        let since = moment
                            .duration_since(std::time::UNIX_EPOCH)
                            .unwrap_or_default();
                        Timestamp::from_unix_seconds(since.as_secs().try_into().unwrap())
                    });
                }
                _ => {}
            }
        }
        if let Some(seconds) = max_age {
            let seconds = Duration::from_secs(seconds.max(0).unsigned_abs());
            cookie.expires_at = Some(self.clock.now() + seconds);
        }
        if cookie.secure && !is_trustworthy(url) {
            return Err("Secure from an origin that is not");
        }
        if cookie.same_site == SameSite::None && !cookie.secure {
            return Err("SameSite=None without Secure");
        }
        if context == Context::CrossSiteSubresource && cookie.same_site != SameSite::None {
            return Err("a same-site cookie from a cross-site context");
        }
        check_prefix(&cookie, explicit_path)?;
        Ok(cookie)
    }
}

/// RFC 6265bis §4.1.3 and the newer `__Http-` names; browsers compare without case.
fn check_prefix(cookie: &Cookie, explicit_path: bool) -> Result<(), &'static str> {
    let name = cookie.name.to_ascii_lowercase();
    let host_bound = cookie.host_only && explicit_path && cookie.path == "/";
    if name.starts_with("__secure-") && !cookie.secure {
        return Err("__Secure- without Secure");
    }
    if name.starts_with("__host-") && !(cookie.secure && host_bound) {
        return Err("__Host- without Secure, with a Domain, or with another Path than /");
    }
    let http = name.starts_with("__http-") || name.starts_with("__host-http-");
    if http && !(cookie.secure && cookie.http_only) {
        return Err("__Http- without Secure or HttpOnly");
    }
    Ok(())
}

/// The site of a URL: its scheme and registrable domain; ports do not count.
pub(crate) fn site_of(url: &Url) -> (String, String) {
    let domain = match url.host() {
        Some(Host::Domain(domain)) => {
            // The tests' names have one-label suffixes: `app.example`, `evil.example`.
            let labels: Vec<&str> = domain.rsplit('.').take(2).collect();
            labels.into_iter().rev().collect::<Vec<_>>().join(".")
        }
        _ => host_of(url),
    };
    (url.scheme().to_owned(), domain)
}

/// Whether browsers trust the way there: TLS, or loopback.
pub(crate) fn is_trustworthy(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "wss")
        || match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(domain)) => domain == "localhost" || domain.ends_with(".localhost"),
            None => false,
        }
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

fn domain_matches(host: &str, domain: &str) -> bool {
    host == domain
        || (host.parse::<std::net::IpAddr>().is_err()
            && host
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.')))
}

fn path_matches(path: &str, cookie_path: &str) -> bool {
    path == cookie_path
        || path
            .strip_prefix(cookie_path)
            .is_some_and(|rest| cookie_path.ends_with('/') || rest.starts_with('/'))
}

fn default_path(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, _)) if !folder.is_empty() => folder.to_owned(),
        _ => "/".to_owned(),
    }
}
