//! What a session takes of this process's memory, about: a few percent more rather than less.

use crate::session::fields::token_sizes;
use crate::session::record::Session;
use crate::session::tokens::Tokens;

/// What each session takes besides its texts: itself, what finds it, what says when it ends and when it goes,
/// the books of the cache, and what allocations are rounded up by. Measured with `benches/memory.sh`.
const FRAME: usize = 2048;

/// What each further access token takes besides its texts.
const ANOTHER: usize = 256;

/// What a session with the tokens of now takes, in bytes.
pub(super) fn of(session: &Session) -> u32 {
    let (facts, details) = (&session.facts, &session.details);
    let authentication = &details.authentication;
    let optional = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
    // Names are in the indexes as well.
    let names = 3 * facts.subject.len() + 2 * optional(&facts.provider_sid) + 2 * facts.name.len();
    let texts = details.claims.len()
        + details.grant_facts.len()
        + optional(&details.user_agent)
        + optional(&authentication.acr)
        + authentication
            .amr
            .iter()
            .map(|method| method.len())
            .sum::<usize>();
    let whole = FRAME + names + texts + of_tokens(&session.tokens());
    u32::try_from(whole).unwrap_or(u32::MAX)
}

/// Access tokens are there as they came, and as headers.
fn of_tokens(tokens: &Tokens) -> usize {
    let texts: usize = token_sizes(tokens).map(|(_, size)| size).sum();
    let others = tokens.others.iter();
    let others: usize = others
        .map(|other| ANOTHER + other.key.len() + other.access.authorization.len())
        .sum();
    texts + tokens.own.authorization.len() + others
}
