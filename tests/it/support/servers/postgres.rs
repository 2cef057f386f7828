//! A PostgreSQL server with a data directory of its own.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

use super::missing;
use crate::support::ports::free_port;

const PASSWORD: &str = "correct-horse";

/// The server; ended when dropped.
#[derive(Debug)]
pub(crate) struct Postgres {
    programs: PathBuf,
    dir: TempDir,
    port: u16,
    running: Option<Child>,
    databases: AtomicUsize,
}

impl Postgres {
    /// A new server that answers; `None`, and a word about it, where PostgreSQL is not installed.
    pub(crate) async fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            missing("PostgreSQL");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let mut server = Self {
            programs,
            dir,
            port: free_port(),
            running: None,
            databases: AtomicUsize::new(0),
        };
        server.create();
        // Another process may have taken the port meanwhile.
        for _ in 0..3 {
            server.launch();
            if server.answers().await {
                return Some(server);
            }
            server.port = free_port();
        }
        panic!("{}", server.log());
    }

    /// Has it speak TLS with a certificate for `localhost` alone; the PEM file of its root.
    pub(crate) fn certify(&self) -> PathBuf {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (
            self.data().join("server.crt"),
            self.data().join("server.key"),
        );
        fs::write(&certificate, pair.cert.pem()).unwrap();
        fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        for file in [&certificate, &key] {
            if let Some((user, group)) = account() {
                chown(file, Some(user), Some(group)).unwrap();
            }
        }
        fs::write(self.data().join("postgresql.auto.conf"), "ssl = on\n").unwrap();
        certificate
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database that is there.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_as("postgres", PASSWORD, database)
    }

    pub(crate) fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        let port = self.port;
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// The URL of a fresh, empty database.
    pub(crate) async fn fresh_database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.run("postgres", &format!("CREATE DATABASE {name}"))
            .await;
        self.url(&name)
    }

    /// Runs statements as the superuser.
    pub(crate) async fn run(&self, database: &str, statements: &str) {
        let mut connection = self.connect(database).await.unwrap();
        let statements = sqlx::AssertSqlSafe(statements.to_owned());
        let ran = sqlx::raw_sql(statements).execute(&mut connection).await;
        ran.unwrap();
        connection.close().await.unwrap();
    }

    /// Everything that the database at `url` holds, as statements.
    pub(crate) fn dump(&self, url: &str) -> String {
        let dumped = self
            .program("pg_dump")
            .args(["--column-inserts", "--no-owner", "--no-privileges", url])
            .output()
            .unwrap();
        assert!(dumped.status.success(), "{dumped:?}");
        String::from_utf8(dumped.stdout).unwrap()
    }

    /// Stops it in order: connections are cut, and what was written is kept.
    pub(crate) fn stop(&mut self) {
        self.end("-INT");
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.end("-KILL");
    }

    /// Starts it again where it was.
    pub(crate) async fn restart(&mut self) {
        // After a kill, the server waits for the last of its children to go.
        for _ in 0..50 {
            self.launch();
            if self.answers().await {
                return;
            }
        }
        panic!("{}", self.log());
    }

    fn create(&self) {
        let owner = account();
        if let Some((user, group)) = owner {
            chown(self.dir.path(), Some(user), Some(group)).unwrap();
        }
        let password = self.dir.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        let created = self
            .program("initdb")
            .args(["--no-sync", "--no-instructions", "--encoding=UTF8", "-U"])
            .args(["postgres", "--auth=password", "--locale=C.UTF-8"])
            .arg("-D")
            .arg(self.data())
            .arg("--pwfile")
            .arg(&password)
            .output()
            .unwrap();
        assert!(created.status.success(), "{created:?}");
    }

    fn launch(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let settings = [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "max_connections=60",
            "shared_buffers=16MB",
        ];
        let mut program = self.program("postgres");
        program.arg("-D").arg(self.data());
        program.args(["-p", &self.port.to_string(), "-k"]);
        program.arg(self.dir.path());
        for setting in settings {
            program.args(["-c", setting]);
        }
        program.stdout(Stdio::null()).stderr(log);
        self.running = Some(program.spawn().unwrap());
    }

    /// Whether it took connections before it ended.
    async fn answers(&mut self) -> bool {
        // On a busy machine a server takes its time.
        for _ in 0..3000 {
            if self.is_itself().await {
                return true;
            }
            if self.running.as_mut().unwrap().try_wait().unwrap().is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("PostgreSQL does not answer: {}", self.log());
    }

    /// Whether it answers, and no other test's server on the same port.
    async fn is_itself(&self) -> bool {
        let Ok(mut connection) = self.connect("postgres").await else {
            return false;
        };
        let place = sqlx::query_scalar("SELECT current_setting('data_directory')");
        let place: Result<String, _> = place.fetch_one(&mut connection).await;
        place.is_ok_and(|place| Path::new(&place) == self.data())
    }

    async fn connect(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect(&self.url(database)).await
    }

    fn end(&mut self, signal: &str) {
        let Some(mut server) = self.running.take() else {
            return;
        };
        let id = server.id().to_string();
        let signalled = Command::new("/bin/kill").args([signal, &id]).status();
        assert!(signalled.unwrap().success());
        server.wait().unwrap();
    }

    /// A program of PostgreSQL's, as one whom it serves: it refuses root.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(self.dir.path()).env_clear();
        if let Some((user, group)) = account() {
            command.uid(user).gid(group);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, and its shared memory with it.
        self.end("-QUIT");
    }
}

/// Where Debian and others put the programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok();
    let mut folders: Vec<PathBuf> = versions
        .into_iter()
        .flatten()
        .map(|version| version.unwrap().path().join("bin"))
        .chain(["/usr/local/bin".into(), "/usr/bin".into()])
        .collect();
    folders.retain(|folder| folder.join("initdb").exists() && folder.join("postgres").exists());
    folders.into_iter().next()
}

/// The user and group that the server runs as, if we are root.
fn account() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let accounts = fs::read_to_string(Path::new("/etc/passwd")).unwrap();
    let fields: Vec<&str> = accounts
        .lines()
        .find(|line| line.starts_with("postgres:"))?
        .split(':')
        .collect();
    Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
}
