//! Who connects to a listener, and how many connections one address may have open.

use crate::clock::Timestamp;
use crate::web::client_address::{Peer, TrustedProxies};
use crate::web::strangers::{Demand, OverBudget, Source, Strangers, Turn};

/// Who connects to a listener.
#[derive(Debug, Clone)]
pub enum Callers {
    /// Anybody. Each address has its share, where addresses tell one from another; proxies that were
    /// named bring everybody, and have none.
    Strangers {
        /// Who has how many.
        account: Strangers,
        /// Whose connections are not counted.
        proxies: TrustedProxies,
    },
    /// Those who run it: nobody counts.
    Operators,
}

impl Callers {
    /// On whose account a connection of this peer goes.
    pub(super) fn source(&self, peer: Peer) -> Source {
        match self {
            Self::Strangers { account, .. } => account.source(peer.address()),
            Self::Operators => peer.address().into(),
        }
    }

    /// Whether this peer may have one more, whoever else has how many: asked before anybody makes room
    /// for it.
    pub(super) fn judge(&self, peer: Peer) -> Result<(), OverBudget> {
        match self.account_for(peer) {
            Some(account) => account.below_cap(Demand::Connection, peer.address()),
            None => Ok(()),
        }
    }

    /// Takes one for this peer; `None` where it is not counted.
    pub(super) fn hold(&self, peer: Peer, now: Timestamp) -> Result<Option<Turn>, OverBudget> {
        let account = self.account_for(peer);
        account
            .map(|account| account.hold(Demand::Connection, peer.address(), now))
            .transpose()
    }

    fn account_for(&self, peer: Peer) -> Option<&Strangers> {
        match self {
            Self::Strangers { account, proxies } => (!proxies.trust_peer(peer)).then_some(account),
            Self::Operators => None,
        }
    }
}
