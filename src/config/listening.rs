//! Where to listen, as it is written: an IP address and port, `localhost`, or a socket file.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use serde_json::json;

use crate::config::document::Node;
use crate::config::error::Faults;
use crate::config::reader::{Read, text};
use crate::server::Listen;
use crate::web::socket_url;

/// Where it listens unless told otherwise.
pub(super) const PORT: u16 = 8080;

impl Read for Listen {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let text = text(node, key, "an address", "\"127.0.0.1:8080\"", faults)?;
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            if socket_url::of(path).is_none() {
                faults.refuse(
                    &node.place,
                    key,
                    format!("is not the whole path of a socket file: {text:?}"),
                    "write one such as \"unix:/run/bff/app.sock\"",
                );
                return None;
            }
            return Some(Self::Unix(path.to_owned()));
        }
        // The one name that means the same everywhere.
        let port = text.strip_prefix("localhost:");
        let here = port.and_then(|port| Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into()));
        let address = here.or_else(|| text.parse().ok());
        if address.is_none() {
            faults.refuse(
                &node.place,
                key,
                format!("is not an IP address with a port: {text:?}"),
                remedy(text),
            );
        }
        address.map(Self::Tcp)
    }

    fn schema() -> serde_json::Value {
        json!({
            "type": "string",
            "examples": ["127.0.0.1:8080", "0.0.0.0:8443", "unix:/run/bff/app.sock"]
        })
    }
}

/// What whoever wrote `text` meant.
fn remedy(text: &str) -> String {
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, port) = bare.rsplit_once(':').unwrap_or((bare, "8080"));
    let port = port.trim_end_matches('/');
    let is_port = port.parse::<u16>().is_ok();
    match (host, bare.parse::<u16>()) {
        // Every address, as some programs write it.
        ("" | "*", _) if is_port => format!("write \"0.0.0.0:{port}\""),
        (_, Ok(port)) => format!("write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for all"),
        ("localhost", _) if is_port => format!("write \"localhost:{port}\""),
        (host, _) if host.parse::<IpAddr>().is_ok() && bare != text && is_port => {
            format!("write {bare:?}")
        }
        _ => "write one such as \"127.0.0.1:8080\", \"0.0.0.0:8443\", \"[::1]:8080\" or \"unix:/run/bff/app.sock\"".to_owned(),
    }
}
