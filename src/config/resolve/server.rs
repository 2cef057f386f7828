//! `[server]`: the listeners and what they take.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::time::Duration;

use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::admin::{AdminKeys, AdminSettings};
use crate::config::error::Faults;
use crate::config::file::{LimitsTable, ServerTable, TimeoutsTable};
use crate::config::listening::PORT;
use crate::config::reader::{Field, Written};
use crate::config::resolve::{Purpose, Surroundings, count, span, table, tls};
use crate::config::words::Size;
use crate::secret::{AdminKey, is_one_byte};
use crate::server::{Limits, Listen, ServerSettings, SiteCertificate, Timeouts};
use crate::web::own_hosts::OwnHosts;
use crate::web::pace::LeastRate;

const LEAST_KEY_LENGTH: usize = 16;
const LONGEST_NAME: usize = 64;
/// A phone at the edge of its net has ten times as much, a drip a hundredth.
const LEAST_RATE: Size = Size(64);
/// Long enough for a tunnel on the way.
const RATE_WINDOW: Duration = Duration::from_secs(30);
/// Below the minute after which proxies and routers forget a silent connection.
const WEBSOCKET_PING: Duration = Duration::from_secs(30);

/// Where the public listener is.
pub(super) fn listen(server: &ServerTable) -> Listen {
    server
        .listen
        .or(Listen::Tcp((Ipv4Addr::LOCALHOST, PORT).into()))
}

/// The public listener, with the certificates of sites.
pub(super) fn server(
    field: &Field<ServerTable>,
    site_certificates: Vec<SiteCertificate>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> ServerSettings {
    let (server, _) = table(field);
    if surroundings.purpose.is_development()
        && let Some(written) = server.listen.written()
        && let Some(address) = written.value.tcp()
        && !address.ip().is_loopback()
    {
        written.refuse(
            faults,
            "is reachable from outside, and anyone can sign in as anyone under bff dev",
            format!(
                "write \"127.0.0.1:{port}\", or start bff dev --port {port}",
                port = address.port()
            ),
        );
    }
    let tls = tls::tls(&server.tls, surroundings, faults);
    ServerSettings {
        listen: listen(&server),
        key: "server.listen",
        tls,
        site_certificates,
        workers: workers(&server.workers, faults),
        limits: limits(&server.limits, faults),
        timeouts: timeouts(&server.timeouts, faults),
    }
}

fn workers(field: &Field<u64>, faults: &mut Faults) -> NonZeroUsize {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    NonZeroUsize::new(count(field, cores.get(), 1, 1024, faults)).unwrap_or(cores)
}

fn limits(field: &Field<LimitsTable>, faults: &mut Faults) -> Limits {
    let (limits, _) = table(field);
    // Less would cut off ordinary requests, and hyper takes no less.
    let least = Size(8 << 10);
    let most = Size(1 << 20);
    if let Some(written) = limits.head.written()
        && !(least.0..=most.0).contains(&written.value.0)
    {
        written.refuse(
            faults,
            "is out of bounds",
            "write a size from \"8KiB\" to \"1MiB\"",
        );
    }
    let connections = count(&limits.connections, 10_000, 1, 10_000_000, faults);
    let per_address = &limits.connections_per_address;
    Limits {
        head_bytes: usize::try_from(limits.head.or(Size(32 << 10)).0).unwrap_or(usize::MAX),
        head_fields: count(&limits.head_fields, 100, 16, 1000, faults),
        upstream_fields: count(&limits.upstream_fields, 100, 16, 1000, faults),
        connections,
        connections_per_address: per_address
            .stands()
            .then(|| count(per_address, connections, 1, 10_000_000, faults)),
        h2_streams: count(&limits.h2_streams, 100, 1, 10_000, faults),
        h2_resets: count(&limits.h2_resets, 100, 1, 100_000, faults),
        least_rate: LeastRate::new(limits.least_rate.or(LEAST_RATE).0, RATE_WINDOW),
    }
}

fn timeouts(field: &Field<TimeoutsTable>, faults: &mut Faults) -> Timeouts {
    let (timeouts, _) = table(field);
    Timeouts {
        handshake: span(&timeouts.handshake, Duration::from_secs(10), faults),
        head: span(&timeouts.head, Duration::from_secs(10), faults),
        idle: span(&timeouts.idle, Duration::from_secs(75), faults),
        body_idle: span(&timeouts.body_idle, Duration::from_secs(30), faults),
        websocket_ping: Some(timeouts.websocket_ping.or(WEBSOCKET_PING))
            .filter(|silence| !silence.is_zero()),
        connect: span(&timeouts.connect, Duration::from_secs(5), faults),
        upstream_age: span(&timeouts.upstream_age, Duration::from_mins(5), faults),
        drain: timeouts.drain.or(Duration::from_secs(30)),
    }
}

/// How long all are served as ever once the process is told to stop.
pub(super) fn drain_delay(server: &ServerTable, faults: &mut Faults) -> Duration {
    let timeouts = server.timeouts.written();
    let Some(written) = timeouts.and_then(|timeouts| timeouts.value.drain_delay.written()) else {
        return Duration::ZERO;
    };
    if !written.value.is_zero() && !server.admin_listen.stands() {
        written.warn(
            faults,
            "waits for a balancer that asks /readyz, and there is no listener to ask",
            "write admin_listen = \"127.0.0.1:9090\" too",
        );
    }
    written.value
}

/// The administration listener.
pub(super) fn admin(
    field: &Field<ServerTable>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<AdminSettings> {
    let (server, _) = table(field);
    let key = admin_key(&server, surroundings, faults);
    let named = admin_keys(&server, surroundings, faults);
    let hosts = admin_hosts(&server, faults);
    let written = server.admin_listen.written()?;
    let is_any = written
        .value
        .tcp()
        .is_some_and(|address| address.port() == 0);
    if written.value == listen(&server) && !is_any {
        written.refuse(
            faults,
            "is the public address too (server.listen)",
            "write another port, one that the public does not reach",
        );
    }
    warn_of_cleartext_keys(&server, written, faults);
    Some(AdminSettings {
        listen: written.value.clone(),
        keys: AdminKeys::new(key, named),
        hosts,
    })
}

/// Health and metrics are no secret of this size: without a key, other machines may ask.
fn warn_of_cleartext_keys(server: &ServerTable, listen: &Written<Listen>, faults: &mut Faults) {
    let takes_keys = server.admin_key.stands() || server.admin_keys.stands();
    if takes_keys
        && let Some(address) = listen.value.tcp()
        && !address.ip().is_loopback()
    {
        listen.warn(
            faults,
            "takes the keys of administration, and shows who is signed in, in cleartext",
            format!(
                "write \"127.0.0.1:{}\", or let nothing reach it but a proxy that speaks https",
                address.port()
            ),
        );
    }
}

/// The names alone: a port or a scheme in one would never be found in a Host field.
fn admin_hosts(server: &ServerTable, faults: &mut Faults) -> OwnHosts {
    let Some(written) = server.admin_hosts.written() else {
        return OwnHosts::default();
    };
    if !server.admin_listen.stands() {
        written.refuse(
            faults,
            "are for a listener that is not there",
            "write admin_listen = \"127.0.0.1:9090\" too",
        );
    }
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    for host in &written.value {
        if !is_name(&host.value) {
            host.refuse(
                faults,
                format!("is not a host's name: {:?}", host.value),
                "write the name alone, without scheme and port, as in \"bff.internal\"",
            );
        }
    }
    OwnHosts::new(
        written
            .value
            .iter()
            .map(|host| host.value.clone())
            .collect(),
    )
}

fn admin_key(
    server: &ServerTable,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<AdminKey> {
    let written = server.admin_key.written()?;
    needs_listener(server, written, faults);
    if surroundings.purpose == Purpose::Explain {
        return None;
    }
    let key = written.resolve(surroundings.secrets(), faults)?;
    long_enough(&key, written, faults)
}

/// The keys of people. Who asks the listener as one of them has no other's: of those, the first that
/// is there is theirs.
fn admin_keys(
    server: &ServerTable,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Vec<(String, AdminKey)> {
    let Some(written) = server.admin_keys.written() else {
        return Vec::new();
    };
    needs_listener(server, written, faults);
    let mut elsewhere = faults.elsewhere();
    let mut found: Vec<(String, Zeroizing<String>)> = Vec::new();
    let mut keys = Vec::new();
    for entry in &written.value.0 {
        let (name, source) = &entry.value;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_plain) {
            entry.refuse(
                faults,
                format!("is no name for the log: {name:?}"),
                "write up to 64 letters, digits and . _ @ -",
            );
        }
        let source = Written {
            value: source.clone(),
            key: entry.key.clone(),
            place: entry.place.clone(),
        };
        let key = match surroundings.purpose {
            Purpose::Explain => continue,
            Purpose::Administer => source.resolve(surroundings.secrets(), &mut elsewhere),
            _ => source.resolve(surroundings.secrets(), faults),
        };
        let Some(key) = key else { continue };
        if let Some((other, _)) = found.iter().find(|(_, other)| **other == *key) {
            entry.refuse(
                faults,
                format!("is the key of {other} too, so that nobody knows who it was"),
                "give each a key of their own: bff keygen prints one",
            );
        }
        if let Some(key) = long_enough(&key, entry, faults) {
            keys.push((name.clone(), key));
        }
        found.push((name.clone(), key));
    }
    keys
}

fn needs_listener<T>(server: &ServerTable, written: &Written<T>, faults: &mut Faults) {
    if !server.admin_listen.stands() {
        written.refuse(
            faults,
            "is for a listener that is not there",
            "write admin_listen = \"127.0.0.1:9090\" too",
        );
    }
}

fn long_enough<T>(key: &str, written: &Written<T>, faults: &mut Faults) -> Option<AdminKey> {
    if key.len() < LEAST_KEY_LENGTH {
        written.refuse(
            faults,
            format!("has {} characters, which can be guessed", key.len()),
            "put what bff keygen prints there",
        );
        return None;
    }
    if is_one_byte(key.as_bytes()) {
        written.warn(
            faults,
            "is one character over and over, which can be guessed",
            "put what bff keygen prints there",
        );
    }
    Some(AdminKey::new(key))
}

/// The proxies whose word on the client's address counts.
pub(super) fn trusted_proxies(server: &ServerTable, faults: &mut Faults) -> Vec<IpNet> {
    let written = server.trusted_proxies.or(Vec::new());
    for net in &written {
        if net.value.prefix_len() == 0 {
            net.warn(
                faults,
                format!(
                    "trusts everyone ({}), so that anyone can claim any address",
                    net.value
                ),
                "write the networks that your proxies are in",
            );
        }
    }
    written.into_iter().map(|net| net.value).collect()
}
