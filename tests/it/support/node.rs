//! One of several `bff serve` of the same house: a process that is killed, restarted and asked
//! again at the same address.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::call::{Call, HOST, home};
use super::clock::soon;
use super::process::{Ended, run};
use super::wire::{Reply, find};

/// How long a call may take: longer than a lease of a node that died, and its refresh.
const LONGEST: Duration = Duration::from_secs(45);

/// A process, its configuration and its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    dir: TempDir,
    program: PathBuf,
    environment: BTreeMap<String, String>,
    /// As many files as it may open, where that is not what the tests may.
    pub(crate) open_files: Option<u32>,
    child: Option<Child>,
}

impl Node {
    /// A node that does not run yet; `config` is told where it will listen: the public address,
    /// then the administration's.
    pub(crate) fn new(
        environment: BTreeMap<String, String>,
        config: impl FnOnce(SocketAddr, SocketAddr) -> String,
    ) -> Self {
        let (addr, admin) = (free_addr(), free_addr());
        let node = Self {
            addr,
            admin,
            dir: tempfile::tempdir().unwrap(),
            program: env!("CARGO_BIN_EXE_bff").into(),
            environment,
            open_files: None,
            child: None,
        };
        node.configure(&config(addr, admin));
        node
    }

    /// Writes another bff.toml.
    pub(crate) fn configure(&self, text: &str) {
        // In one step, so that nobody reads half of it.
        let (new, path) = (
            self.dir.path().join("new"),
            self.dir.path().join("bff.toml"),
        );
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// The configuration as it stands.
    pub(crate) fn config(&self) -> String {
        fs::read_to_string(self.dir.path().join("bff.toml")).unwrap()
    }

    /// Has another build of `bff` run here.
    pub(crate) fn runs(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// A variable of its environment, from the next start on.
    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// A file of its own, in its folder.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Starts the process, and does not wait.
    pub(crate) fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let limit = self.open_files.map(|most| format!("ulimit -n {most}; "));
        let child = Command::new("/bin/sh")
            .args([
                "-c",
                &format!("{}exec \"$0\" serve", limit.unwrap_or_default()),
            ])
            .arg(&self.program)
            .current_dir(self.dir.path())
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// Waits until it serves.
    pub(crate) async fn serves(&mut self) {
        soon("a node to listen", async {
            while TcpStream::connect(self.addr).await.is_err() {
                let ended = self.child.as_mut().unwrap().try_wait().unwrap();
                assert!(ended.is_none(), "it ended: {}", self.log());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Starts the process; returns once it serves.
    pub(crate) async fn start(&mut self) {
        self.launch();
        self.serves().await;
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// SIGKILL: as a crash or a power cut of this node alone.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// As a service manager does; returns once it has ended.
    pub(crate) async fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let id = child.id().to_string();
        let told = Command::new("/bin/kill").args(["-TERM", &id]).status();
        assert!(told.unwrap().success());
        soon("a node to stop", async {
            while child.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// Everything that it logged, over all its lives.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.dir.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Everything that it logged up to now. Its log is written by a thread of its own, in order, so that a
    /// request's line says that what came before it has been written.
    pub(crate) async fn log_up_to_now(&self) -> String {
        let mark = format!("/mark-{}", self.log().len());
        let call = Call::bare("GET", &mark).header("Host", HOST);
        drop(ask(self.addr, &call).await);
        soon("the log to be written", async {
            while !self.log().contains(&mark) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        self.log()
    }

    /// What `/readyz` answers.
    pub(crate) async fn ready(&self) -> Reply {
        self.administration("/readyz").await
    }

    /// Waits until `/readyz` says yes: at first the provider has not been looked at.
    pub(crate) async fn until_ready(&self) {
        soon("the node to be ready", async {
            while self.ready().await.status != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// What the administration listener answers to whoever asks. It may open a moment later than
    /// the public one: whoever finds it closed asks again.
    pub(crate) async fn administration(&self, path: &str) -> Reply {
        let call = Call::bare("GET", path).header("Host", "127.0.0.1");
        soon(path, async {
            loop {
                if let Some(reply) = ask(self.admin, &call).await {
                    return reply;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Runs another command of `bff` beside it, with its configuration and environment.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        run(arguments, self.dir.path(), &self.environment).await
    }

    /// Takes a file of its own away again.
    pub(crate) fn without(&self, name: &str) {
        fs::remove_file(self.dir.path().join(name)).unwrap();
    }

    /// How many files it has open, sockets among them.
    pub(crate) fn open_files(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.id()));
        open.unwrap().count()
    }

    /// How much memory it holds, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Node {
    #[expect(clippy::print_stderr, reason = "who reads a failure wants to see why")]
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(4000);
            let from = (from..log.len()).find(|at| log.is_char_boundary(*at));
            eprintln!(
                "the log of {}:\n{}",
                self.addr,
                &log[from.unwrap_or_default()..]
            );
        }
    }
}

/// The whole answer, on a connection of its own; `None` where none came: the node was killed, or
/// does not run.
pub(crate) async fn ask(addr: SocketAddr, call: &Call) -> Option<Reply> {
    let bytes = call.clone().header("Connection", "close").bytes();
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.ok()?;
        stream.set_nodelay(true).ok()?;
        stream.write_all(&bytes).await.ok()?;
        let mut raw = Vec::new();
        // What came before a reset is judged below.
        drop(stream.read_to_end(&mut raw).await);
        whole(raw)
    };
    let answer = timeout(LONGEST, exchange).await;
    answer.unwrap_or_else(|_| panic!("no answer of {addr} within {LONGEST:?}"))
}

/// A reply with its body of a known length; `None` for anything less.
fn whole(raw: Vec<u8>) -> Option<Reply> {
    let end = find(&raw, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&raw[..end]).into_owned();
    let mut lines = text.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut reply = Reply {
        url: home(),
        status,
        headers,
        body: raw[end..].to_vec(),
        raw,
        complete: true,
    };
    reply.complete = match reply.header("content-length") {
        Some(length) => length.parse() == Ok(reply.body.len()),
        None => reply.header("transfer-encoding").is_none() || reply.body.ends_with(b"0\r\n\r\n"),
    };
    reply.complete.then_some(reply)
}

/// A free address from below the ports that the system gives to outgoing connections, so that a
/// node that restarts finds its own again.
fn free_addr() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(53);
    loop {
        let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + u16::try_from(number % 12_000).unwrap();
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}
