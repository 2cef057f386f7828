//! What a session takes of this process's memory, about: a few percent more rather than less.

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

/// Access tokens count twice, so that the sum is rather more than less.
fn of_tokens(tokens: &Tokens) -> usize {
    let texts = [
        2 * tokens.own.authorization.len(),
        tokens
            .refresh_token
            .as_deref()
            .map_or(0, |token| token.expose().len()),
        tokens
            .id_token
            .as_deref()
            .map_or(0, |token| token.expose().len()),
        tokens
            .proof_key
            .as_deref()
            .map_or(0, |key| key.expose().len()),
    ];
    let others = tokens
        .others
        .iter()
        .map(|other| ANOTHER + 2 * (other.key.len() + other.access.authorization.len()));
    texts.into_iter().chain(others).sum()
}
