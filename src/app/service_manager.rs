//! What systemd is told (`sd_notify(3)`): a datagram of `NAME=value` lines to the socket that it named.
//! Where it named none, nothing is said.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::config::Variables;

/// A service manager that hangs holds up nothing for longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whoever started this process and wants to hear how it fares.
#[derive(Debug)]
pub(super) struct ServiceManager {
    notify: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Nobody wants to hear anything.
    pub(super) const fn none() -> Self {
        Self {
            notify: None,
            watchdog: None,
        }
    }

    /// The one that `variables` name.
    pub(super) fn of(variables: &Variables) -> Self {
        let Some(place) = variables.get("NOTIFY_SOCKET") else {
            return Self::none();
        };
        match open(place) {
            Ok(notify) => Self {
                notify: Some(notify),
                watchdog: watchdog(variables, process::id()),
            },
            Err(error) => {
                tracing::warn!(
                    event = "service_manager.untold",
                    %error,
                    "the service manager cannot be told anything"
                );
                Self::none()
            }
        }
    }

    /// How often it wants to hear that we are alive: twice in the time after which it gives us up.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// We listen, or have reloaded.
    pub(super) fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    /// The moment is what `Type=notify-reload` holds against that of its signal.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000) + now.tv_nsec / 1_000;
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"
        ));
    }

    /// The end has begun, and may take so long.
    pub(super) fn stopping(&self, longest: Duration) {
        let micros = longest.saturating_add(PATIENCE).as_micros();
        self.tell(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}\nSTATUS=draining"
        ));
    }

    pub(super) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, lines: &str) {
        if let Some((socket, to)) = &self.notify
            && let Err(error) = socket.send_to_addr(lines.as_bytes(), to)
        {
            tracing::warn!(
                event = "service_manager.untold",
                %error,
                "the service manager was not told"
            );
        }
    }
}

fn open(place: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = address(place)?;
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok((socket, address))
}

/// A path, or a name in Linux's abstract namespace behind an `@`.
fn address(place: &str) -> io::Result<SocketAddr> {
    match place.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            SocketAddr::from_abstract_name(name)
        }
        #[cfg(not(target_os = "linux"))]
        Some(_) => Err(io::ErrorKind::Unsupported.into()),
        None => SocketAddr::from_pathname(place),
    }
}

fn watchdog(variables: &Variables, own: u32) -> Option<Duration> {
    let number = |name: &str| variables.get(name)?.parse::<u64>().ok();
    let is_ours = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(own));
    let micros = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && is_ours)?;
    Some(Duration::from_micros(micros) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half the time, and only where this process is meant.
    #[test]
    fn the_watchdog_is_ours_alone() {
        let cases = [
            (&[("WATCHDOG_USEC", "10000000")][..], Some(5)),
            (
                &[("WATCHDOG_USEC", "10000000"), ("WATCHDOG_PID", "7")],
                Some(5),
            ),
            (
                &[("WATCHDOG_USEC", "10000000"), ("WATCHDOG_PID", "8")],
                None,
            ),
            (&[("WATCHDOG_USEC", "0")], None),
            (&[("WATCHDOG_USEC", "soon")], None),
            (&[], None),
        ];
        for (variables, seconds) in cases {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let variables: Variables = variables.iter().map(owned).collect();
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(watchdog(&variables, 7), expected, "{variables:?}");
        }
    }

    /// A socket in either namespace is told; one that cannot be is no reason not to serve.
    #[test]
    fn a_socket_is_found_in_either_namespace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify").display().to_string();
        let places = [path, format!("@bff-test-{}", process::id())];
        for place in &places {
            let heard = UnixDatagram::bind_addr(&address(place).unwrap()).unwrap();
            let variables = Variables::from([("NOTIFY_SOCKET".to_owned(), place.clone())]);
            ServiceManager::of(&variables).ready();
            let mut bytes = [0; 64];
            let read = heard.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..read], b"READY=1\nSTATUS=serving", "{place}");
        }
        let gone = folder.path().join("gone").display().to_string();
        ServiceManager::of(&Variables::from([("NOTIFY_SOCKET".to_owned(), gone)])).alive();
    }
}
