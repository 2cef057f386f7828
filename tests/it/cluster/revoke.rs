//! An end on one node is an end on all: how fast, while nodes hear each other and while they do not.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::person::{Person, told};
use super::{Kind, Setup, World, figure, on_stores, pass};
use crate::support::call::Call;
use crate::support::clock::soon;
use crate::support::idp::{CLIENT_ID, logout_call};
use crate::support::node::ask;
use crate::support::wire::Wire;
use crate::websocket::{Socket, closed_with};

/// How a session is ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Logout,
    Superseded,
    Administrator,
    SignedOutElsewhere,
    ProviderLogout,
}

impl End {
    pub(super) const ALL: [Self; 5] = [
        Self::Logout,
        Self::Superseded,
        Self::Administrator,
        Self::SignedOutElsewhere,
        Self::ProviderLogout,
    ];

    /// Brings the end about, at a node; returns once it was acknowledged.
    pub(super) async fn come(self, world: &World, node: usize, person: &Person) {
        let (node, provider) = (&world.nodes[node], &world.provider);
        let reply = match self {
            Self::Logout => return person.sign_out(node.addr).await,
            Self::Superseded => {
                for _ in 0..2 {
                    let other = Person::sign_in(provider, node.addr, &person.name).await;
                    assert_ne!(other.cookie, person.cookie);
                }
                return;
            }
            Self::Administrator => {
                let target = format!("/api/sessions?subject={}", person.name);
                let call = Call::bare("DELETE", &target)
                    .header("Host", "127.0.0.1")
                    .header("Authorization", &format!("Bearer {}", world.admin_key));
                ask(node.admin, &call).await
            }
            Self::SignedOutElsewhere => {
                let other = Person::sign_in(provider, node.addr, &person.name).await;
                ask(node.addr, &other.calls("DELETE", "/bff/sessions")).await
            }
            Self::ProviderLogout => {
                let token = provider
                    .core
                    .logout_token(CLIENT_ID, Some(&person.name), None)
                    .unwrap();
                ask(node.addr, &logout_call(&token)).await
            }
        };
        let reply = reply.unwrap();
        assert_eq!(reply.status, 200, "{self:?}: {}", reply.text());
        if matches!(self, Self::Administrator | Self::SignedOutElsewhere) {
            assert_eq!(reply.json()["ended"], 1, "{self:?}");
        }
    }

    /// What a call is answered from then on.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Superseded => "401 session_superseded",
            _ => "401 session_expired",
        }
    }
}

/// What is open at a node on a session's behalf.
struct Open {
    sockets: Vec<Socket>,
    streams: Vec<Wire>,
}

impl Open {
    async fn at(person: &Person, node: SocketAddr) -> Self {
        let mut open = Self {
            sockets: Vec::new(),
            streams: Vec::new(),
        };
        for _ in 0..3 {
            open.sockets.push(person.socket(node).await);
            open.streams.push(person.stream(node).await);
        }
        open
    }

    /// How long after `since` the last of them was closed.
    async fn closed(&mut self, since: Instant) -> Duration {
        let sockets = self.sockets.iter_mut().map(async |socket| {
            assert_eq!(closed_with(socket).await, Some(1008));
            since.elapsed()
        });
        let streams = self.streams.iter_mut().map(async |wire| {
            assert_eq!(soon("the end of a stream", wire.chunk()).await, None);
            since.elapsed()
        });
        let (sockets, streams) = tokio::join!(join_all(sockets), join_all(streams));
        sockets.into_iter().chain(streams).max().unwrap()
    }
}

/// The latest of what was measured.
#[derive(Debug, Default)]
struct Latest {
    /// A call that was still answered with 200, sent after the acknowledgement.
    served: Duration,
    refused: Duration,
    closed: Duration,
}

/// G, M4, M7: what is ended on one node is refused on the others, and what was open is closed,
/// within a second; within `max_staleness` where they do not hear it.
async fn an_end_is_an_end_everywhere(kind: Kind, cut: bool, rounds: usize) {
    let setup = Setup {
        session: if cut {
            "max_staleness = \"2s\"\nmax_per_user = 2"
        } else {
            "max_per_user = 2"
        },
        relays: true,
        ..Setup::default()
    };
    let bound = if cut {
        // A margin for a look every quarter of a second, and for a busy machine.
        Duration::from_millis(2000 + 900)
    } else {
        Duration::from_secs(1)
    };
    let Some(world) = World::start(kind, setup).await else {
        return;
    };
    let mut latest = Latest::default();
    for round in 0..rounds {
        let end = End::ALL[round % End::ALL.len()];
        let person = world.person(round, round).await;
        let mut open = Vec::new();
        for node in [1, 2] {
            open.push(Open::at(&person, world.addr(node)).await);
            assert_eq!(person.told(world.addr(node)).await, "200");
        }
        if cut {
            world.relays[1].cut();
            world.relays[2].cut();
        }
        end.come(&world, 0, &person).await;
        let acknowledged = Instant::now();
        let refusals = [1, 2].map(|node| refused(&person, world.addr(node), end, acknowledged));
        let closes = open.iter_mut().map(|open| open.closed(acknowledged));
        let (refusals, closes) = tokio::join!(join_all(refusals), join_all(closes));
        for (served, refused) in refusals {
            assert!(
                refused < bound,
                "round {round}: {end:?}: refused after {refused:?}"
            );
            latest.served = latest.served.max(served);
            latest.refused = latest.refused.max(refused);
        }
        for closed in closes {
            assert!(
                closed < bound,
                "round {round}: {end:?}: closed after {closed:?}"
            );
            latest.closed = latest.closed.max(closed);
        }
        if cut {
            world.relays[1].mend();
            world.relays[2].mend();
        }
    }
    figure!(
        "{kind:?}, push channel {}: {rounds} ends: last 200 sent {:?}, first 401 by {:?}, 12 streams closed by {:?} after the acknowledgement",
        if cut { "cut, max_staleness 2s" } else { "well" },
        latest.served,
        latest.refused,
        latest.closed
    );
    world.logs_are_clean();
}

/// When the last call was sent that was served, and when the first was refused; from then on all are.
pub(super) async fn refused(
    person: &Person,
    node: SocketAddr,
    end: End,
    since: Instant,
) -> (Duration, Duration) {
    let mut served = Duration::ZERO;
    let refused = loop {
        let sent = since.elapsed();
        let reply = person.call(node).await.expect("an answer");
        if reply.status != 200 {
            assert_eq!(told(&reply), end.told(), "{}", reply.text());
            break since.elapsed();
        }
        served = sent;
        assert!(sent < Duration::from_secs(10), "it is still served");
    };
    for _ in 0..20 {
        assert_eq!(person.told(node).await, end.told(), "it is back");
        pass(Duration::from_millis(5)).await;
    }
    (served, refused)
}

on_stores! { an_end_is_an_end_everywhere:
    an_end_is_heard_everywhere(Kind::Redis, false, 5)(Kind::Postgres, false, 5);
    an_end_that_nobody_hears_is_found_out(Kind::Redis, true, 5)(Kind::Postgres, true, 5);
    #[ignore = "large"]
    large_ends_on_redis(Kind::Redis, false, 200);
    #[ignore = "large"]
    large_ends_on_postgres(Kind::Postgres, false, 200);
    #[ignore = "large"]
    large_unheard_ends_on_redis(Kind::Redis, true, 50);
    #[ignore = "large"]
    large_unheard_ends_on_postgres(Kind::Postgres, true, 50);
}
