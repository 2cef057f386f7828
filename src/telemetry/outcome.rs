//! What logins, logouts and refreshes come to, in the words of the metrics and the log. docs/metrics.md
//! lists them.

/// Declares an enum of outcomes with the words for them.
macro_rules! outcomes {
    ($(#[$doc:meta])+ $type:ident { $($(#[$own:meta])+ $name:ident $word:literal,)+ }) => {
        $(#[$doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$own])+ $name,)+
        }

        impl $type {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

outcomes! {
    /// What a login came to.
    LoginOutcome {
        /// Somebody is signed in, or the page knows that nobody is.
        Ok "ok",
        /// The provider, or a check of its answer, said no.
        Refused "refused",
        /// The provider could not be asked.
        ProviderUnavailable "provider_unavailable",
        /// The session could not be stored.
        StoreUnavailable "store_unavailable",
        /// Strangers ask for too much at once.
        OverBudget "over_budget",
        /// The user has as many sessions as there may be.
        SessionLimit "session_limit",
        /// The session does not fit into a cookie.
        TooLarge "too_large",
        /// An answer for a login that is over.
        Over "over",
    }
}

outcomes! {
    /// What a logout came to, and who asked for it.
    LogoutOutcome {
        /// The user, in the browser that was signed in.
        Ok "ok",
        /// The user, from the list of their sessions.
        Sessions "sessions",
        /// The provider, by its back channel.
        Backchannel "backchannel",
        /// The provider's page, in a frame.
        Frontchannel "frontchannel",
        /// A logout token that is not taken.
        BackchannelRefused "backchannel_refused",
        /// A logout token that could not be judged, or not obeyed.
        BackchannelUnavailable "backchannel_unavailable",
    }
}

outcomes! {
    /// What a refresh came to.
    RefreshOutcome {
        /// New tokens.
        Ok "ok",
        /// Another node had new tokens first.
        Overtaken "overtaken",
        /// The session ended by it.
        Refused "refused",
        /// No new tokens; the session stays.
        Unavailable "unavailable",
        /// The provider gives no such token; the session and its other tokens stay.
        Declined "declined",
        /// New tokens wait for the store.
        StoreUnavailable "store_unavailable",
        /// New tokens came after the session's end.
        SessionEnded "session_ended",
    }
}

outcomes! {
    /// What another reading of the configuration came to.
    ReloadOutcome {
        /// It is in use as it stands now.
        Applied "applied",
        /// It says nothing new.
        Unchanged "unchanged",
        /// It has faults, and all stays as it was.
        Refused "refused",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// N1: docs/metrics.md names each outcome in the row of its metric, and no other.
    #[test]
    fn every_outcome_is_documented() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        let docs = fs::read_to_string(docs).unwrap();
        let documented = |metric: &str| -> Vec<String> {
            let row = docs
                .lines()
                .find(|line| line.contains(&format!("| `{metric}` |")));
            let told = row.unwrap().split(" | ").nth(2).unwrap();
            let words = told.split('`').skip(1).step_by(2);
            words.map(str::to_owned).collect()
        };
        let logins: Vec<_> = LoginOutcome::ALL.iter().map(|own| own.as_str()).collect();
        let logouts: Vec<_> = LogoutOutcome::ALL.iter().map(|own| own.as_str()).collect();
        let refreshes: Vec<_> = RefreshOutcome::ALL.iter().map(|own| own.as_str()).collect();
        assert_eq!(logins, documented("bff_logins_total"));
        assert_eq!(logouts, documented("bff_logouts_total"));
        assert_eq!(refreshes, documented("bff_token_refreshes_total"));
        let reloads: Vec<_> = ReloadOutcome::ALL.iter().map(|own| own.as_str()).collect();
        assert_eq!(reloads, documented("bff_config_reloads_total"));
    }
}
