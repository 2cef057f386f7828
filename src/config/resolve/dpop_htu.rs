//! `route.dpop_htu`: how an upstream knows its own address.

use crate::config::error::Faults;
use crate::config::reader::Field;
use crate::config::resolve::http_url;
use crate::web::token_spec::RouteToken;

/// Origin and path, with no slash at the end; the outer `None` after a fault.
#[expect(clippy::option_option, reason = "nothing, or what is none")]
pub(super) fn dpop_htu(
    field: &Field<String>,
    token: Option<&RouteToken>,
    faults: &mut Faults,
) -> Option<Option<String>> {
    let Some(written) = field.written() else {
        return (!field.stands()).then_some(None);
    };
    let url = http_url(written, "https://orders.example.com/v1", faults)?;
    if matches!(token, Some(RouteToken::None)) {
        written.refuse(
            faults,
            "is an address for proofs, and no token is carried that could be bound to a key",
            "leave dpop_htu out, or write another token",
        );
        return None;
    }
    Some(Some(url.as_str().trim_end_matches('/').to_owned()))
}
