//! The store in a file: the contract, restarts, and what may be wrong with a file.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bff::session::store::record_store::{Insertion, Lookup, RecordStore, Rows};
use bff::session::store::sql::sqlite::SqliteStore;
use bff::session::store::sql::{Migrations, SqlSettings};
use bff::web::ending::EndReason;
use bff::web::registration::Registration;
use bff::web::site_id::SiteId;

use super::contract::{self, Nodes, hash, now, row, row_with, until};
use super::{taken, unusable};

const SETTINGS: SqlSettings = SqlSettings {
    timeout: Duration::from_secs(5),
    migrations: Migrations::Run,
};

fn store(path: &Path) -> SqliteStore {
    SqliteStore::new(path, SETTINGS)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let files = std::sync::atomic::AtomicUsize::new(0);
    contract::holds(async || {
        let number = files.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let one: Arc<dyn RecordStore> = Arc::new(store(&dir.path().join(number.to_string())));
        Nodes {
            other: one.clone(),
            one,
        }
    })
    .await;
}

#[tokio::test]
async fn sessions_and_ends_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.db");
    let first = store(&path);
    first.insert(&row(1), None, now()).await.unwrap();
    first.insert(&row(2), None, now()).await.unwrap();
    first
        .end(&hash(2), EndReason::Revoked, now())
        .await
        .unwrap();
    drop(first);

    let second = store(&path);
    assert_eq!(second.load(&hash(1)).await.unwrap(), Lookup::Row(row(1)));
    assert_eq!(
        second.load(&hash(2)).await.unwrap(),
        Lookup::Ended(EndReason::Revoked)
    );
}

/// G5: what is in the clear there is the owner's alone.
#[tokio::test]
async fn only_its_owner_reads_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("sessions.db"));
    store.insert(&row(1), None, now()).await.unwrap();
    let mut files = 0;
    for file in fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", file.path());
        files += 1;
    }
    assert!(files >= 2, "the log stands beside the file");
}

#[tokio::test]
async fn a_second_bff_on_the_file_waits_for_the_first_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.db");
    let (first, second) = (store(&path), store(&path));
    first.insert(&row(1), None, now()).await.unwrap();
    let sentence = taken(second.prepare().await);
    assert!(sentence.contains("in use by another bff"), "{sentence}");
    assert!(sentence.contains("sessions.db"), "{sentence}");
    taken(second.insert(&row(2), None, now()).await);

    first.insert(&row(3), None, now()).await.unwrap();
    drop(first);
    until("the file to be free", || async {
        second.check().await.is_ok()
    })
    .await;
    assert_eq!(second.load(&hash(3)).await.unwrap(), Lookup::Row(row(3)));
}

/// What was answered is there after the process was killed, and its lock is not.
#[tokio::test]
async fn a_killed_process_loses_nothing_and_leaves_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.db");
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "stores::sqlite::writes_until_it_is_killed"])
        .args(["--ignored", "--nocapture"])
        .env("BFF_TEST_SQLITE", &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let acknowledged = |line: &String| line.strip_prefix("stored ")?.parse::<usize>().ok();
    let mut stored = lines
        .map(Result::unwrap)
        .filter_map(|line| acknowledged(&line));
    let seen = stored.find(|number| *number >= 200).unwrap();

    let store = store(&path);
    taken(store.prepare().await);
    writer.kill().unwrap();
    writer.wait().unwrap();
    let last = stored.last().unwrap_or(seen);
    for number in 0..=last {
        let found = store.load(&hash(number)).await.unwrap();
        let expected = match number % 10 {
            0 => Lookup::Ended(EndReason::Logout),
            _ => Lookup::Row(row(number)),
        };
        assert_eq!(found, expected, "{number} of {last}");
    }
}

/// The process that the test above starts and kills.
#[tokio::test]
#[ignore = "only as another test's process"]
#[expect(clippy::disallowed_methods, reason = "how the parent says where")]
async fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os("BFF_TEST_SQLITE") else {
        return;
    };
    let store = store(Path::new(&path));
    for number in 0..1_000_000 {
        store.insert(&row(number), None, now()).await.unwrap();
        if number % 10 == 0 {
            let ended = store.end(&hash(number), EndReason::Logout, now()).await;
            ended.unwrap();
        }
        println!("stored {number}");
    }
}

#[tokio::test]
async fn a_file_that_will_not_do_is_named_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let refused = async |path: &Path| unusable(store(path).prepare().await);

    let path = dir.path().join("not-a-database");
    fs::write(&path, "quite another thing\n".repeat(100)).unwrap();
    let sentence = refused(&path).await;
    assert!(sentence.contains("no SQLite database"), "{sentence}");
    assert!(sentence.contains("not-a-database"), "{sentence}");

    let sentence = refused(&dir.path().join("no/folder")).await;
    assert!(sentence.contains("create its folder"), "{sentence}");

    let path = dir.path().join("newer.db");
    drop(prepared(&path).await);
    tamper(&path, "PRAGMA user_version = 99").await;
    let sentence = refused(&path).await;
    assert!(
        sentence.contains("version 99, of a newer bff"),
        "{sentence}"
    );

    // Damaged in the middle: found when it is read.
    let path = dir.path().join("damaged.db");
    let whole = prepared(&path).await;
    for number in 0..200 {
        whole.insert(&row(number), None, now()).await.unwrap();
    }
    drop(whole);
    tamper(&path, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let damaged = store(&path);
    let sentence = unusable(damaged.of_subject("alice", &Rows::all()).await);
    assert!(sentence.contains("damaged"), "{sentence}");
}

#[tokio::test]
async fn a_schema_is_left_alone_where_migrations_are_not_to_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.db");
    let checking = SqliteStore::new(
        &path,
        SqlSettings {
            migrations: Migrations::Check,
            ..SETTINGS
        },
    );
    let sentence = unusable(checking.prepare().await);
    assert!(sentence.contains("run `bff migrate`"), "{sentence}");
    drop(prepared(&path).await);
    // Heals without a restart.
    until("the schema to be seen", || async {
        checking.check().await.is_ok()
    })
    .await;
}

/// §7: a file from before sites gets what it lacks, and the session in it is found: it is the main site's,
/// and names no registration.
#[tokio::test]
async fn a_file_from_before_sites_gets_their_columns() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.db");
    let first = prepared(&path).await;
    first.insert(&row(1), None, now()).await.unwrap();
    drop(first);
    for statement in [
        "ALTER TABLE bff_sessions DROP COLUMN site",
        "ALTER TABLE bff_sessions DROP COLUMN issuer",
        "ALTER TABLE bff_sessions DROP COLUMN client_id",
    ] {
        tamper(&path, statement).await;
    }
    let checking = SqlSettings {
        migrations: Migrations::Check,
        ..SETTINGS
    };
    let sentence = unusable(SqliteStore::new(&path, checking).prepare().await);
    assert!(sentence.contains("run `bff migrate`"), "{sentence}");
    let found = row_with(1, |row| row.facts.registration = Registration::unnamed());
    let store = store(&path);
    until("the file to be brought up to date", || async {
        store.check().await.is_ok()
    })
    .await;
    assert_eq!(store.load(&hash(1)).await.unwrap(), Lookup::Row(found));
    store.insert(&row(2), None, now()).await.unwrap();
    assert_eq!(store.load(&hash(2)).await.unwrap(), Lookup::Row(row(2)));
}

/// A full disk costs nobody the session, and heals when there is room.
#[tokio::test]
async fn a_full_disk_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let store = store(&disk.dir.path().join("sessions.db"));
    let mut big = row(0);
    big.sealed = vec![7; 20_000].into();
    let mut stored = 0;
    let error = loop {
        big.facts.hash = hash(stored);
        match store.insert(&big, None, now()).await {
            Ok(_) => stored += 1,
            Err(error) => break Err::<Insertion, _>(error),
        }
        assert!(stored < 1000, "the disk was to be small");
    };
    assert!(stored > 10);
    let sentence = unusable(error);
    assert!(sentence.contains("no room is left"), "{sentence}");
    for number in 0..stored {
        big.facts.hash = hash(number);
        let found = store.load(&big.hash).await.unwrap();
        assert_eq!(found, Lookup::Row(big.clone()));
    }
    disk.grow();
    big.facts.hash = hash(stored);
    store.insert(&big, None, now()).await.unwrap();
    store.check().await.unwrap();
    assert_eq!(store.count().await.unwrap(), stored as u64 + 1);
}

async fn prepared(path: &Path) -> SqliteStore {
    let store = store(path);
    store.prepare().await.unwrap();
    store
}

/// A file with sessions of alice at three sites. No key opens their records, and what is in the clear is
/// enough to see and end them.
pub(crate) async fn file_of_three_sites(path: &Path) {
    let store = prepared(path).await;
    let sites = ["", "shop", "shop/acme", "shop/acme"];
    for (number, site) in sites.into_iter().enumerate() {
        let row = row_with(number, |row| row.facts.site = SiteId::new(site));
        store.insert(&row, None, now()).await.unwrap();
    }
}

/// Changes a file behind the store's back.
async fn tamper(path: &Path, statement: &'static str) {
    use sqlx::{ConnectOptions as _, Connection as _};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.unwrap();
    let tampered = sqlx::raw_sql(statement).execute(&mut connection).await;
    tampered.unwrap();
    connection.close().await.unwrap();
}

/// A disk of two mebibytes, where we may mount one.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    #[expect(clippy::print_stderr, reason = "the one who runs the tests is told")]
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=2m", "bff-test"]);
        let mounted = mount.arg(dir.path()).output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            eprintln!("SKIPPED: only root may mount a small disk");
            return None;
        }
        Some(Self { dir })
    }

    fn grow(&self) {
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,size=32m"]).arg(self.dir.path());
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .status();
        assert!(unmounted.unwrap().success());
    }
}
