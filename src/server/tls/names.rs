//! The hosts that a certificate is for, as browsers understand it (RFC 9525 §6).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::web::der::alternative_names;

const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// Names that a sentence lists.
const LISTED: usize = 8;

/// The hosts that a certificate is for: what stands in its `subjectAltName`. The common name of its
/// subject counts for nobody any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateNames {
    exact: Box<[Box<str>]>,
    /// What follows `*.`, for which one label may stand.
    parents: Box<[Box<str>]>,
    addresses: Box<[IpAddr]>,
}

impl CertificateNames {
    /// Those of this certificate, in DER.
    pub(super) fn of(certificate: &[u8]) -> Self {
        let (mut exact, mut parents, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for (tag, name) in alternative_names(certificate) {
            match tag {
                DNS_NAME => match DnsName::of(name) {
                    Some(DnsName::Exact(name)) => exact.push(name),
                    Some(DnsName::Below(parent)) => parents.push(parent),
                    None => {}
                },
                IP_ADDRESS => addresses.extend(address(name)),
                _ => {}
            }
        }
        Self {
            exact: exact.into(),
            parents: parents.into(),
            addresses: addresses.into(),
        }
    }

    /// Whether a browser takes the certificate for this host's: a name in A-labels, an address as it
    /// stands in a URL, or `*.` and a name for all hosts right below it.
    pub fn cover(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        if self
            .exact
            .iter()
            .any(|name| name.eq_ignore_ascii_case(host))
        {
            return true;
        }
        if let Some((_, parent)) = host.split_once('.').filter(|(label, _)| !label.is_empty())
            && self
                .parents
                .iter()
                .any(|name| name.eq_ignore_ascii_case(parent))
        {
            return true;
        }
        // Not read as one where no address could be covered.
        !self.addresses.is_empty()
            && as_address(host).is_some_and(|address| self.addresses.contains(&address))
    }
}

/// As a sentence lists them.
impl fmt::Display for CertificateNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.exact.iter().map(ToString::to_string);
        let wildcards = self.parents.iter().map(|parent| format!("*.{parent}"));
        let addresses = self.addresses.iter().map(ToString::to_string);
        let names: Vec<String> = exact.chain(wildcards).chain(addresses).collect();
        if names.is_empty() {
            return f.write_str("no host at all (it has no subjectAltName)");
        }
        f.write_str(&names.get(..LISTED).unwrap_or(&names).join(", "))?;
        match names.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The address that a host is, as URLs write it.
pub(super) fn as_address(host: &str) -> Option<IpAddr> {
    let in_brackets = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match in_brackets {
        Some(host) => host.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4.or(v6).ok()
}

/// A name in a certificate.
#[derive(Debug, PartialEq, Eq)]
enum DnsName {
    Exact(Box<str>),
    Below(Box<str>),
}

impl DnsName {
    /// As browsers take it: a wildcard is a whole label, the first, above two more; an address is no
    /// name.
    fn of(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.to_ascii_lowercase();
        let (name, is_wildcard) = match text.strip_prefix("*.") {
            Some(parent) => (parent, true),
            None => (&*text, false),
        };
        let is_label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            !label.is_empty() && label.bytes().all(plain)
        };
        let last = name.rsplit('.').next()?;
        let is_name =
            name.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit());
        match (is_name, is_wildcard) {
            (true, false) => Some(Self::Exact(name.into())),
            (true, true) if name.contains('.') => Some(Self::Below(name.into())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};
    use rustls::client::verify_server_name;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::server::ParsedCertificate;

    use super::*;

    fn certificate(names: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    /// N2, RFC 9525 §6.3: what browsers take a certificate for, and nothing else. The TLS library, which
    /// judges as browsers do, says the same of each.
    #[test]
    fn a_certificate_covers_what_browsers_take_it_for() {
        let names = ["shop.example.com", "Www.Example.ORG", "*.app.example.com"];
        let more = [
            "*.com",
            "f*.example.net",
            "192.0.2.1",
            "2001:db8::1",
            "a.*.example.net",
        ];
        let leaf = certificate(&[&names[..], &more].concat());
        let covered = CertificateNames::of(&leaf);
        let leaf = ParsedCertificate::try_from(&leaf).unwrap();
        for (host, expected) in [
            ("shop.example.com", true),
            ("SHOP.example.COM", true),
            ("shop.example.com.", true),
            ("www.example.org", true),
            ("a.app.example.com", true),
            ("A.APP.example.com", true),
            ("xn--bcher-kva.app.example.com", true),
            ("app.example.com", false),
            ("a.b.app.example.com", false),
            ("example.com", false),
            ("a.shop.example.com", false),
            ("shop.example.com.evil.example", false),
            ("evilshop.example.com", false),
            ("a.com", false),
            ("foo.example.net", false),
            ("a.b.example.net", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("[2001:db8::1]", true),
            ("[2001:db8::2]", false),
            ("localhost", false),
        ] {
            assert_eq!(covered.cover(host), expected, "{host}");
            let bare = host.trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(bare).unwrap();
            let library = verify_server_name(&leaf, &name).is_ok();
            assert_eq!(library, expected, "{host}: the library");
        }
        assert!(!covered.cover(""));
        assert!(!covered.cover(".app.example.com"));
        // A host as a site of many writes it.
        assert!(covered.cover("*.app.example.com"));
        assert!(!covered.cover("*.example.com"));
        assert!(!covered.cover("*.shop.example.com"));
    }

    /// A sentence says what a certificate is for.
    #[test]
    fn the_names_can_be_told() {
        let told = |names: &[&str]| CertificateNames::of(&certificate(names)).to_string();
        assert_eq!(
            told(&["192.0.2.1", "*.b.example", "a.example"]),
            "a.example, *.b.example, 192.0.2.1"
        );
        assert_eq!(told(&[]), "no host at all (it has no subjectAltName)");
        let many: Vec<String> = (0..10).map(|n| format!("n{n}.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(told(&many).ends_with(", n7.example and 2 more"));
    }

    /// Whatever stands in the file, reading the names takes no panic.
    #[test]
    fn a_certificate_that_is_cut_has_no_names() {
        let whole = certificate(&["a.example", "*.b.example"]);
        assert!(CertificateNames::of(&whole).cover("a.example"));
        for end in 0..whole.len() {
            drop(CertificateNames::of(&whole[..end]));
        }
        for at in 0..whole.len() {
            let mut changed = whole.to_vec();
            changed[at] ^= 0x80;
            drop(CertificateNames::of(&changed));
        }
    }
}
