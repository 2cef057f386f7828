//! How large the heads get that we send, for whoever sets the buffers of a proxy before us.

use crate::auth::LogoutHint;
use crate::config::Config;
use crate::oidc::LONGEST_ADDRESS;
use crate::session::StorePlace;
use crate::session::cookie::LARGEST_COOKIE;
use crate::web::cookie_names::MOST_CHUNKS;

/// What an answer says beside the address it leads to and the cookies it sets.
const OTHER_FIELDS: usize = 1024;

/// An address at the provider without a hint. A link that somebody wrote longer than that fails for
/// whoever follows it.
const ADDRESS_WITHOUT_HINT: usize = 3072;

const KIBI: usize = 1024;

/// The octets of the largest head: that of a login, of a logout, or of an answer that carries a session.
pub(super) fn largest_head(config: &Config) -> usize {
    let mut hints = config.faces().map(|site| site.auth.logout_hint);
    let address = if hints.any(|hint| hint == LogoutHint::IdToken) {
        LONGEST_ADDRESS
    } else {
        ADDRESS_WITHOUT_HINT
    };
    let cookies = match config.store.place {
        StorePlace::Cookie => {
            let room = crate::app::room_for_cookies(config.server.limits.head_bytes);
            room.min(MOST_CHUNKS * LARGEST_COOKIE)
        }
        // A login under way.
        _ => LARGEST_COOKIE,
    };
    OTHER_FIELDS + address + cookies
}

/// The same as a sentence, with the line that nginx needs.
pub(super) fn note(config: &Config) -> String {
    let kibibytes = largest_head(config).div_ceil(KIBI);
    format!(
        "note: the largest head that it sends has about {kibibytes} KiB; a proxy before it must take that \
         (nginx: proxy_buffer_size {}k)",
        kibibytes.next_power_of_two()
    )
}
