//! What `benches/fleet.sh` has made of a fleet: a store full of sessions, changes at a chosen rate, those
//! who hear of them, and what that costs each process.

mod cost;
mod ears;
mod play;

use std::sync::Arc;
use std::time::Duration;

use bff::clock::SystemRandomness;
use bff::secret::SessionKey;
use bff::session::seal::Keys;
use bff::session::store::SessionStore;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use self::cost::Cost;
use self::ears::Ears;
use self::play::Play;
use crate::sessions::session_of;
use crate::stores::{self, AT_ONCE};
use crate::{Outcome, one_thread, tell};

type Store = Arc<dyn SessionStore>;
type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Puts `count` sessions into a store, sealed as the nodes of the fleet seal.
pub(crate) fn fill(kind: &str, url: &str, count: &str) -> Outcome {
    let count: usize = count.parse()?;
    let runtime = one_thread()?;
    let store = stores::open(kind, url, keys()?, &runtime)?;
    let sessions = stores::sessions(&store);
    runtime.block_on(async {
        stream::iter(0..count)
            .map(async |at| {
                let session = session_of(&format!("user-{at}"), 2048)?;
                sessions.admit(&sessions.prepare(session)).await?;
                Outcome::Ok(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        tell(count);
        Ok(())
    })
}

/// Makes sessions begin, be used, get other tokens and end, as the nodes of a fleet do.
pub(crate) fn play(kind: &str, url: &str, words: &[&str]) -> Outcome {
    let run = Run::read(words)?;
    let runtime = one_thread()?;
    let store = stores::open(kind, url, keys()?, &runtime)?;
    let mut play = runtime.block_on(Play::prepare(store))?;
    run.measure(kind, url, || runtime.block_on(play.run(run.rate, run.span)))
}

/// Says messages of `octets` on the channel, with no session behind them: what handing them on costs the
/// store.
pub(crate) fn say(kind: &str, url: &str, octets: &str, words: &[&str]) -> Outcome {
    let run = Run::read(words)?;
    let octets: usize = octets.parse()?;
    run.measure(kind, url, || {
        let said = ears::say(kind, url, octets, run.rate, run.span)?;
        Ok((said, said))
    })
}

/// What a run is asked for.
struct Run {
    /// Changes a second, or messages.
    rate: u32,
    span: Duration,
    /// Connections that hear and discard.
    ears: usize,
    nodes: Vec<u32>,
    store: Vec<u32>,
}

impl Run {
    fn read(words: &[&str]) -> Fallible<Self> {
        let [rate, seconds, ears, nodes, store] = words else {
            return Err("RATE SECONDS EARS NODE_PIDS STORE_PIDS".into());
        };
        let pids = |list: &str| -> Result<Vec<u32>, std::num::ParseIntError> {
            list.split_whitespace().map(str::parse).collect()
        };
        Ok(Self {
            rate: rate.parse()?,
            span: Duration::from_secs(seconds.parse()?),
            ears: ears.parse()?,
            nodes: pids(nodes)?,
            store: pids(store)?,
        })
    }

    /// Lets `play` run, and tells a line, all of it a second: changes, those that others are told of,
    /// CPU-us of all nodes and of the store, messages and octets that an ear heard.
    fn measure(
        &self,
        kind: &str,
        url: &str,
        play: impl FnOnce() -> Fallible<(u64, u64)>,
    ) -> Outcome {
        let ears = Ears::open(kind, url, self.ears)?;
        let (nodes, store) = (Cost::of(&self.nodes), Cost::of(&self.store));
        let (before, began) = (ears.heard(), Instant::now());
        let (changes, told) = play()?;
        let seconds = began.elapsed().as_secs_f64();
        let after = ears.heard();
        let a_second = |count: u64| {
            #[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
            let rate = count as f64 / seconds;
            format!("{rate:.1}")
        };
        let figures = [
            changes,
            told,
            nodes.so_far(),
            store.so_far(),
            after.0 - before.0,
            after.1 - before.1,
        ];
        tell(figures.map(a_second).join("\t"));
        Ok(())
    }
}

/// How often something is begun: one by one where a timer can, for what comes together costs less.
fn beat(rate: u32) -> Duration {
    (Duration::from_secs(1) / rate.max(1)).max(Duration::from_millis(1))
}

/// The key that the nodes have.
#[expect(
    clippy::disallowed_methods,
    reason = "the script tells it as it tells the nodes"
)]
fn keys() -> Fallible<Keys> {
    let key = match std::env::var("BFF_SESSION_KEY") {
        Ok(text) => SessionKey::parse(&text).ok_or("BFF_SESSION_KEY is no key")?,
        Err(_) => SessionKey::random(&SystemRandomness),
    };
    Ok(Keys::of(&key))
}
