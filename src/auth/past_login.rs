//! A login that is over, as its browser remembers it: where it was going, and no secret.
//!
//! It stands in the cookie of the login, whose name is a hash of the `state`, in the place of the
//! login itself. So a callback that comes once more (*Back* to the provider, which answers at once;
//! a form that was left open for too long; one tab of many) leads where its login was going.

use std::time::Duration;

use crate::auth::login_tail::{Tail, read_tail, with_tail};
use crate::auth::prompt::{Prompt, Window};
use crate::auth::return_to::ReturnTo;
use crate::clock::{Randomness, Timestamp};
use crate::session::seal::{FieldReader, FieldWriter, Keys};
use crate::web::registration::Registration;

/// How long a login is remembered after its time.
pub(in crate::auth) const REMEMBERED_FOR: Duration = Duration::from_hours(24);

/// The longest place that is remembered; of a longer one the front page is left. All that a browser
/// remembers travels with each of its requests.
const LONGEST_PLACE: usize = 512;

/// What a browser remembers of a login that is over.
#[derive(Debug, Clone)]
pub struct PastLogin {
    /// Where it was going.
    pub return_to: ReturnTo,
    /// `max_age`, where it was asked for (D13).
    pub max_age: Option<u64>,
    /// One of these was to be the answer's `acr`, where there are any (D13).
    pub essential_acr: Vec<String>,
    /// Whether the provider was told to ask the user nothing.
    pub prompt: Prompt,
    /// What it was shown in.
    pub window: Window,
    /// How it ended.
    pub end: LoginEnd,
    /// When it ended.
    pub ended: Timestamp,
    /// Who we are at its provider, where the site has several.
    pub registration: Option<Registration>,
}

/// How a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginEnd {
    /// Somebody was signed in.
    SignedIn,
    /// It came too late, was pushed out by others, or was finished elsewhere.
    Unfinished,
}

impl PastLogin {
    /// Sealed for the cookie of this name.
    pub(in crate::auth) fn seal(
        &self,
        name: &str,
        keys: &Keys,
        randomness: &dyn Randomness,
    ) -> String {
        let place = self.return_to.as_str();
        let place = if place.len() > LONGEST_PLACE {
            "/"
        } else {
            place
        };
        let fields = FieldWriter::default()
            .text(place)
            .number(
                self.max_age
                    .map_or(-1, |age| i64::try_from(age).unwrap_or(i64::MAX)),
            )
            .number(self.prompt.and(self.window))
            .number(i64::from(self.end == LoginEnd::SignedIn))
            .number(self.ended.unix_millis());
        let fields = with_tail(
            fields,
            self.registration.as_ref(),
            &self.essential_acr,
            None,
        );
        keys.seal(&sealed_for(name), fields.finish(), randomness)
    }

    /// What the cookie of this name remembers.
    pub(in crate::auth) fn open(name: &str, value: &[u8], keys: &Keys) -> Option<Self> {
        let plaintext = keys.open(&sealed_for(name), value)?;
        let mut fields = FieldReader::new(&plaintext);
        let return_to = ReturnTo::sealed(fields.text()?)?;
        let max_age = u64::try_from(fields.number()?).ok();
        let (prompt, window) = Prompt::and_window(fields.number()?);
        let end = if fields.number()? == 1 {
            LoginEnd::SignedIn
        } else {
            LoginEnd::Unfinished
        };
        let ended = Timestamp::from_unix_millis(fields.number()?);
        let Tail {
            registration,
            essential_acr,
            prover: _,
        } = read_tail(&mut fields)?;
        Some(Self {
            return_to,
            max_age,
            essential_acr,
            prompt,
            window,
            end,
            ended,
            registration,
        })
    }
}

/// Another place than that of a login under way: neither is ever read as the other.
fn sealed_for(name: &str) -> String {
    format!("{name} past")
}
