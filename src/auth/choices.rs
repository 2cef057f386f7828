//! The providers that a site offers its people, where it has several, and how a login link names one.

use std::borrow::Cow;

use http::HeaderMap;
use url::{Url, form_urlencoded};

use crate::session::cookie::values_of;
use crate::web::registration::Registration;

/// The parameter of a login link that names a provider.
const PROVIDER: &str = "provider";

/// One of several providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What links and addresses call it.
    pub name: Box<str>,
    /// What people do.
    pub label: Box<str>,
    /// The address of a picture of it.
    pub logo: Option<Box<str>>,
    /// Who we are there, which is what sessions and logins know it by.
    pub registration: Registration,
}

/// All that a site offers, in the order written; none where it has one provider.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// Each.
    pub all: Vec<Choice>,
    /// The name of the one that a link without a name means.
    pub default: Option<Box<str>>,
    /// The app's own page that offers them, in place of ours.
    pub page: Option<Url>,
}

impl Choices {
    /// Whether there is nothing to choose.
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether what names no provider is of the site's own: its only one, or the default.
    pub const fn has_default(&self) -> bool {
        self.all.is_empty() || self.default.is_some()
    }

    /// Whether a person chooses, wherever a login names no provider.
    pub const fn must_be_made(&self) -> bool {
        self.all.len() > 1 && self.default.is_none()
    }

    /// The name of the one that signed somebody in.
    pub fn name_of(&self, registration: &Registration) -> Option<&str> {
        let found = self.all.iter();
        let mut found = found.filter(|choice| choice.registration == *registration);
        found.next().map(|choice| &*choice.name)
    }

    /// What a person chooses from: the last choice of this browser first.
    pub fn offered(&self, last: Option<&str>) -> Vec<&Choice> {
        let is_last = |choice: &&Choice| last == Some(&*choice.name);
        let (mut offered, rest): (Vec<_>, Vec<_>) = self.all.iter().partition(is_last);
        offered.extend(rest);
        offered
    }

    /// The name that a login link says.
    ///
    /// # Errors
    ///
    /// It says more than one.
    pub fn named_in(query: &str) -> Result<Option<Cow<'_, str>>, Repeated> {
        let mut named = form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| name == PROVIDER)
            .map(|(_, value)| value);
        match (named.next(), named.next()) {
            (named, None) => Ok(named),
            (_, Some(_)) => Err(Repeated),
        }
    }

    /// The same login link, at the provider of this name.
    pub fn link(login_url: &str, query: &str, name: &str) -> String {
        let rest = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != PROVIDER);
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(rest).append_pair(PROVIDER, name);
        format!("{login_url}?{}", query.finish())
    }

    /// The last choice of this browser, by the cookie of this name.
    pub fn last<'a>(&'a self, headers: &HeaderMap, cookie: &str) -> Option<&'a str> {
        let said = values_of(headers, cookie).next()?;
        let mut all = self.all.iter().map(|choice| &*choice.name);
        all.find(|name| name.as_bytes() == said)
    }
}

/// A link names more than one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated;
