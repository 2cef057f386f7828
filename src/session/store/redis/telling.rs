//! How what nodes tell each other leaves: the first at once, and what follows within a moment together, so
//! that who hears pays for messages of a moment and not for events.
//!
//! A step has what it tells wait in a list of its own master, or says it together with all that waits: in
//! both cases it is told in the step that makes it true. Of those that wait the first has its node say
//! them all when the moment is over. Should that node be gone, the next heartbeat of any node does: it
//! stands behind them in the same list, and so never comes back before them.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::time::sleep;

use super::link::Link;
use super::masters::{all_lists, list_of};
use super::names::TOLD;
use super::scripts::Call;
use super::trouble::Trouble;

/// For how long what comes waits for more.
const MOMENT: Duration = Duration::from_millis(20);

/// How many moments a heartbeat waits before it says itself what waits: whoever should have is gone.
const PATIENCE: u32 = 3;

/// What a step tells: sealed, and to nodes of the release before in the clear.
pub(super) struct Telling {
    pub(super) sealed: String,
    pub(super) plain: Option<String>,
}

/// The list of the master of this key. Where the masters cannot be asked for, nothing waits.
pub(super) async fn list(link: &Link, key: &str) -> String {
    if !link.is_cluster() {
        return TOLD.to_owned();
    }
    let masters = link.known_masters().await;
    masters.map_or_else(
        |_| String::new(),
        |masters| list_of(&masters, key).to_owned(),
    )
}

/// Says what still waits in lists that no master of a Cluster goes by any more, since slots were moved.
pub(super) async fn tidy(link: &Link) -> Result<(), Trouble> {
    if link.is_cluster() {
        for list in all_lists() {
            link.call::<Value>(say(link, list)).await?;
        }
    }
    Ok(())
}

impl Call<'_> {
    /// What the step tells the others, by way of this list.
    pub(super) fn telling(self, list: &str, telling: Telling) -> Self {
        let call = self.bytes(list).number(MOMENT.as_millis());
        let call = call.bytes(telling.sealed);
        telling.plain.into_iter().fold(call, Self::bytes)
    }

    /// A line that is said by way of this list.
    pub(super) fn saying(self, list: &str, line: String) -> Self {
        let (sealed, plain) = (line, None);
        self.telling(list, Telling { sealed, plain })
    }
}

/// A step was told, and so many wait with it.
pub(super) fn told(link: &Arc<Link>, list: String, waiting: u64) {
    if waiting == 1 {
        say_what_waits(link, list, MOMENT);
    }
}

/// A heartbeat was said, and so many wait with it.
pub(super) fn said(link: &Arc<Link>, list: String, waiting: u64) {
    match waiting {
        0 => {}
        1 => say_what_waits(link, list, MOMENT),
        _ => say_what_waits(link, list, MOMENT * PATIENCE),
    }
}

fn say_what_waits(link: &Arc<Link>, list: String, after: Duration) {
    let link = Arc::clone(link);
    tokio::spawn(async move {
        sleep(after).await;
        if let Err(error) = link.call::<Value>(say(&link, list)).await {
            // The next heartbeat says it.
            tracing::debug!(%error, "what waited to be told was not said");
        }
    });
}

fn say(link: &Link, list: String) -> Call<'_> {
    let call = link.scripts.say_what_waits.on(list);
    call.number(MOMENT.as_millis())
}
