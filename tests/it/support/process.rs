//! The real binary, as a person starts it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::clock::soon;

/// What a command that ended said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

fn command(arguments: &[&str], dir: &Path, environment: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bff"));
    command
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs `bff` in `dir` until it ends.
pub(crate) async fn run(
    arguments: &[&str],
    dir: &Path,
    environment: &BTreeMap<String, String>,
) -> Ended {
    let child = command(arguments, dir, environment).spawn().unwrap();
    let what = format!("bff {} to end", arguments.join(" "));
    let output = soon(&what, child.wait_with_output()).await.unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A `bff` that runs; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    said: watch::Receiver<Vec<String>>,
}

impl Process {
    /// Starts `bff` in `dir`.
    pub(crate) fn start(
        arguments: &[&str],
        dir: &Path,
        environment: &BTreeMap<String, String>,
    ) -> Self {
        let mut child = command(arguments, dir, environment).spawn().unwrap();
        let (lines, said) = watch::channel(Vec::new());
        tokio::spawn(collect(child.stdout.take().unwrap(), lines.clone()));
        tokio::spawn(collect(child.stderr.take().unwrap(), lines));
        Self { child, said }
    }

    /// The first line, of both outputs, with `needle`.
    pub(crate) async fn line(&mut self, needle: &str) -> String {
        let has = |lines: &Vec<String>| lines.iter().any(|line| line.contains(needle));
        // An error means that both outputs have ended.
        let found = soon(needle, self.said.wait_for(has)).await.is_ok();
        let lines = self.said.borrow().clone();
        assert!(found, "no {needle:?} in {lines:#?}");
        lines
            .into_iter()
            .find(|line| line.contains(needle))
            .unwrap()
    }

    /// The address behind `name=` in the line that says that `bff` serves.
    pub(crate) async fn listens(&mut self, name: &str) -> SocketAddr {
        let line = self.line(&format!("{name}=")).await;
        let (_, rest) = line.split_once(&format!("{name}=")).unwrap();
        let end = rest.find(' ').unwrap_or(rest.len());
        rest[..end].parse().unwrap()
    }

    /// Everything said so far.
    pub(crate) fn said(&self) -> String {
        self.said.borrow().join("\n")
    }

    /// Tells it to stop, as a service manager does.
    pub(crate) async fn terminate(&mut self) {
        self.signal("-TERM").await;
    }

    /// Sends it a signal, by the name that kill(1) knows.
    pub(crate) async fn signal(&mut self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        let kill = Command::new("/bin/kill").args([name, &id]).status();
        assert!(kill.await.unwrap().success());
    }

    /// The exit code, once it has ended.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        soon("the end of the process", self.child.wait())
            .await
            .unwrap()
            .code()
    }
}

async fn collect(output: impl AsyncRead + Unpin, lines: watch::Sender<Vec<String>>) {
    let mut reader = BufReader::new(output).lines();
    while let Ok(Some(line)) = reader.next_line().await {
        lines.send_modify(|lines| lines.push(line));
    }
}
