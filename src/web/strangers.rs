//! One accountant for all that strangers can make us keep, open or send: a budget a kind, in total
//! and for each address.
//!
//! What is counted is held by somebody who has not signed in (a [`Turn`], freed by itself) or kept
//! for them until a moment ([`Strangers::keep`]). Up to its budget a kind is anybody's. Beyond, and
//! up to a quarter more, it is for those who have less than their share: so whoever floods is
//! refused, and whoever comes new is not. Whether addresses can be told apart at all is said by
//! [`Addresses`]: behind a proxy that nobody named, everybody has one.
//!
//! It decides nothing else: what a refusal looks like is the caller's affair.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;

/// What a stranger can ask for that costs us while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// A connection that is open.
    Connection,
    /// A WebSocket that is open without a session.
    Socket,
    /// The mark that a callback was used (C6), kept until its login would be over.
    UsedState,
    /// A call that buys tokens for a login under way.
    CodeExchange,
    /// A logout token that is being verified (E14).
    LogoutToken,
}

impl Demand {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Connection,
        Self::Socket,
        Self::UsedState,
        Self::CodeExchange,
        Self::LogoutToken,
    ];

    /// The word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Socket => "socket",
            Self::UsedState => "used_state",
            Self::CodeExchange => "code_exchange",
            Self::LogoutToken => "logout_token",
        }
    }
}

/// How much of one kind there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// In all, before shares count; a quarter more is for those below their share.
    pub total: usize,
    /// Of one address, however much is free.
    pub per_address: usize,
}

impl Budget {
    /// What is never exceeded.
    pub const fn hard(self) -> usize {
        self.total + self.total / 4
    }
}

/// Whether an address tells one stranger from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// It does: peers reach us directly, or through proxies that were named.
    TellApart,
    /// It may not: whoever is before us looks like one stranger. Totals alone count.
    MayBeShared,
}

/// Who asks: an IPv4 address, or the /64 of an IPv6 address, which is what one customer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// There is no room: for this address, or for anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("strangers ask for more than their budget of {}", .0.as_str())]
pub struct OverBudget(pub Demand);

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
    /// What is kept, in the order in which it goes.
    kept: VecDeque<(Timestamp, Source)>,
}

/// The right to hold one thing; frees itself.
pub struct Turn {
    strangers: Strangers,
    demand: Demand,
    source: Source,
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
    /// The budget of this address, or of all, is used up.
    pub fn hold(&self, demand: Demand, source: impl Into<Source>) -> Result<Turn, OverBudget> {
        let source = self.source(source.into());
        self.book(demand).take(source, self.0.addresses, None)?;
        Ok(Turn {
            strangers: self.clone(),
            demand,
            source,
        })
    }

    /// Keeps one until a moment; each later call of this kind names the same moment or a later one.
    ///
    /// # Errors
    ///
    /// As [`Self::hold`].
    pub fn keep(
        &self,
        demand: Demand,
        source: impl Into<Source>,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<(), OverBudget> {
        let source = self.source(source.into());
        self.book(demand)
            .take(source, self.0.addresses, Some((now, until)))
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
        let source = self.source(source.into());
        let book = self.book(demand);
        let mut ledger = book.ledger();
        ledger.let_go(now);
        book.judge(&ledger, source, self.0.addresses)
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

    /// Where addresses say nothing, all are one.
    fn source(&self, source: Source) -> Source {
        match self.0.addresses {
            Addresses::TellApart => source,
            Addresses::MayBeShared => Source(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        }
    }

    fn book(&self, demand: Demand) -> &Book {
        let [connection, socket, used_state, code_exchange, logout_token] = &self.0.books;
        match demand {
            Demand::Connection => connection,
            Demand::Socket => socket,
            Demand::UsedState => used_state,
            Demand::CodeExchange => code_exchange,
            Demand::LogoutToken => logout_token,
        }
    }
}

impl Book {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(
        &self,
        source: Source,
        addresses: Addresses,
        kept: Option<(Timestamp, Timestamp)>,
    ) -> Result<(), OverBudget> {
        let mut ledger = self.ledger();
        if let Some((now, _)) = kept {
            ledger.let_go(now);
        }
        if let Err(over) = self.judge(&ledger, source, addresses) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(over);
        }
        ledger.used += 1;
        *ledger.of.entry(source).or_default() += 1;
        if let Some((_, until)) = kept {
            ledger.kept.push_back((until, source));
        }
        Ok(())
    }

    fn judge(
        &self,
        ledger: &Ledger,
        source: Source,
        addresses: Addresses,
    ) -> Result<(), OverBudget> {
        let Budget { total, per_address } = self.budget;
        let own = ledger.of.get(&source).copied().unwrap_or(0);
        let fits = match addresses {
            Addresses::MayBeShared => ledger.used < self.budget.hard(),
            Addresses::TellApart if own >= per_address => false,
            Addresses::TellApart if ledger.used < total => true,
            // Half of an even share, so that what floods from many addresses is refused at each of
            // them long before the reserve is gone.
            Addresses::TellApart => {
                let share = total / (2 * ledger.of.len().max(1));
                ledger.used < self.budget.hard() && own < share.max(1)
            }
        };
        if fits {
            Ok(())
        } else {
            Err(OverBudget(self.demand))
        }
    }
}

impl Ledger {
    /// Lets go of what was kept until now.
    fn let_go(&mut self, now: Timestamp) {
        while let Some((_, source)) = self.kept.pop_front_if(|(until, _)| *until <= now) {
            self.free(source);
        }
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

impl Drop for Turn {
    fn drop(&mut self) {
        let mut ledger = self.strangers.book(self.demand).ledger();
        ledger.free(self.source);
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
    use std::time::Duration;

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
        let hold = || strangers.hold(Demand::Connection, v4(1));
        let (first, _second) = (hold().unwrap(), hold().unwrap());
        assert_eq!(hold().unwrap_err(), OverBudget(Demand::Connection));
        assert!(
            strangers.hold(Demand::Socket, v4(1)).is_ok(),
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
        let keep = |now| strangers.keep(Demand::UsedState, v4(1), now, now + span);
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
                turns.extend(strangers.hold(Demand::UsedState, from));
            }
            assert!(turns.len() <= 1000, "{flooding} took the reserve");
            for newcomer in 0..100 {
                let own = strangers.hold(Demand::UsedState, v4(newcomer));
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
                    .hold(Demand::UsedState, IpAddr::from(n.to_be_bytes()))
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
            .filter_map(|_| strangers.hold(Demand::Connection, v4(1)).ok())
            .collect();
        assert_eq!(turns.len(), 10);
    }

    #[test]
    fn a_customer_of_ipv6_has_one_source() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }
}
