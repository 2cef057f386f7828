//! Who hears what a store tells and does nothing about it, and who says something there: by the wire, so
//! that nothing but the store itself is measured.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{Outcome, one_thread};

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Connections that hear.
pub(super) struct Ears(Arc<Heard>);

/// What the first ear heard; each heard the same.
#[derive(Default)]
struct Heard {
    messages: AtomicU64,
    octets: AtomicU64,
}

impl Ears {
    /// So many, each to all servers of the store, on a thread of their own for as long as the process runs.
    pub(super) fn open(kind: &str, url: &str, count: usize) -> Fallible<Self> {
        let heard = Arc::new(Heard::default());
        let wire = Wire::of(kind);
        let ports = ports(url)?;
        let (opened, all_opened) = std::sync::mpsc::channel();
        let first = Arc::clone(&heard);
        thread::spawn(move || -> Outcome {
            one_thread()?.block_on(async {
                let mut hearing = tokio::task::JoinSet::new();
                for number in 0..count {
                    for port in &ports {
                        let socket = wire.connect(*port, &wire.listen()).await?;
                        let heard = (number == 0).then(|| Arc::clone(&first));
                        hearing.spawn(hear(socket, wire, heard));
                    }
                }
                opened.send(())?;
                hearing.join_all().await;
                Ok(())
            })
        });
        all_opened.recv()?;
        // The last has been answered by then.
        thread::sleep(Duration::from_millis(500));
        Ok(Self(heard))
    }

    /// Messages and octets so far.
    pub(super) fn heard(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.0.messages), read(&self.0.octets))
    }
}

async fn hear(mut socket: TcpStream, wire: Wire, heard: Option<Arc<Heard>>) {
    let mut some = vec![0; 256 * 1024];
    while let Ok(read @ 1..) = socket.read(&mut some).await {
        let (Some(heard), Some(read)) = (&heard, some.get(..read)) else {
            continue;
        };
        let mark = wire.mark();
        let messages = read.windows(mark.len()).filter(|some| *some == mark);
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let messages = count(messages.count());
        heard.messages.fetch_add(messages, Ordering::Relaxed);
        heard.octets.fetch_add(count(read.len()), Ordering::Relaxed);
    }
}

/// Says `rate` messages a second of so many octets each, to the first server; how many it said.
pub(super) fn say(
    kind: &str,
    url: &str,
    octets: usize,
    rate: u32,
    span: Duration,
) -> Fallible<u64> {
    let wire = Wire::of(kind);
    let port = *ports(url)?.first().ok_or("no server")?;
    one_thread()?.block_on(async {
        let socket = wire.connect(port, &[]).await?;
        let (answers, mut mouth) = socket.into_split();
        tokio::spawn(async move {
            let mut answers = answers;
            let mut some = vec![0; 64 * 1024];
            while let Ok(1..) = answers.read(&mut some).await {}
        });
        let message = wire.say(&"x".repeat(octets));
        let mut said = 0;
        let mut beat = interval(super::beat(rate));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = Instant::now();
        while began.elapsed() < span {
            beat.tick().await;
            let due = began.elapsed().as_micros() * u128::from(rate) / 1_000_000;
            while said < due {
                // One after the other, as many nodes would.
                mouth.write_all(&message).await?;
                said += 1;
            }
        }
        Ok(u64::try_from(said)?)
    })
}

/// How a store is spoken to.
#[derive(Clone, Copy)]
enum Wire {
    Redis,
    Postgres,
}

impl Wire {
    fn of(kind: &str) -> Self {
        match kind {
            "postgres" => Self::Postgres,
            _ => Self::Redis,
        }
    }

    async fn connect(self, port: u16, then: &[u8]) -> Fallible<TcpStream> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        socket.set_nodelay(true)?;
        let mut words = Vec::new();
        if let Self::Postgres = self {
            let startup = b"\0\x03\0\0user\0bff\0database\0bff\0\0";
            words.extend(length(startup.len()));
            words.extend(startup);
        }
        words.extend(then);
        socket.write_all(&words).await?;
        Ok(socket)
    }

    fn listen(self) -> Vec<u8> {
        match self {
            Self::Redis => b"SUBSCRIBE bff:events\r\n".to_vec(),
            Self::Postgres => query("LISTEN bff_events"),
        }
    }

    fn say(self, text: &str) -> Vec<u8> {
        match self {
            Self::Redis => format!(
                "*3\r\n$7\r\nPUBLISH\r\n$10\r\nbff:events\r\n${}\r\n{text}\r\n",
                text.len()
            )
            .into_bytes(),
            Self::Postgres => query(&format!(
                "SELECT pg_notify('bff_events', '{text}' || random())"
            )),
        }
    }

    /// What stands in each message.
    const fn mark(self) -> &'static [u8] {
        match self {
            Self::Redis => b"\nmessage\r\n",
            Self::Postgres => b"bff_events\0",
        }
    }
}

fn query(text: &str) -> Vec<u8> {
    [&b"Q"[..], &length(text.len() + 1), text.as_bytes(), b"\0"].concat()
}

/// A length that counts itself, as PostgreSQL has it.
fn length(of: usize) -> [u8; 4] {
    u32::try_from(of + 4).unwrap_or(u32::MAX).to_be_bytes()
}

/// The ports in the URL of a store.
fn ports(url: &str) -> Fallible<Vec<u16>> {
    let (_, servers) = url
        .split_once("127.0.0.1")
        .ok_or("no server of this machine")?;
    servers
        .split(',')
        .map(|server| {
            let (_, port) = server.rsplit_once(':').ok_or("no port")?;
            let digits = port.split('/').next().unwrap_or_default();
            Ok(digits.parse()?)
        })
        .collect()
}
