//! What a developer is told under `bff dev`, and a stranger never: what is not running, and where
//! it was looked for.

use crate::pipeline::error::Refusal;
use crate::proxy::forward::ForwardError;

/// Who may read what lies behind us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Audience {
    /// Anybody: addresses behind us are nobody's business.
    #[default]
    Public,
    /// Whoever runs `bff dev`, on the machine that all of it runs on.
    Developer,
}

/// The sentence in the place of the public one, where there is more to say.
pub(in crate::pipeline) fn told(refusal: &Refusal, audience: Audience) -> Option<String> {
    match (audience, refusal) {
        (
            Audience::Developer,
            Refusal::Forward(ForwardError::Connect {
                route, upstream, ..
            }),
        ) => Some(not_started(route, upstream)),
        (Audience::Public | Audience::Developer, _) => None,
    }
}

/// Nothing listens there: mostly since nobody has started it yet.
fn not_started(route: &str, upstream: &str) -> String {
    if route == "/" {
        format!(
            "Nothing answers at {upstream}, the app's development server. Start it: npm run dev"
        )
    } else {
        format!(
            "Nothing answers at {upstream}, where bff.toml sends {route}. Is your API running? \
             Start it, or change the upstream of this [[route]]."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was "The service behind this address cannot be reached", whatever had not been started.
    #[test]
    fn a_developer_is_told_what_is_not_running() {
        let refusal = |route: &str, upstream: &str| {
            Refusal::Forward(ForwardError::Connect {
                route: route.into(),
                upstream: upstream.to_owned(),
                source: std::io::ErrorKind::ConnectionRefused.into(),
            })
        };
        let vite = refusal("/", "http://localhost:5173");
        assert_eq!(
            told(&vite, Audience::Developer).as_deref(),
            Some(
                "Nothing answers at http://localhost:5173, the app's development server. \
                 Start it: npm run dev"
            )
        );
        let api = told(
            &refusal("/api", "http://localhost:9000"),
            Audience::Developer,
        );
        let api = api.unwrap();
        assert!(
            api.starts_with("Nothing answers at http://localhost:9000, where bff.toml sends /api."),
            "{api}"
        );
        assert_eq!(told(&vite, Audience::Public), None);
        assert_eq!(told(&Refusal::NoRoute, Audience::Developer), None);
    }
}
