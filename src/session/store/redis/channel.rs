//! What nodes tell each other: events, published by the scripts that make them true, and heartbeats,
//! which come back behind all events before them.
//!
//! A listener has one connection to every master, for an event is published on the master of its
//! session. The bus of a Cluster carries it to the other masters too, and may lose it on the way
//! without a sign; a connection of our own may not. So a heartbeat is published on every master, and
//! proves of each by the copy that the connection to it brought: then nothing that it told before is
//! still under way, nor lost.
//!
//! A message is lines, told together. `s` and an event, sealed; `w`, a master and a heartbeat, sealed. In
//! the clear, as the release before tells them: `e` and `c` with a number and a hash. Most heartbeats are
//! for none but their own node, which hears them on a channel of its own: a house of many nodes is no
//! louder for each. They wait in the same list as the events, so that they come behind them.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use futures_util::stream::{self, SelectAll};
use futures_util::{Stream, StreamExt as _};
use redis::aio::{PubSub, PubSubSink};
use redis::{Msg, RedisResult, Value};
use tokio::task::unconstrained;
use tokio::time::{sleep, timeout};

use super::link::Link;
use super::masters::{self, Master};
use super::names::{EVENTS, own_events, unhex};
use super::rows::reason_of;
use super::telling::{self, Telling};
use super::trouble::Trouble;
use crate::session::store::record_store::{Event, Listener, Server};
use crate::session::store::voice::Voice;

/// How often each connection is asked whether it still stands.
const PING_INTERVAL: Duration = Duration::from_millis(250);
/// How long it may take to answer.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// How many pings there are between two looks at who the masters are.
const PINGS_A_LOOK: u32 = 4;
/// How many messages are remembered, to take each but once.
const REMEMBERED: usize = 4096;

/// The channel, as a node speaks and hears there.
#[derive(Debug)]
pub(super) struct Channel {
    link: Arc<Link>,
    voice: Voice,
    /// Whether it hears what it says to itself alone. A user may lack the right, and one may not listen.
    hears_itself: AtomicBool,
}

impl Channel {
    pub(super) const fn new(link: Arc<Link>, voice: Voice) -> Self {
        Self {
            link,
            voice,
            hears_itself: AtomicBool::new(false),
        }
    }

    /// What a step tells of an event.
    pub(super) fn telling(&self, event: Event) -> Telling {
        let plain = || match event {
            Event::Ended(hash, reason) => format!("e {} {}", reason as u8, hash.to_hex()),
            Event::Changed(hash, version) => format!("c {version} {}", hash.to_hex()),
        };
        Telling {
            sealed: format!("s {}", self.voice.event(event)),
            plain: self.voice.speaks_plainly().then(plain),
        }
    }

    /// Sends a heartbeat round, to all nodes or where this one alone hears it.
    pub(super) async fn announce(&self, heartbeat: &str, to_all: bool) -> Result<(), Trouble> {
        let masters = self.link.known_masters().await?;
        let to_all = to_all || !self.hears_itself.load(Ordering::Relaxed);
        let copies = masters.iter().map(async |master| {
            let address = &master.address;
            let sealed = self.voice.heartbeat(&address.to_string(), heartbeat);
            let line = if to_all {
                format!("w {address} {sealed}")
            } else {
                format!("o {} w {address} {sealed}", self.voice.ear())
            };
            let call = self.link.scripts.say.here().saying(&master.told, line);
            let waiting = self.link.call_master(address, call).await?;
            telling::said(&self.link, master.told.clone(), waiting);
            Ok(())
        });
        let sent = try_join_all(copies).await.map(drop);
        if sent.is_err() {
            // It may be a master no more.
            self.link.forget_masters();
        }
        sent
    }

    /// Hands on what comes, until the channel breaks.
    pub(super) async fn listen(&self, listener: &dyn Listener) -> Trouble {
        let link = &*self.link;
        let opened = timeout(link.timeout(), self.open()).await;
        let (masters, connections) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(trouble)) => return trouble,
            Err(_) => return Trouble::Slow(link.place(), link.timeout()),
        };
        listener.subscribed();
        let mut sinks = Vec::new();
        let mut messages = SelectAll::new();
        for (number, connection) in connections.into_iter().enumerate() {
            let (sink, stream) = connection.split();
            sinks.push(sink);
            messages.push(until_cut(number, stream));
        }
        let names = masters.iter().map(|master| master.address.to_string());
        let mut hearing = Hearing {
            listener,
            voice: &self.voice,
            names: names.collect(),
            told: Told::default(),
        };
        // All that has come is taken before more is read: what waits for us has no bound of its own.
        let hear = unconstrained(async {
            while let Some(Some((number, message))) = messages.next().await {
                hearing.take(number, message.get_payload_bytes());
            }
            Trouble::Cut
        });
        tokio::select! {
            // What has come is told before anything else.
            biased;
            trouble = hear => trouble,
            trouble = watch(link, &masters, &mut sinks) => trouble,
        }
    }

    async fn open(&self) -> Result<(Arc<[Master]>, Vec<PubSub>), Trouble> {
        let masters = self.link.masters().await?;
        let own = own_events(self.voice.ear());
        let connections = masters.iter().map(async |master| {
            let mut connection = self
                .link
                .client(&master.address)?
                .get_async_pubsub()
                .await?;
            connection.subscribe(EVENTS).await?;
            let hears_itself = match connection.subscribe(&own).await {
                Ok(()) => true,
                Err(error) => match Trouble::from(error) {
                    Trouble::Permission(_) => false,
                    trouble => return Err(trouble),
                },
            };
            Ok::<_, Trouble>((connection, hears_itself))
        });
        let opened = try_join_all(connections).await?;
        let hears_itself = opened.iter().all(|(_, hears_itself)| *hears_itself);
        self.hears_itself.store(hears_itself, Ordering::Relaxed);
        let connections = opened.into_iter().map(|(connection, _)| connection);
        Ok((masters, connections.collect()))
    }
}

type Messages = stream::BoxStream<'static, Option<(usize, Msg)>>;

/// The messages of a connection, each with its number; and `None` where it ends.
fn until_cut(number: usize, messages: impl Stream<Item = Msg> + Send + 'static) -> Messages {
    let end = stream::once(std::future::ready(None));
    let messages = messages.map(move |message| Some((number, message)));
    messages.chain(end).boxed()
}

/// Asks the connections whether they stand, and now and then who the masters are.
async fn watch(link: &Link, masters: &[Master], sinks: &mut [PubSubSink]) -> Trouble {
    let mut pings = 0_u32;
    loop {
        sleep(PING_INTERVAL).await;
        let asked = sinks
            .iter_mut()
            .map(async |sink| -> RedisResult<Value> { sink.ping().await });
        match timeout(PING_TIMEOUT, join_all(asked)).await {
            Ok(answers) if answers.iter().all(Result::is_ok) => {}
            Ok(_) => return Trouble::Cut,
            Err(_) => return Trouble::Slow(link.place(), PING_TIMEOUT),
        }
        pings = pings.wrapping_add(1);
        if pings.is_multiple_of(PINGS_A_LOOK)
            // Whoever cannot be asked is no news.
            && let Ok(Ok(now)) = timeout(PING_TIMEOUT, link.masters()).await
            && !masters::are_the_same(&now, masters)
        {
            link.leave().await;
            return Trouble::OtherMasters;
        }
    }
}

struct Hearing<'a> {
    listener: &'a dyn Listener,
    voice: &'a Voice,
    /// The names of the masters, by the number of their connection.
    names: Vec<String>,
    told: Told,
}

impl Hearing<'_> {
    fn take(&mut self, number: usize, payload: &[u8]) {
        let Ok(text) = std::str::from_utf8(payload) else {
            return;
        };
        // Each comes once from its master, and once by the bus to each other master.
        let is_new = self.names.len() == 1 || self.told.is_new(payload);
        for line in text.split('\n') {
            match line.split_once(' ') {
                Some(("w", copy)) => self.take_copy(number, copy),
                Some((kind, said)) if is_new => self.take_event(kind, said),
                _ => {}
            }
        }
    }

    fn take_event(&self, kind: &str, said: &str) {
        if kind == "s" {
            if let Some(event) = self.voice.read_event(said) {
                self.listener.heard(event);
            }
        } else if let Some(event) = read_event(kind, said) {
            self.listener.hinted(event);
        }
    }

    fn take_copy(&self, number: usize, copy: &str) {
        let Some((master, said)) = copy.split_once(' ') else {
            return;
        };
        // A copy that came by way of the bus says nothing about what its master told.
        if self.names.get(number).is_none_or(|name| name != master) {
            return;
        }
        if let Some(heartbeat) = self.voice.read_heartbeat(master, said) {
            let of = self.names.len();
            self.listener.echoed(&heartbeat, Server { number, of });
        }
    }
}

/// The messages heard last, by a hash that nobody else can make.
#[derive(Default)]
struct Told {
    hasher: RandomState,
    messages: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Told {
    fn is_new(&mut self, message: &[u8]) -> bool {
        let message = self.hasher.hash_one(message);
        if !self.messages.insert(message) {
            return false;
        }
        self.order.push_back(message);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.messages.remove(&oldest);
        }
        true
    }
}

fn read_event(kind: &str, rest: &str) -> Option<Event> {
    let (value, hash) = rest.split_once(' ')?;
    let hash = unhex(hash.as_bytes())?;
    match kind {
        "e" => Some(Event::Ended(hash, reason_of(value.as_bytes()))),
        "c" => Some(Event::Changed(hash, value.parse().ok()?)),
        _ => None,
    }
}
