//! nginx before the product, as a process: its own defaults, and the lines that a test adds.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::missing;
use crate::support::clock::soon;
use crate::support::ports::free_port;

/// Whether nginx is installed; a word about it where it is not.
pub(crate) fn is_here() -> bool {
    let found = Command::new("nginx").arg("-v").output();
    let here = found.is_ok_and(|output| output.status.success());
    if !here {
        missing("nginx");
    }
    here
}

/// A proxy that passes all to one address.
#[derive(Debug)]
pub(crate) struct Nginx {
    pub(crate) addr: SocketAddr,
    child: Child,
    _dir: TempDir,
}

impl Nginx {
    /// One before `behind`, with these lines in its `server`.
    pub(crate) async fn before(behind: SocketAddr, lines: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let place = dir.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {place}/{kind};\n"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;\n\
             events {{}}\n\
             http {{\n access_log off;\n {temporary}\
             server {{\n listen {addr};\n {lines}\n\
             location / {{ proxy_pass http://{behind}; proxy_http_version 1.1; \
             proxy_set_header Host $http_host; }}\n}} }}\n"
        );
        let path = dir.path().join("nginx.conf");
        fs::write(&path, config).unwrap();
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&path)
            .arg("-e")
            .arg(dir.path().join("error.log"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        soon("nginx to listen", async {
            while TcpStream::connect(addr).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        Self {
            addr,
            child,
            _dir: dir,
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
