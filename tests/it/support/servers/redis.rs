//! Redis as processes: one server, a Cluster of three masters, or a master and its replica under
//! the eyes of a Sentinel.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, IsCa, KeyPair,
};
use tempfile::TempDir;

use super::missing;
use crate::support::clock::soon;

/// Whether Redis is installed; a word about it where it is not.
pub(crate) fn is_here() -> bool {
    let found = Command::new("redis-server").arg("--version").output();
    let here = found.is_ok_and(|output| output.status.success());
    if !here {
        missing("redis-server");
    }
    here
}

/// A free port from below those that the system gives to outgoing connections, so that a server
/// that restarts finds its own again.
fn lasting_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(37);
    loop {
        let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 12_000 + u16::try_from(number % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The certificate of a server on loopback, and of the authority that signed it.
#[derive(Debug)]
pub(crate) struct Certificates {
    dir: TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut server = CertificateParams::new(names).unwrap();
        // Another name than the authority's, or it would pass for self-signed.
        server.distinguished_name = DistinguishedName::new();
        let server = server.signed_by(&key, &authority).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        fs::write(dir.path().join("cert.pem"), server.pem()).unwrap();
        fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
        Self { dir }
    }

    /// The file with the authority's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
}

/// A server.
#[derive(Debug)]
pub(crate) struct Redis {
    dir: Option<TempDir>,
    port: u16,
    program: &'static str,
    arguments: Vec<String>,
    /// What `redis-cli` needs to be let in.
    entry: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// A server that keeps nothing on disk, unless `options` say so.
    pub(crate) async fn start(options: &[&str]) -> Self {
        let mut arguments = owned(&["--save", "", "--repl-diskless-sync-delay", "0"]);
        arguments.extend(owned(options));
        let port = lasting_port();
        arguments.extend(owned(&["--port", &port.to_string()]));
        Self::run("redis-server", port, arguments, Vec::new()).await
    }

    /// A server that asks for a password.
    pub(crate) async fn with_password(password: &str) -> Self {
        let port = lasting_port();
        let arguments = owned(&["--save", "", "--requirepass", password, "--port"]);
        let arguments = [arguments, vec![port.to_string()]].concat();
        let entry = owned(&["--no-auth-warning", "-a", password]);
        Self::run("redis-server", port, arguments, entry).await
    }

    /// A server that speaks TLS alone.
    pub(crate) async fn with_tls(certificates: &Certificates) -> Self {
        let port = lasting_port();
        let arguments = vec![
            "--save".to_owned(),
            String::new(),
            "--port".to_owned(),
            "0".to_owned(),
            "--tls-port".to_owned(),
            port.to_string(),
            "--tls-cert-file".to_owned(),
            certificates.file("cert.pem"),
            "--tls-key-file".to_owned(),
            certificates.file("key.pem"),
            "--tls-ca-cert-file".to_owned(),
            certificates.file("ca.pem"),
            "--tls-auth-clients".to_owned(),
            "no".to_owned(),
        ];
        let entry = owned(&["--tls", "--cacert", &certificates.file("ca.pem")]);
        Self::run("redis-server", port, arguments, entry).await
    }

    async fn run(
        program: &'static str,
        port: u16,
        arguments: Vec<String>,
        entry: Vec<String>,
    ) -> Self {
        let mut server = Self {
            dir: Some(tempfile::tempdir().unwrap()),
            port,
            program,
            arguments,
            entry,
            child: None,
        };
        server.restart().await;
        server
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its address, without credentials.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Starts it, on the same port and with the files that it left.
    pub(crate) async fn restart(&mut self) {
        self.launch();
        soon("redis to answer", async {
            while self.cli(&["PING"]) != "PONG" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// Changes an option for the next start.
    pub(crate) fn arguments_with(&mut self, option: &str, value: &str) {
        let at = self.arguments.iter().position(|word| word == option);
        value.clone_into(&mut self.arguments[at.unwrap() + 1]);
    }

    /// Starts it, and does not wait until it answers.
    pub(crate) fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let child = Command::new(self.program)
            .args(&self.arguments)
            .args(["--bind", "127.0.0.1", "--logfile", "log", "--dir"])
            .arg(self.dir())
            .current_dir(self.dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// Stops it in good order.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        self.child.take().unwrap().wait().unwrap();
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Holds it still: its connections stay, and nothing answers.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    /// What `redis-cli` answers; empty if it reached nobody.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(&self.entry)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits until `redis-cli` answers with `needle` somewhere.
    pub(crate) async fn says(&self, arguments: &[&str], needle: &str) {
        let what = format!("{needle:?} of {arguments:?}");
        soon(&what, async {
            while !self.cli(arguments).contains(needle) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("/bin/kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(status.unwrap().success());
    }

    fn dir(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }
}

#[expect(clippy::print_stderr, reason = "who looks for the fault needs the log")]
impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A process that was paused dies of this as well.
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            let dir = self.dir.take().map(TempDir::keep);
            eprintln!("{} on {} left its log in {dir:?}", self.program, self.port);
        }
    }
}

/// A Cluster of three masters.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Redis>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Self::node().await);
        }
        let addresses: Vec<_> = nodes.iter().map(Redis::address).collect();
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(&addresses)
            .args(["--cluster-replicas", "0", "--cluster-yes"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let cluster = Self { nodes };
        cluster.is_well().await;
        cluster
    }

    async fn node() -> Redis {
        let bus = lasting_port().to_string();
        let options = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1000",
            "--cluster-port",
            &bus,
        ];
        Redis::start(&options).await
    }

    /// A replica of the first master, ready to take its place.
    pub(crate) async fn add_replica(&self) -> Redis {
        let replica = Self::node().await;
        let first = &self.nodes[0];
        let bus = first.cli(&["CONFIG", "GET", "cluster-port"]);
        let bus = bus.lines().last().unwrap();
        let port = first.port().to_string();
        replica.cli(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]);
        let id = first.cli(&["CLUSTER", "MYID"]);
        replica.says(&["CLUSTER", "NODES"], &id).await;
        replica.says(&["CLUSTER", "REPLICATE", &id], "OK").await;
        first.says(&["INFO", "replication"], "state=online").await;
        for node in &self.nodes {
            // A node that has not heard of it does not vote for it.
            node.says(&["CLUSTER", "NODES"], &replica.address()).await;
            node.says(&["CLUSTER", "NODES"], &format!("slave {id}"))
                .await;
        }
        replica
    }

    /// Waits until each node finds the Cluster to be well.
    pub(crate) async fn is_well(&self) {
        for node in &self.nodes {
            node.says(&["CLUSTER", "INFO"], "cluster_state:ok").await;
        }
    }

    pub(crate) fn url(&self) -> String {
        let addresses: Vec<_> = self.nodes.iter().map(Redis::address).collect();
        format!("redis+cluster://{}", addresses.join(","))
    }
}

/// A master, its replica, and a Sentinel that puts the one in the other's place.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) master: Redis,
    pub(crate) replica: Redis,
    pub(crate) sentinel: Redis,
}

impl Watched {
    pub(crate) async fn start() -> Self {
        Self::run("", Vec::new()).await
    }

    /// With a Sentinel that asks for a password.
    pub(crate) async fn guarded(password: &str) -> Self {
        let entry = owned(&["--no-auth-warning", "-a", password]);
        Self::run(&format!("requirepass {password}\n"), entry).await
    }

    async fn run(more: &str, entry: Vec<String>) -> Self {
        let master = Redis::start(&[]).await;
        let port = master.port().to_string();
        let replica = Redis::start(&["--replicaof", "127.0.0.1", &port]).await;
        // What is written from then on reaches it.
        master.says(&["INFO", "replication"], "state=online").await;
        let port = lasting_port();
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("sentinel.conf");
        let text = format!(
            "port {port}\n\
             sentinel monitor mymaster 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds mymaster 500\n\
             sentinel failover-timeout mymaster 3000\n\
             {more}",
            master.port()
        );
        fs::write(&config, text).unwrap();
        let mut sentinel = Redis {
            arguments: vec![config.to_str().unwrap().to_owned()],
            dir: Some(dir),
            port,
            program: "redis-sentinel",
            entry,
            child: None,
        };
        sentinel.restart().await;
        sentinel
            .says(&["SENTINEL", "MASTER", "mymaster"], "num-slaves\n1")
            .await;
        Self {
            master,
            replica,
            sentinel,
        }
    }

    pub(crate) fn url(&self) -> String {
        // The first one is away, and does no harm.
        let (away, sentinel) = (lasting_port(), self.sentinel.address());
        format!("redis+sentinel://127.0.0.1:{away},{sentinel}/mymaster")
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
