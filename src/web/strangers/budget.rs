//! What strangers can ask for, and how much of it one process grants.

/// What a stranger can ask for that costs us while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// A connection that is open.
    Connection,
    /// A WebSocket that is open without a session.
    Socket,
    /// A call to an upstream without a session, until its answer is over: it holds a connection there,
    /// however slowly the browser reads.
    Call,
    /// A file of the app on its way, until the browser has it: files are anybody's.
    File,
    /// The mark that a callback was used (C6), kept until its login would be over. One that signed
    /// somebody in is nobody's burden any more: its turn ends with the login.
    UsedState,
    /// A call to the provider for a login: one that hands its request over, or buys its tokens.
    CodeExchange,
}

/// Files that may be on their way however few connections there may be: a page asks for a hundred of
/// them at once, over one.
const LEAST_FILES: usize = 8192;

impl Demand {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Connection,
        Self::Socket,
        Self::Call,
        Self::File,
        Self::UsedState,
        Self::CodeExchange,
    ];

    /// The word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Socket => "socket",
            Self::Call => "call",
            Self::File => "file",
            Self::UsedState => "used_state",
            Self::CodeExchange => "code_exchange",
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

/// What one process may have open, which its budgets are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Connections of browsers.
    pub connections: usize,
    /// Of these, those of one address, where the operator says so.
    pub connections_per_address: Option<usize>,
    /// Connections to upstreams.
    pub upstreams: usize,
}

impl Budget {
    /// What one process with this much room grants.
    ///
    /// Calls without a session leave half of the connections to upstreams to those with one, whoever
    /// floods. A file that nobody reads costs a few ten KiB.
    ///
    /// An office behind one address signs in at nine: that fits. A mark of a used callback is about
    /// 200 bytes in the store, so a flood takes 4 MiB of it at most.
    /// `connections_per_address` is the operator's word on the one kind that has a key.
    pub fn of(demand: Demand, room: Room) -> Self {
        let Room {
            connections,
            connections_per_address,
            upstreams,
        } = room;
        let (total, per_address) = match demand {
            Demand::Connection => (
                connections - connections / 5,
                connections_per_address.unwrap_or_else(|| (connections / 4).max(1)),
            ),
            Demand::Socket => ((connections / 2).max(1), (connections / 40).max(1)),
            Demand::Call => {
                // Never more than there are browsers for, where files may be opened without a limit.
                let upstreams = upstreams.min(connections.saturating_mul(2));
                // A quarter more than this is half of them.
                let total = (upstreams / 5).saturating_mul(2).max(1);
                (total, (upstreams.min(connections) / 4).clamp(1, total))
            }
            Demand::File => {
                let total = connections.max(LEAST_FILES);
                (total, total / 4)
            }
            Demand::UsedState => (16_384, 1024),
            Demand::CodeExchange => (128, 64),
        };
        Self { total, per_address }
    }

    /// What is never exceeded.
    pub const fn hard(self) -> usize {
        self.total + self.total / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of the connections to upstreams is never to be had without a session, and one address has
    /// a quarter at most.
    #[test]
    fn calls_without_a_session_leave_half_to_those_with_one() {
        for (connections, upstreams, total, per_address, hard) in [
            (10_000, usize::MAX, 8_000, 2_500, 10_000),
            (10_000, 1_000_000, 8_000, 2_500, 10_000),
            (384, 384, 152, 96, 190),
            (16, 16, 6, 4, 7),
            (1, 1, 1, 1, 1),
        ] {
            let room = Room {
                connections,
                connections_per_address: None,
                upstreams,
            };
            let budget = Budget::of(Demand::Call, room);
            assert_eq!(budget, Budget { total, per_address }, "{room:?}");
            assert_eq!(budget.hard(), hard, "{room:?}");
        }
    }
}
