//! `/bff/login/resume`: where a browser goes on whose login is over and which was sent back all the
//! same: *Back* to a provider that answers at once, a form that was left open for too long, the
//! oldest of many tabs, a login that was loaded twice.
//!
//! The callback leads here with neither code nor state in the address. After a step of our own site
//! the session shows itself, and whoever is signed in goes on to where that login was going. Nobody
//! else is sent to sign in unasked, unless this browser's own cookie says that it began that login:
//! else any link could begin one (B6).

use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, Response};
use url::form_urlencoded;

use crate::auth::answer::{see_other, with_cookies};
use crate::auth::attempts::{self, Attempts};
use crate::auth::logged_in::LoggedIn;
use crate::auth::login::{LoginAnswer, LoginError, LoginRequest, Logins};
use crate::auth::past_login::{LoginEnd, PastLogin};
use crate::auth::pending_login::{Progress, Window, is_suffix};
use crate::auth::return_to::ReturnTo;
use crate::secret::State;
use crate::session::cookie::Presented;
use crate::session::{Activity, SameSite};
use crate::web::body::Body;
use crate::web::strangers::Source;

pub use crate::auth::login::Trouble;

/// A login that is over, and how often it was tried.
#[derive(Debug, Clone)]
pub struct Again {
    /// What names it, and proves nothing.
    login: String,
    attempts: Attempts,
}

/// That the step of our own site was taken.
const STEPPED: &str = "step";

impl Logins {
    /// The login of a callback that cannot be finished any more.
    pub(in crate::auth) fn again(&self, state: &str) -> Again {
        let attempts = State::carried_by(state)
            .map_or(Attempts::NONE, |text| Attempts::open(&self.keys, text));
        Again {
            login: State::new(state).cookie_suffix(),
            attempts,
        }
    }

    /// 303 to where such a login goes on, with the line that keeps what is known of it.
    pub fn go_on(&self, again: &Again, cookie: Option<HeaderValue>) -> Response<Body> {
        with_cookies(see_other(&self.resume_link(again, false)), cookie)
    }

    /// Answers `/bff/login/resume`.
    ///
    /// # Errors
    ///
    /// Nobody is signed in, and no login begins by itself.
    pub async fn resume(
        &self,
        parts: &Parts,
        presented: Presented,
        source: Source,
    ) -> Result<LoginAnswer, LoginError> {
        let (again, stepped) = self.read_resume_link(parts);
        let strict = self.session_cookie.settings().same_site == SameSite::Strict;
        if strict && !stepped && presented == Presented::Nothing {
            let link = self.resume_link(&again, true);
            return Ok(LoginAnswer::Step { link });
        }
        let now = self.clock.now();
        let known = self.remembered(parts, &again);
        if let Presented::Session(cookie) = presented
            && let Some(session) = self
                .sessions
                .find(&cookie, Activity::Observes)
                .await?
                .live()
        {
            let (return_to, window) = known.map_or_else(
                || (self.places.front_page(), Window::Tab),
                |past| (past.return_to, past.window),
            );
            return Ok(LoginAnswer::SignedIn(LoggedIn {
                return_to,
                window,
                session: Some(session),
                cookies: Vec::new(),
            }));
        }
        let attempts = again.attempts.and_one_more(now);
        let Some(past) = known else {
            let place = self.places.front_page();
            return Err(if attempts.are_too_many() {
                self.hopeless(self.why_no_cookie(parts), &place, Window::Tab)
            } else {
                let link = self.link_to_try(&place, attempts);
                LoginError::Over { link }
            });
        };
        if attempts.are_too_many() {
            let trouble = match past.end {
                LoginEnd::SignedIn => Trouble::NoSession,
                LoginEnd::Unfinished => Trouble::TooLate,
            };
            return Err(self.hopeless(trouble, &past.return_to, past.window));
        }
        self.admit_login(source)?;
        let request = LoginRequest::again(past, attempts);
        let begun = self
            .begin_login(request, &parts.headers, presented, source)
            .await?;
        Ok(LoginAnswer::Begun(begun))
    }

    /// The place and the window of the login that a request for `/bff/login/resume` is about, as far as
    /// this browser remembers it.
    pub fn place_of_resume(&self, parts: &Parts) -> Option<(ReturnTo, Window)> {
        let (again, _) = self.read_resume_link(parts);
        let past = self.remembered(parts, &again)?;
        Some((past.return_to, past.window))
    }

    fn remembered(&self, parts: &Parts, again: &Again) -> Option<PastLogin> {
        let now = self.clock.now();
        let known = self.pending.find_named(&parts.headers, &again.login, now)?;
        let past = match known.progress {
            Progress::Over(past) => past,
            // Finished by another request, whose answer this browser did not wait for.
            Progress::UnderWay(pending) => pending.over(LoginEnd::Unfinished, now),
        };
        // It begins anew at its own provider alone, whatever the link says.
        let is_own = self.pending.owner().takes(past.registration.as_ref());
        is_own.then_some(past)
    }

    /// Looks that a login which begins by itself gets somewhere: of those that signed somebody in, in
    /// this browser and just now, one session should be left.
    ///
    /// # Errors
    ///
    /// There were too many, and it has none.
    pub fn check_progress(
        &self,
        parts: &Parts,
        presented: Presented,
        place: &ReturnTo,
    ) -> Result<(), LoginError> {
        let now = self.clock.now();
        let lately = || {
            self.pending
                .signed_in_within(&parts.headers, attempts::WITHIN, now)
        };
        if presented == Presented::Nothing && lately() >= attempts::MOST {
            return Err(self.hopeless(Trouble::NoSession, place, Window::Tab));
        }
        Ok(())
    }

    fn hopeless(&self, trouble: Trouble, place: &ReturnTo, window: Window) -> LoginError {
        LoginError::Hopeless {
            trouble,
            link: self.places.login_link(place, window),
            window,
        }
    }

    /// Where a person tries once more, with what was counted so far.
    fn link_to_try(&self, place: &ReturnTo, attempts: Attempts) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("return_to", place.as_str());
        if let Some(count) = attempts.seal(&self.keys, &*self.randomness) {
            query.append_pair("tried", &count);
        }
        format!("{}?{}", self.places.login_url(), query.finish())
    }

    fn resume_link(&self, again: &Again, stepped: bool) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("login", &again.login);
        if let Some(count) = again.attempts.seal(&self.keys, &*self.randomness) {
            query.append_pair("tried", &count);
        }
        if stepped {
            query.append_pair(STEPPED, "1");
        }
        if let Some(name) = &self.settings.name {
            query.append_pair("provider", name);
        }
        format!("{}/resume?{}", self.places.login_url(), query.finish())
    }

    fn read_resume_link(&self, parts: &Parts) -> (Again, bool) {
        let mut again = Again {
            login: String::new(),
            attempts: Attempts::NONE,
        };
        let mut stepped = false;
        let query = parts.uri.query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "login" if is_suffix(&value) => again.login = value.into_owned(),
                "tried" => again.attempts = Attempts::open(&self.keys, &value),
                STEPPED => stepped = true,
                _ => {}
            }
        }
        (again, stepped)
    }

    /// A cookie of another port would be here: cookies know no ports, but their names hold ours.
    fn why_no_cookie(&self, parts: &Parts) -> Trouble {
        let said = parts.uri.port_u16().or_else(|| {
            let host = parts.headers.get(HOST)?.to_str().ok()?;
            host.rsplit_once(':')?.1.parse().ok()
        });
        let public = self.places.port();
        if said.is_some() && said != public {
            Trouble::OtherPort
        } else {
            Trouble::NoCookie
        }
    }
}
