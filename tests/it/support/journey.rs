//! The steps that many stories share: the way to the provider and back, and who is signed in.

use serde_json::Value;
use url::Url;

use super::browser::{Browser, Fetch, Visit};
use super::idp::PUBLIC_URL;
use super::wire::Reply;

/// The session cookie on https.
pub(crate) const SESSION_COOKIE: &str = "__Host-Http-bff";

/// What the cookies of logins under way begin with.
pub(crate) const LOGIN_COOKIE: &str = "__Host-Http-bff-login-";

/// A login under way has three secrets in its cookie; what is left of one that is over has none, and
/// is shorter than they are.
const WITH_SECRETS: usize = 300;

impl Browser {
    /// The person signs in as `name`, from the front page on.
    pub(crate) async fn sign_in(&mut self, name: &str) -> Visit {
        let visit = self.visit(&login_url(&format!("login_hint={name}"))).await;
        assert_eq!(visit.reply_of("/bff/callback").status, 303, "{visit:?}");
        self.stand_on(PUBLIC_URL);
        visit
    }

    /// The person opens `/bff/login?query`; the redirect is not followed.
    pub(crate) async fn begin_login(&mut self, query: &str) -> Reply {
        self.open(&login_url(query)).await
    }

    /// As [`Self::begin_login`], then on to the provider: where that sends the browser.
    pub(crate) async fn callback_url(&mut self, query: &str) -> Url {
        let begun = self.begin_login(query).await;
        assert_eq!(begun.status, 303, "{begun:?}");
        let authorize = begun.location().unwrap();
        let answer = self.open(authorize.as_str()).await;
        answer
            .location()
            .unwrap_or_else(|| panic!("the provider sends nobody back: {answer:?}"))
    }

    /// Goes where the page that is shown leads by itself: its refresh is a step of its own site.
    pub(crate) async fn go_on(&mut self, shown: &Reply) -> Visit {
        let text = shown.text();
        let refresh = text.split_once("http-equiv=\"refresh\" content=\"0;url=");
        let (_, rest) = refresh.unwrap_or_else(|| panic!("the page leads nowhere: {text}"));
        let link = rest.split('"').next().unwrap().replace("&amp;", "&");
        self.stand_on(shown.url.as_str());
        self.click(&link).await
    }

    /// What `/bff/session` tells the app of this browser.
    pub(crate) async fn session(&mut self) -> Value {
        self.stand_on(PUBLIC_URL);
        self.fetch(Fetch::get("/bff/session").csrf()).await.json()
    }

    /// Whose session this is; `None` for nobody's.
    pub(crate) async fn signed_in(&mut self) -> Option<String> {
        self.session().await["user"]["sub"]
            .as_str()
            .map(str::to_owned)
    }

    /// The value of the session cookie.
    pub(crate) fn session_cookie(&self) -> Option<String> {
        self.jar
            .cookie(SESSION_COOKIE)
            .map(|cookie| cookie.value.clone())
    }

    /// The names of the cookies of logins under way.
    pub(crate) fn login_cookies(&self) -> Vec<String> {
        self.cookies_of_logins(|value| value.len() >= WITH_SECRETS)
    }

    /// The names of the cookies of logins that are over.
    pub(crate) fn past_logins(&self) -> Vec<String> {
        self.cookies_of_logins(|value| value.len() < WITH_SECRETS)
    }

    fn cookies_of_logins(&self, are_meant: impl Fn(&str) -> bool) -> Vec<String> {
        let named = self.jar.cookies().iter();
        named
            .filter(|cookie| cookie.name.starts_with(LOGIN_COOKIE) && are_meant(&cookie.value))
            .map(|cookie| cookie.name.clone())
            .collect()
    }

    /// The provider sends the browser back with `callback`, and the browser follows; over the step of
    /// our own site, where there is one.
    pub(crate) async fn come_back(&mut self, callback: &Url) -> Visit {
        self.stand_on("https://id.example/form");
        let visit = self.click(callback.as_str()).await;
        if visit.last().text().contains("http-equiv=\"refresh\"") {
            let step = visit.last().clone();
            return self.go_on(&step).await;
        }
        visit
    }
}

/// `/bff/login?query`.
pub(crate) fn login_url(query: &str) -> String {
    format!("{PUBLIC_URL}/bff/login?{query}")
}

/// The value of a query parameter that stands once.
pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    let mut values = url
        .query_pairs()
        .filter(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned());
    let value = values.next();
    assert!(values.next().is_none(), "{name} stands twice in {url}");
    value
}

/// `url` with one query parameter replaced, or taken out.
pub(crate) fn with_parameter(url: &Url, name: &str, value: Option<&str>) -> Url {
    let mut changed = url.clone();
    changed
        .query_pairs_mut()
        .clear()
        .extend_pairs(url.query_pairs().filter(|(known, _)| known != name));
    if let Some(value) = value {
        changed.query_pairs_mut().append_pair(name, value);
    }
    changed
}

/// Status and code of a refusal, from its JSON or its page.
pub(crate) fn refusal(reply: &Reply) -> String {
    let text = reply.text();
    let code = serde_json::from_str::<Value>(&text)
        .ok()
        .and_then(|problem| problem["code"].as_str().map(str::to_owned))
        .or_else(|| {
            let (_, rest) = text.split_once("<dt>Code</dt><dd>")?;
            rest.split('<').next().map(str::to_owned)
        })
        .unwrap_or_default();
    format!("{} {code}", reply.status)
}

/// Where the page's *Sign in* leads.
pub(crate) fn sign_in_link(reply: &Reply) -> String {
    let text = reply.text();
    let (before, _) = text
        .split_once("\">Sign in</a>")
        .unwrap_or_else(|| panic!("no link to sign in: {text}"));
    let link = before.rsplit_once("href=\"").unwrap().1;
    link.replace("&amp;", "&")
}

/// What a browser says of a navigation that nobody has asked for yet, in all its dialects.
pub(crate) const LOOKING_AHEAD: [(&str, &str); 5] = [
    ("Sec-Purpose", "prefetch"),
    ("Sec-Purpose", "prefetch;prerender"),
    ("Purpose", "prefetch"),
    ("X-Purpose", "preview"),
    ("X-Moz", "prefetch"),
];

/// What a browser says of a navigation to a document, by a page of ours.
pub(crate) const NAVIGATION: [(&str, &str); 4] = [
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Accept", "text/html,*/*;q=0.8"),
];

/// The fields of `reply`, sorted, without those that differ from one answer to the next.
pub(crate) fn steady_fields(reply: &Reply) -> String {
    let unsteady = ["date", "x-request-id", "location", "set-cookie"];
    let mut fields: Vec<String> = reply
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| !unsteady.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    fields.sort();
    fields.join("\n")
}
