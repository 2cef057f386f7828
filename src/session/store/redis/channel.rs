//! What nodes tell each other: events, published by the scripts that make them true, and heartbeats,
//! which come back behind all events before them.
//!
//! A listener has one connection to every master, for an event is published on the master of its
//! session. The bus of a Cluster carries it to the other masters too, and may lose it on the way
//! without a sign; a connection of our own may not. So a heartbeat is published on every master, and
//! proves of each by the copy that the connection to it brought: then nothing that it told before is
//! still under way, nor lost.
//!
//! `s` and an event, sealed; `w`, a master and a heartbeat, sealed. In the clear, as the release before
//! tells them: `e` and `c` with a number and a hash.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use futures_util::stream::{self, SelectAll};
use futures_util::{Stream, StreamExt as _};
use redis::aio::{PubSub, PubSubSink};
use redis::{Msg, RedisResult, Value};
use tokio::task::unconstrained;
use tokio::time::{sleep, timeout};

use super::link::Link;
use super::names::{EVENTS, unhex};
use super::rows::reason_of;
use super::trouble::Trouble;
use super::url::Address;
use crate::session::store::record_store::{Event, Listener, Server};
use crate::session::store::voice::Voice;

/// How often each connection is asked whether it still stands.
const PING_INTERVAL: Duration = Duration::from_millis(250);
/// How long it may take to answer.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// How many pings there are between two looks at who the masters are.
const PINGS_A_LOOK: u32 = 4;
/// How many events are remembered, to tell each but once.
const REMEMBERED: usize = 4096;

/// What is told of an event.
pub(super) fn tellings(voice: &Voice, event: Event) -> Vec<String> {
    let mut told = vec![format!("s {}", voice.event(event))];
    if voice.speaks_plainly() {
        told.push(match event {
            Event::Ended(hash, reason) => format!("e {} {}", reason as u8, hash.to_hex()),
            Event::Changed(hash, version) => format!("c {version} {}", hash.to_hex()),
        });
    }
    told
}

/// Sends a heartbeat round.
pub(super) async fn announce(link: &Link, voice: &Voice, heartbeat: &str) -> Result<(), Trouble> {
    let masters = link.known_masters().await?;
    let copies = masters.iter().map(async |master| {
        let mut publish = redis::cmd("PUBLISH");
        let sealed = voice.heartbeat(&master.to_string(), heartbeat);
        publish.arg(EVENTS).arg(format!("w {master} {sealed}"));
        link.query_master::<Value>(master, &publish).await
    });
    let sent = try_join_all(copies).await.map(drop);
    if sent.is_err() {
        // It may be a master no more.
        link.forget_masters();
    }
    sent
}

/// Hands on what comes, until the channel breaks.
pub(super) async fn listen(link: &Link, voice: &Voice, listener: &dyn Listener) -> Trouble {
    let opened = timeout(link.timeout(), open(link)).await;
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
    let mut hearing = Hearing {
        listener,
        voice,
        names: masters.iter().map(Address::to_string).collect(),
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

async fn open(link: &Link) -> Result<(Arc<[Address]>, Vec<PubSub>), Trouble> {
    let masters = link.masters().await?;
    let connections = masters.iter().map(async |master| {
        let mut connection = link.client(master)?.get_async_pubsub().await?;
        connection.subscribe(EVENTS).await?;
        Ok::<_, Trouble>(connection)
    });
    let connections = try_join_all(connections).await?;
    Ok((masters, connections))
}

type Messages = stream::BoxStream<'static, Option<(usize, Msg)>>;

/// The messages of a connection, each with its number; and `None` where it ends.
fn until_cut(number: usize, messages: impl Stream<Item = Msg> + Send + 'static) -> Messages {
    let end = stream::once(std::future::ready(None));
    let messages = messages.map(move |message| Some((number, message)));
    messages.chain(end).boxed()
}

/// Asks the connections whether they stand, and now and then who the masters are.
async fn watch(link: &Link, masters: &[Address], sinks: &mut [PubSubSink]) -> Trouble {
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
            && *now != *masters
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
        let text = std::str::from_utf8(payload).ok();
        match text.and_then(|text| text.split_once(' ')) {
            Some(("w", copy)) => self.take_copy(number, copy),
            Some(("s", sealed)) => {
                // Each comes once from its master, and once by the bus to each other master.
                if let Some(event) = self.voice.read_event(sealed)
                    && (self.names.len() == 1 || self.told.is_new(sealed))
                {
                    self.listener.heard(event);
                }
            }
            Some((kind, rest)) => {
                if let Some(event) = read_event(kind, rest) {
                    self.listener.hinted(event);
                }
            }
            None => {}
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

/// The events told last.
#[derive(Default)]
struct Told {
    events: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Told {
    fn is_new(&mut self, event: &str) -> bool {
        let event: Arc<str> = event.into();
        if !self.events.insert(Arc::clone(&event)) {
            return false;
        }
        self.order.push_back(event);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.events.remove(&oldest);
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
