//! One accountant for all that strangers can make us keep, open or send: a budget a kind, in total
//! and for each address.
//!
//! What is counted is held by somebody who has not signed in: a [`Turn`], freed by itself, or kept
//! until a moment ([`Turn::keep_until`]). Up to its budget a kind is anybody's. Beyond, and
//! up to a quarter more, it is for those who have less than their share: so whoever floods is
//! refused, and whoever comes new is not. What is free again soon can be waited for
//! ([`Strangers::hold_soon`]): who has the least of it comes first, not who pushes hardest. Whether addresses can be told apart at all is said by
//! [`Addresses`]: behind a proxy that nobody named, everybody has one.
//!
//! How much there is of each kind is `budget`'s; what a refusal looks like is the caller's affair.

mod budget;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::Timestamp;

pub use self::budget::{Budget, Demand, Room};

/// Whether an address tells one stranger from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// It does: peers reach us directly, or through proxies that were named.
    TellApart,
    /// It may not: whoever is before us looks like one stranger. Totals alone count.
    MayBeShared,
}

/// Who asks: an IPv4 address, or the /64 of an IPv6 address, which is what one customer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }
}

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// This address has more of it than others have, or as much as one may.
    #[error("one address asks for more than its share of {}", .0.as_str())]
    Address(Demand),
    /// All of it is in use.
    #[error("strangers use up the whole budget of {}", .0.as_str())]
    All(Demand),
}

/// How much of a budget is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// Of what.
    pub demand: Demand,
    /// How much.
    pub used: usize,
    /// The budget.
    pub total: usize,
    /// How often it was refused since the start.
    pub refused: u64,
}

impl Pressure {
    /// Whether the budget is nearly used up, so that somebody should look.
    pub const fn is_high(self) -> bool {
        self.used >= self.total - self.total / 10
    }
}

/// The accountant; cheap to clone.
#[derive(Clone)]
pub struct Strangers(Arc<Inner>);

struct Inner {
    addresses: Addresses,
    books: [Book; Demand::ALL.len()],
}

struct Book {
    demand: Demand,
    budget: Budget,
    ledger: Mutex<Ledger>,
    refused: AtomicU64,
}

#[derive(Default)]
struct Ledger {
    used: usize,
    of: HashMap<Source, usize>,
    /// What is kept, by when it goes.
    kept: BinaryHeap<(Reverse<Timestamp>, Source)>,
    /// Who waits, oldest first.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    source: Source,
    granted: oneshot::Sender<Turn>,
}

/// How many may wait for each that there is.
const WAITING_FOR_EACH: usize = 8;

/// The right to hold one thing; frees itself.
pub struct Turn {
    strangers: Strangers,
    demand: Demand,
    source: Source,
    /// Whether its drop frees it.
    frees: bool,
}

impl Strangers {
    /// Nothing in use yet; `budget` says how much there may be of each kind.
    pub fn new(addresses: Addresses, budget: impl Fn(Demand) -> Budget) -> Self {
        Self(Arc::new(Inner {
            addresses,
            books: Demand::ALL.map(|demand| Book {
                demand,
                budget: budget(demand),
                ledger: Mutex::default(),
                refused: AtomicU64::new(0),
            }),
        }))
    }

    /// Takes one, for as long as the turn is held.
    ///
    /// # Errors
    ///
    /// The share of this address, or the whole budget, is used up.
    pub fn hold(
        &self,
        demand: Demand,
        source: impl Into<Source>,
        now: Timestamp,
    ) -> Result<Turn, OverBudget> {
        let source = self.source(source);
        let book = self.book(demand);
        let mut ledger = book.ledger();
        ledger.let_go(now);
        if let Err(over) = book.judge(&ledger, source, self.0.addresses) {
            book.refused.fetch_add(1, Ordering::Relaxed);
            return Err(over);
        }
        ledger.take(source);
        drop(ledger);
        Ok(self.turn(demand, source))
    }

    /// Takes one, or waits for it as long as `patience`: of those who wait, the next is of the address
    /// that holds the least.
    ///
    /// # Errors
    ///
    /// This address holds or waits for as much as one may, or none was free in time.
    pub async fn hold_soon(
        &self,
        demand: Demand,
        source: impl Into<Source>,
        patience: Duration,
    ) -> Result<Turn, OverBudget> {
        let source = self.source(source);
        let book = self.book(demand);
        let granted = {
            let mut ledger = book.ledger();
            let own = ledger.of.get(&source).copied().unwrap_or(0);
            let own_waiting = ledger.waiting.iter().filter(|one| one.source == source);
            let own = own + own_waiting.count();
            if self.0.addresses == Addresses::TellApart && own >= book.budget.per_address {
                book.refused.fetch_add(1, Ordering::Relaxed);
                return Err(OverBudget::Address(demand));
            }
            if ledger.used < book.budget.total {
                ledger.take(source);
                return Ok(self.turn(demand, source));
            }
            if ledger.waiting.len() >= book.budget.total * WAITING_FOR_EACH {
                book.refused.fetch_add(1, Ordering::Relaxed);
                return Err(OverBudget::All(demand));
            }
            let (sender, granted) = oneshot::channel();
            ledger.waiting.push_back(Waiting {
                source,
                granted: sender,
            });
            granted
        };
        if let Ok(Ok(turn)) = tokio::time::timeout(patience, granted).await {
            return Ok(turn);
        }
        book.refused.fetch_add(1, Ordering::Relaxed);
        Err(OverBudget::All(demand))
    }

    /// Whether one would be had now: for asking before a person has taken trouble.
    ///
    /// # Errors
    ///
    /// As [`Self::hold`].
    pub fn ask(
        &self,
        demand: Demand,
        source: impl Into<Source>,
        now: Timestamp,
    ) -> Result<(), OverBudget> {
        let source = self.source(source);
        let book = self.book(demand);
        let mut ledger = book.ledger();
        ledger.let_go(now);
        book.judge(&ledger, source, self.0.addresses)
    }

    /// Whether this address has less than one may have, whoever else has how much.
    ///
    /// # Errors
    ///
    /// [`OverBudget::Address`], which counts as refused.
    pub fn below_cap(&self, demand: Demand, source: impl Into<Source>) -> Result<(), OverBudget> {
        if self.0.addresses == Addresses::MayBeShared {
            return Ok(());
        }
        let book = self.book(demand);
        let own = book.ledger().of.get(&source.into()).copied();
        if own.unwrap_or(0) < book.budget.per_address {
            return Ok(());
        }
        book.refused.fetch_add(1, Ordering::Relaxed);
        Err(OverBudget::Address(demand))
    }

    /// How things stand, a line a kind.
    pub fn pressure(&self, now: Timestamp) -> [Pressure; Demand::ALL.len()] {
        Demand::ALL.map(|demand| {
            let book = self.book(demand);
            let mut ledger = book.ledger();
            ledger.let_go(now);
            Pressure {
                demand,
                used: ledger.used,
                total: book.budget.total,
                refused: book.refused.load(Ordering::Relaxed),
            }
        })
    }

    /// What was taken, for whoever holds it.
    fn turn(&self, demand: Demand, source: Source) -> Turn {
        Turn {
            strangers: self.clone(),
            demand,
            source,
            frees: true,
        }
    }

    /// On whose account an address goes: where addresses say nothing, all are one.
    pub fn source(&self, address: impl Into<Source>) -> Source {
        match self.0.addresses {
            Addresses::TellApart => address.into(),
            Addresses::MayBeShared => Source(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        }
    }

    fn book(&self, demand: Demand) -> &Book {
        let [connection, socket, call, file, used_state, code_exchange] = &self.0.books;
        match demand {
            Demand::Connection => connection,
            Demand::Socket => socket,
            Demand::Call => call,
            Demand::File => file,
            Demand::UsedState => used_state,
            Demand::CodeExchange => code_exchange,
        }
    }
}

impl Book {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(
        &self,
        ledger: &Ledger,
        source: Source,
        addresses: Addresses,
    ) -> Result<(), OverBudget> {
        let Budget { total, per_address } = self.budget;
        let own = ledger.of.get(&source).copied().unwrap_or(0);
        let is_full = ledger.used >= self.budget.hard();
        match addresses {
            _ if is_full => Err(OverBudget::All(self.demand)),
            Addresses::MayBeShared => Ok(()),
            Addresses::TellApart if own >= per_address => Err(OverBudget::Address(self.demand)),
            Addresses::TellApart if ledger.used < total => Ok(()),
            // Half of an even share, so that what floods from many addresses is refused at each of
            // them long before the reserve is gone.
            Addresses::TellApart if own < (total / (2 * ledger.of.len().max(1))).max(1) => Ok(()),
            Addresses::TellApart => Err(OverBudget::Address(self.demand)),
        }
    }
}

impl Ledger {
    /// Lets go of what was kept until now.
    fn let_go(&mut self, now: Timestamp) {
        while let Some((Reverse(until), _)) = self.kept.peek()
            && *until <= now
            && let Some((_, source)) = self.kept.pop()
        {
            self.free(source);
        }
    }

    fn take(&mut self, source: Source) {
        self.used += 1;
        *self.of.entry(source).or_default() += 1;
    }

    /// Who waits with the least in hand.
    fn next_to_have(&mut self) -> Option<Waiting> {
        let held = |source| self.of.get(source).copied().unwrap_or(0);
        let (at, _) = self
            .waiting
            .iter()
            .enumerate()
            .min_by_key(|(_, one)| held(&one.source))?;
        self.waiting.remove(at)
    }

    fn free(&mut self, source: Source) {
        self.used = self.used.saturating_sub(1);
        match self.of.get_mut(&source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.of.remove(&source);
            }
        }
    }
}

impl Turn {
    /// Keeps it until a moment, whoever holds what.
    pub fn keep_until(mut self, moment: Timestamp) {
        self.frees = false;
        let mut ledger = self.strangers.book(self.demand).ledger();
        ledger.kept.push((Reverse(moment), self.source));
    }
}

impl Drop for Turn {
    /// Frees it, and gives it to whoever waits.
    fn drop(&mut self) {
        if !self.frees {
            return;
        }
        let mut ledger = self.strangers.book(self.demand).ledger();
        ledger.free(self.source);
        while let Some(next) = ledger.next_to_have() {
            ledger.take(next.source);
            let turn = self.strangers.turn(self.demand, next.source);
            let Err(mut turn) = next.granted.send(turn) else {
                return;
            };
            // It gave up. The lock is held: what comes back must not take it again.
            turn.frees = false;
            ledger.free(next.source);
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Turn").field(&self.demand).finish()
    }
}

impl fmt::Debug for Strangers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = |demand| self.book(demand).ledger().used;
        f.debug_map()
            .entries(Demand::ALL.map(|demand| (demand, used(demand))))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1000);

    fn strangers(addresses: Addresses, total: usize, per_address: usize) -> Strangers {
        Strangers::new(addresses, |_| Budget { total, per_address })
    }

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn used(strangers: &Strangers, demand: Demand) -> usize {
        let pressure = strangers.pressure(NOW);
        let own = pressure.iter().find(|pressure| pressure.demand == demand);
        own.unwrap().used
    }

    #[test]
    fn a_turn_frees_itself() {
        let strangers = strangers(Addresses::TellApart, 10, 2);
        let hold = || strangers.hold(Demand::Connection, v4(1), NOW);
        let (first, _second) = (hold().unwrap(), hold().unwrap());
        assert_eq!(hold().unwrap_err(), OverBudget::Address(Demand::Connection));
        assert!(
            strangers.hold(Demand::Socket, v4(1), NOW).is_ok(),
            "another book"
        );
        drop(first);
        assert!(hold().is_ok());
        assert_eq!(used(&strangers, Demand::Connection), 1);
    }

    #[test]
    fn what_is_kept_goes_in_its_time() {
        let strangers = strangers(Addresses::TellApart, 2, 2);
        let span = Duration::from_mins(1);
        let keep = |now| {
            let turn = strangers.hold(Demand::UsedState, v4(1), now);
            turn.map(|turn| turn.keep_until(now + span))
        };
        assert!(keep(NOW).is_ok());
        assert!(keep(NOW).is_ok());
        assert!(keep(NOW).is_err());
        assert!(strangers.ask(Demand::UsedState, v4(1), NOW).is_err());
        assert!(strangers.ask(Demand::UsedState, v4(1), NOW + span).is_ok());
        assert!(keep(NOW + span).is_ok());
    }

    /// Whoever floods from however many addresses is refused, and whoever comes new is not.
    #[test]
    fn a_flood_leaves_room_for_others() {
        for flooding in [1, 5, 200] {
            let strangers = strangers(Addresses::TellApart, 1000, 1000);
            let mut turns = Vec::new();
            for round in 0..5000 {
                let from = IpAddr::from([198, 51, 100, u8::try_from(round % flooding).unwrap()]);
                turns.extend(strangers.hold(Demand::UsedState, from, NOW));
            }
            assert!(turns.len() <= 1000, "{flooding} took the reserve");
            for newcomer in 0..100 {
                let own = strangers.hold(Demand::UsedState, v4(newcomer), NOW);
                turns.push(own.unwrap_or_else(|_| panic!("{newcomer} beside {flooding}")));
            }
        }
    }

    #[test]
    fn there_is_a_bound_whoever_comes() {
        let strangers = strangers(Addresses::TellApart, 100, 100);
        let turns: Vec<_> = (0..100_000_u32)
            .filter_map(|n| {
                strangers
                    .hold(Demand::UsedState, IpAddr::from(n.to_be_bytes()), NOW)
                    .ok()
            })
            .collect();
        assert_eq!(turns.len(), 125);
        let [.., refused] = strangers.pressure(NOW).map(|pressure| pressure.refused);
        assert_eq!(refused, 0, "another kind was refused nothing");
    }

    /// An unlisted proxy looks like one stranger, who may then have all that there is.
    #[test]
    fn where_addresses_are_shared_only_totals_count() {
        let strangers = strangers(Addresses::MayBeShared, 8, 1);
        let turns: Vec<_> = (0..20)
            .filter_map(|_| strangers.hold(Demand::Connection, v4(1), NOW).ok())
            .collect();
        assert_eq!(turns.len(), 10);
    }

    /// Of those who wait, the next has the least in hand, however many of another push.
    #[tokio::test(start_paused = true)]
    async fn whoever_has_the_least_comes_first() {
        let strangers = strangers(Addresses::TellApart, 2, 10);
        let patience = Duration::from_secs(5);
        let soon = |last| {
            let strangers = strangers.clone();
            async move {
                strangers
                    .hold_soon(Demand::CodeExchange, v4(last), patience)
                    .await
            }
        };
        let (first, second) = (soon(1).await.unwrap(), soon(1).await.unwrap());
        let flood: Vec<_> = (0..8).map(|_| tokio::spawn(soon(1))).collect();
        tokio::task::yield_now().await;
        assert_eq!(
            soon(1).await.unwrap_err(),
            OverBudget::Address(Demand::CodeExchange)
        );
        let newcomer = tokio::spawn(soon(2));
        tokio::task::yield_now().await;
        drop(first);
        let held = newcomer.await.unwrap().unwrap();
        assert!(flood.iter().all(|one| !one.is_finished()));
        drop((held, second));
        let mut had = 0;
        for one in flood {
            had += usize::from(one.await.unwrap().is_ok());
        }
        assert_eq!(had, 8, "each in its turn");
        assert_eq!(used(&strangers, Demand::CodeExchange), 0);
    }

    /// Whoever gives up is passed over, and what was meant for it is lost to nobody.
    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_is_passed_over() {
        let strangers = strangers(Addresses::MayBeShared, 1, 1);
        let soon = |seconds| {
            strangers.hold_soon(Demand::CodeExchange, v4(1), Duration::from_secs(seconds))
        };
        let held = soon(1).await.unwrap();
        assert_eq!(
            soon(1).await.unwrap_err(),
            OverBudget::All(Demand::CodeExchange)
        );
        drop(held);
        assert!(soon(1).await.is_ok());
        assert_eq!(used(&strangers, Demand::CodeExchange), 0);
    }

    #[test]
    fn a_customer_of_ipv6_has_one_source() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }
}
