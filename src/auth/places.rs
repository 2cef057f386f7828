//! Where browsers go that sign in and out: our own endpoints, and the places of the app that they come
//! back to.

use http::HeaderMap;
use http::header::REFERER;
use url::{Url, form_urlencoded};

use crate::auth::prompt::Window;
use crate::auth::return_to::{BadReturnTo, Ground, ReturnTo};
use crate::session::record::Session;

/// The parameter of a login by which the provider's answer must be as strong as was asked for.
pub const STEP_UP: &str = "step_up";

/// The addresses of one site.
#[derive(Debug, Clone)]
pub struct Places {
    public_url: Url,
    mount: String,
    base_path: String,
}

impl Places {
    /// Those of a site that lives below `mount` of this origin, with our endpoints under `base_path`.
    pub const fn new(public_url: Url, mount: String, base_path: String) -> Self {
        Self {
            public_url,
            mount,
            base_path,
        }
    }

    /// The page that stands for none in particular.
    pub fn front_page(&self) -> ReturnTo {
        ReturnTo::front_page(&self.mount)
    }

    /// One of our own endpoints as a path; `name` begins with a slash.
    pub(in crate::auth) fn endpoint(&self, name: &str) -> String {
        format!("{}{name}", self.base_path)
    }

    /// One of our own endpoints as an address.
    pub(in crate::auth) fn address(&self, name: &str) -> Url {
        let mut address = self.public_url.clone();
        address.set_path(&self.endpoint(name));
        address
    }

    /// The port that browsers see.
    pub(in crate::auth) fn port(&self) -> Option<u16> {
        self.public_url.port_or_known_default()
    }

    /// Where a browser signs in.
    pub fn login_url(&self) -> String {
        self.endpoint("/login")
    }

    /// Where a person signs in, in such a window, and comes back to this place.
    pub fn login_link(&self, place: &ReturnTo, window: Window) -> String {
        self.login_link_asking(place, window, [])
    }

    /// The same, for a login that must be as strong and as fresh as is asked for (RFC 9470 §4).
    pub fn step_up_link<'a>(
        &self,
        place: &ReturnTo,
        window: Window,
        asked: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> String {
        self.login_link_asking(place, window, asked.into_iter().chain([(STEP_UP, "true")]))
    }

    /// The same, with parameters for the provider.
    pub fn login_link_asking<'a>(
        &self,
        place: &ReturnTo,
        window: Window,
        asked: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(asked);
        if window == Window::Popup {
            query.append_pair("mode", "popup");
        }
        if *place != self.front_page() {
            query.append_pair("return_to", place.as_str());
        }
        let query = query.finish();
        if query.is_empty() {
            return self.login_url();
        }
        format!("{}?{query}", self.login_url())
    }

    /// The link that ends this session.
    pub(in crate::auth) fn logout_url(&self, session: &Session) -> String {
        let sid = session.details.logout_sid.in_link();
        format!("{}?sid={sid}", self.endpoint("/logout"))
    }

    /// The place that was asked for, if it is one of ours (section F). Where it is none at all, the
    /// page that asked is the nearest to it, and else the front page.
    ///
    /// # Errors
    ///
    /// The place is elsewhere.
    pub fn place(&self, asked: &str, headers: &HeaderMap) -> Result<ReturnTo, BadReturnTo> {
        let place = self.parse(asked)?;
        Ok(place.unwrap_or_else(|| self.page_that_asked(headers)))
    }

    /// The page of ours that the browser comes from, as far as it says; else the front page.
    pub fn page_that_asked(&self, headers: &HeaderMap) -> ReturnTo {
        let referer = headers.get(REFERER).and_then(|value| value.to_str().ok());
        referer
            .and_then(|referer| self.parse(referer).ok()?)
            .unwrap_or_else(|| self.front_page())
    }

    pub(in crate::auth) fn parse(&self, text: &str) -> Result<Option<ReturnTo>, BadReturnTo> {
        let ground = Ground {
            origin: &self.public_url,
            mount: &self.mount,
            base_path: &self.base_path,
        };
        ReturnTo::parse(text, ground)
    }
}
