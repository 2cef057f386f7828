//! Whose address a request carries, by the rightmost-trusted walk (I4).
//!
//! Only `X-Forwarded-For` is read, and only as far as proxies that the operator named wrote it;
//! what stands left of the first stranger is hearsay and is not sent on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::web::plain_text::push_address;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies before us whose word counts.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// The proxies in these networks.
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether this address is one of them.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether this peer is one of them.
    pub fn trust_peer(&self, peer: Peer) -> bool {
        match peer {
            Peer::Address(address) => self.trust(address),
            Peer::Unix => true,
        }
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A browser, or a proxy before us.
    Address(IpAddr),
    /// A process on this machine that may open our socket file: a proxy, since no browser finds one.
    Unix,
}

impl Peer {
    /// Its address, or this machine's.
    pub const fn address(self) -> IpAddr {
        match self {
            Self::Address(address) => address,
            Self::Unix => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        // A dual-stack socket writes IPv4 peers as ::ffff:192.0.2.1.
        Self::Address(address.to_canonical())
    }
}

/// The peer, where it is a proxy by its own word that nobody named: it says for whom it asks, and stands on
/// a network where only those are who were let in. On the open net anybody may say so.
pub fn unnamed_proxy(peer: Peer, headers: &HeaderMap, trusted: &TrustedProxies) -> Option<IpAddr> {
    let speaks_for_another = !trusted.trust_peer(peer) && headers.contains_key(X_FORWARDED_FOR);
    Some(peer.address()).filter(|address| speaks_for_another && is_within(*address))
}

/// Whether no address of the open net is like it: RFC 1918, RFC 4193, RFC 6598, and what is local.
const fn is_within(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            is_shared || address.is_loopback() || address.is_private() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

/// The address of whoever called, as far as it can be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAddress {
    address: IpAddr,
    /// The trusted hops after it, nearest to the browser first, the peer last; none where the
    /// browser itself is the peer. A socket file is no hop.
    hops: Vec<IpAddr>,
}

impl ClientAddress {
    /// Walks `X-Forwarded-For` from its right end while the hops are trusted.
    pub fn resolve(peer: impl Into<Peer>, headers: &HeaderMap, trusted: &TrustedProxies) -> Self {
        let peer = peer.into();
        let mut address = peer.address();
        let mut hops = Vec::new();
        if !trusted.trust_peer(peer) {
            return Self { address, hops };
        }
        // A socket file has no address that could stand in a chain.
        let mut hop = (peer != Peer::Unix).then_some(address);
        let lines: Vec<&HeaderValue> = headers.get_all(X_FORWARDED_FOR).iter().collect();
        let entries = lines
            .iter()
            .rev()
            .flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
        for entry in entries {
            // A word that is no address ends what can be known.
            let Some(next) = parse_entry(entry) else {
                break;
            };
            hops.extend(hop);
            hop = Some(next);
            address = next;
            if !trusted.trust(address) {
                break;
            }
        }
        hops.reverse();
        Self { address, hops }
    }

    /// The address itself.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Writes the `X-Forwarded-For` to send upstream: the caller, then every trusted hop.
    pub fn write_forwarded_for(&self, into: &mut Vec<u8>) {
        push_address(into, self.address);
        for hop in &self.hops {
            into.extend_from_slice(b", ");
            push_address(into, *hop);
        }
    }
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`.
fn parse_entry(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let address = if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else if let Ok(socket) = text.parse::<SocketAddr>() {
        socket.ip()
    } else {
        text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        name: &'static str,
        peer: &'static str,
        lines: &'static [&'static str],
        address: &'static str,
        sent: &'static str,
    }

    fn check(case: &Case) {
        let trusted = TrustedProxies::new(vec![
            "10.0.0.0/8".parse().unwrap(),
            "2001:db8:a::/48".parse().unwrap(),
        ]);
        let mut headers = HeaderMap::new();
        for line in case.lines {
            headers.append(
                X_FORWARDED_FOR,
                HeaderValue::from_bytes(line.as_bytes()).unwrap(),
            );
        }
        let client =
            ClientAddress::resolve(case.peer.parse::<IpAddr>().unwrap(), &headers, &trusted);
        assert_eq!(client.address().to_string(), case.address, "{}", case.name);
        let mut sent = Vec::new();
        client.write_forwarded_for(&mut sent);
        assert_eq!(String::from_utf8(sent).unwrap(), case.sent, "{}", case.name);
    }

    /// I4: an untrusted peer's chain counts for nothing; a trusted one is followed to the first stranger.
    #[test]
    fn the_rightmost_untrusted_hop_is_the_caller() {
        for case in [
            Case {
                name: "a stranger speaks for himself",
                peer: "192.0.2.1",
                lines: &["198.51.100.1"],
                address: "192.0.2.1",
                sent: "192.0.2.1",
            },
            Case {
                name: "a trusted proxy names the caller",
                peer: "10.0.0.1",
                lines: &["198.51.100.1"],
                address: "198.51.100.1",
                sent: "198.51.100.1, 10.0.0.1",
            },
            Case {
                name: "what the caller wrote is dropped",
                peer: "10.0.0.1",
                lines: &["1.1.1.1, 198.51.100.1"],
                address: "198.51.100.1",
                sent: "198.51.100.1, 10.0.0.1",
            },
            Case {
                name: "several trusted hops over several lines",
                peer: "10.0.0.1",
                lines: &["1.1.1.1", "198.51.100.1 , 10.0.0.3", "10.0.0.2"],
                address: "198.51.100.1",
                sent: "198.51.100.1, 10.0.0.3, 10.0.0.2, 10.0.0.1",
            },
            Case {
                name: "all hops trusted: the leftmost",
                peer: "10.0.0.1",
                lines: &["10.0.0.3, 10.0.0.2"],
                address: "10.0.0.3",
                sent: "10.0.0.3, 10.0.0.2, 10.0.0.1",
            },
            Case {
                name: "no chain at all",
                peer: "10.0.0.1",
                lines: &[],
                address: "10.0.0.1",
                sent: "10.0.0.1",
            },
            Case {
                name: "nonsense ends the walk",
                peer: "10.0.0.1",
                lines: &["198.51.100.1, unknown, 10.0.0.2"],
                address: "10.0.0.2",
                sent: "10.0.0.2, 10.0.0.1",
            },
            Case {
                name: "not even UTF-8",
                peer: "10.0.0.1",
                lines: &["198.51.100.1, \u{e9}"],
                address: "10.0.0.1",
                sent: "10.0.0.1",
            },
            Case {
                name: "ports and brackets",
                peer: "2001:db8:a::1",
                lines: &["[2001:db8::9]:4711, [2001:db8:a::2], 10.0.0.2:80"],
                address: "2001:db8::9",
                sent: "2001:db8::9, 2001:db8:a::2, 10.0.0.2, 2001:db8:a::1",
            },
            Case {
                name: "an IPv4 peer on a dual-stack socket",
                peer: "::ffff:10.0.0.1",
                lines: &["::ffff:198.51.100.1"],
                address: "198.51.100.1",
                sent: "198.51.100.1, 10.0.0.1",
            },
        ] {
            check(&case);
        }
    }

    /// I4: a proxy that nobody named was silent for as long as it stood there.
    #[test]
    fn a_proxy_that_nobody_named_is_known_by_its_word() {
        let trusted = TrustedProxies::new(vec!["10.0.0.1/32".parse().unwrap()]);
        let mut chain = HeaderMap::new();
        chain.insert(X_FORWARDED_FOR, HeaderValue::from_static("203.0.113.7"));
        let nothing = HeaderMap::new();
        for (peer, headers, unnamed) in [
            ("127.0.0.1", &chain, true),
            ("127.0.0.1", &nothing, false),
            ("10.0.0.1", &chain, false),
            ("10.0.0.2", &chain, true),
            ("::ffff:10.0.0.2", &chain, true),
            ("172.17.0.1", &chain, true),
            ("100.64.0.1", &chain, true),
            ("100.128.0.1", &chain, false),
            ("192.0.2.1", &chain, false),
            ("fd00::1", &chain, true),
            ("fe80::1", &chain, true),
            ("2001:db8::1", &chain, false),
        ] {
            let address: IpAddr = peer.parse().unwrap();
            let found = unnamed_proxy(address.into(), headers, &trusted);
            assert_eq!(found, unnamed.then(|| address.to_canonical()), "{peer}");
        }
        assert_eq!(unnamed_proxy(Peer::Unix, &chain, &trusted), None);
    }
}
