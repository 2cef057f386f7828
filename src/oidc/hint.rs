//! `id_token_hint`: tells the provider who is meant, in an address that must stay short enough for
//! all who carry it (RP-Initiated Logout §2, OIDC Core §3.1.2.1).

use url::Url;

use crate::secret::IdToken;

/// Octets that a hint may have in the address. With groups or roles in it, an ID token has many
/// thousands: Entra ID refuses such an address, and a proxy before us cannot hold its head.
pub(super) const LONGEST_HINT: usize = 2048;

/// Octets that the whole address may have with a hint in it.
pub const LONGEST_ADDRESS: usize = 4096;

/// Adds `id_token_hint` to the query of `url`, where the address stays short enough. Called last,
/// when all that must be there is. Whether it was added.
pub(super) fn add_id_token_hint(url: &mut Url, id_token: &IdToken) -> bool {
    let mut with_hint = url.clone();
    id_token.append_to(&mut with_hint.query_pairs_mut());
    let (before, after) = (url.as_str().len(), with_hint.as_str().len());
    let fits = after - before <= LONGEST_HINT && after <= LONGEST_ADDRESS;
    if fits {
        *url = with_hint;
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E3: a hint that makes the address too long for servers and proxies is left out.
    #[test]
    fn a_long_hint_is_left_out() {
        let cases = [
            ("short", 1000, 100, true),
            ("as long as may be", LONGEST_HINT - 15, 100, true),
            ("too long", LONGEST_HINT - 14, 100, false),
            ("much too long", 11_000, 100, false),
            ("short, in a long address", 1000, 3500, false),
        ];
        for (name, hint, address, expected) in cases {
            let address = format!("https://id.example.com/end?x={}", "x".repeat(address));
            let mut url = Url::parse(&address).unwrap();
            let added = add_id_token_hint(&mut url, &IdToken::new("h".repeat(hint)));
            assert_eq!(added, expected, "{name}");
            assert_eq!(url.as_str().contains("id_token_hint"), expected, "{name}");
            assert!(url.as_str().starts_with(&address), "{name}");
        }
    }
}
