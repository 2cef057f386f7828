//! Sessions in a Redis as bff itself would have written them, so that nobody needs to sign in so often.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use bff::clock::{Clock as _, SystemClock, SystemRandomness};
use bff::secret::SessionKey;
use bff::session::cookie::SessionCookie;
use bff::session::id::SessionId;
use bff::session::journal::{Journal, SubjectNames};
use bff::session::record::{Facts, NewSession};
use bff::session::seal::Keys;
use bff::session::{CookieSettings, Sessions};
use bff::telemetry::Metrics;
use bff::web::registration::Registration;
use bff::web::site_id::SiteId;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::sessions::{session_of, settings};
use crate::stores::{self, AT_ONCE};
use crate::{Outcome, one_thread, tell};

/// Small ones: what they hold is not asked for.
const TOKEN_BYTES: usize = 128;

/// Puts `count` sessions of the bff on `port` into this Redis, of users of this issuer who signed in at
/// this client, and tells each one's cookie. They are sealed by the key in `BFF_SESSION_KEY`.
pub(crate) fn run(port: &str, url: &str, count: &str, issuer: &str, client_id: &str) -> Outcome {
    #[expect(clippy::disallowed_methods, reason = "a key is no argument")]
    let key = env::var("BFF_SESSION_KEY")?;
    let keys = Keys::of(&SessionKey::parse(&key).ok_or("BFF_SESSION_KEY is no key")?);
    let runtime = one_thread()?;
    let store = stores::open("redis", url, keys.clone(), &runtime)?;
    let mut settings = settings();
    let cookie = SessionCookie::new(
        CookieSettings {
            name: format!("bff-{port}"),
            ..settings.cookie.clone()
        },
        keys.of_site(&SiteId::main()),
    );
    settings.cookie = cookie.settings().clone();
    let journal = Journal::new(Metrics::new(), SubjectNames::Clear);
    let site = SiteId::main();
    let sessions = Sessions::new(store, Arc::new(SystemClock), site, &settings, journal);
    let registration = Registration::new(issuer, client_id);
    let begin = async |at: usize| {
        let id = SessionId::random(&SystemRandomness);
        let like = session_of(&format!("user-{at}"), TOKEN_BYTES)?;
        let session = sessions.prepare(NewSession {
            facts: Facts {
                hash: id.hash(),
                registration: registration.clone(),
                ..like.facts
            },
            ..like
        });
        sessions.admit(&session).await?;
        let now = SystemClock.now();
        let line = cookie.issue(&id, now, Duration::ZERO, &SystemRandomness);
        let pair = line.to_str()?.split(';').next().unwrap_or_default();
        tell(pair);
        Outcome::Ok(())
    };
    runtime.block_on(
        stream::iter(0..count.parse()?)
            .map(begin)
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>(),
    )?;
    Ok(())
}
