//! At which of a site's providers a person signs in: what a link names, the one that signed them in, the
//! default, or what they choose.

use http::Response;
use http::request::Parts;
use url::form_urlencoded;

use crate::auth::RelyingParty;
use crate::auth::answer::see_other;
use crate::auth::choices::Choices;
use crate::auth::login::{LoginAnswer, LoginError};
use crate::pipeline::Serving;
use crate::pipeline::error::Refusal;
use crate::pipeline::pages::{Offer, choose_provider};
use crate::session::Activity;
use crate::session::cookie::Presented;
use crate::session::store::StoreError;
use crate::web::body::Body;
use crate::web::cookie_names;

/// Where a login goes on.
pub(super) enum Picked<'a> {
    /// At this provider.
    Provider(&'a RelyingParty),
    /// At none, since a person would have to be asked for it and none may be.
    Nobody(LoginAnswer),
    /// Nowhere yet: a person chooses.
    Page(Response<Body>),
}

impl<'a> Serving<'a> {
    /// Where a login link leads.
    pub(super) async fn picked(
        &self,
        parts: &Parts,
        presented: Presented,
    ) -> Result<Picked<'a>, Refusal> {
        let (site, choices) = (self.site, self.site.choices());
        if choices.is_empty() {
            return Ok(Picked::Provider(&site.relying_party));
        }
        let query = parts.uri.query().unwrap_or_default();
        let repeated = |_| LoginError::BadParameter("provider".into());
        if let Some(name) = Choices::named_in(query).map_err(repeated)? {
            let named = site.named(&name).ok_or(LoginError::UnknownProvider)?;
            return Ok(Picked::Provider(named));
        }
        let mut all = site.relying_parties();
        let is_from_elsewhere = form_urlencoded::parse(query.as_bytes())
            .any(|(name, _)| name == "iss")
            && all.any(|at| at.settings().third_party_login);
        if is_from_elsewhere {
            return Ok(Picked::Provider(self.at_issuer_of(query)?));
        }
        // A step up, or a silent look: to where they signed in.
        let own = self.signed_in_at(presented).await;
        if let Some(own) = own.map_err(LoginError::from)? {
            return Ok(Picked::Provider(own));
        }
        if !choices.must_be_made() {
            return Ok(Picked::Provider(&site.relying_party));
        }
        let logins = site.relying_party.logins();
        logins.check_place(parts)?;
        let last = choices.last(&parts.headers, &self.name_of_last_choice());
        if !asks_nobody(query) {
            return Ok(Picked::Page(self.offer(parts, last)));
        }
        // A page that is loaded unseen would show the choice to nobody.
        Ok(match last.and_then(|last| site.named(last)) {
            Some(last) => Picked::Provider(last),
            None => Picked::Nobody(logins.nobody(parts)),
        })
    }

    /// The page that offers the providers: the app's own, or ours.
    fn offer(&self, parts: &Parts, last: Option<&str>) -> Response<Body> {
        let choices = self.site.choices();
        let query = parts.uri.query().unwrap_or_default();
        if let Some(page) = &choices.page {
            let mut page = page.clone();
            let own = form_urlencoded::parse(query.as_bytes());
            page.query_pairs_mut().extend_pairs(own);
            return see_other(page.as_str());
        }
        let login_url = self.site.relying_party.places().login_url();
        let offers = choices.offered(last).into_iter().map(|choice| Offer {
            choice,
            link: Choices::link(&login_url, query, &choice.name),
            is_last: last == Some(&*choice.name),
        });
        let of = format!("{}{}", self.site.public().host(), self.site.mount());
        choose_provider(&of, offers, self.home(parts).as_ref())
    }

    fn name_of_last_choice(&self) -> String {
        cookie_names::provider(self.site.relying_party.session_cookie().name())
    }

    /// The relying party at the provider that signed in whoever comes; `None` for nobody, or where that
    /// provider is gone.
    pub(super) async fn signed_in_at(
        &self,
        presented: Presented,
    ) -> Result<Option<&'a RelyingParty>, StoreError> {
        let site = self.site;
        let Presented::Session(cookie) = presented else {
            return Ok(None);
        };
        if site.others.is_empty() {
            return Ok(Some(&site.relying_party));
        }
        let sessions = site.relying_party.sessions();
        let found = sessions.find(&cookie, Activity::Observes).await?.live();
        Ok(found.and_then(|session| {
            let of = site.of(&session);
            of.signed_in(&session).then_some(of)
        }))
    }

    /// The relying party at the issuer that a third party's login names (B7).
    pub(super) fn at_issuer_of(&self, parameters: &str) -> Result<&'a RelyingParty, LoginError> {
        let site = self.site;
        if site.others.is_empty() {
            return Ok(&site.relying_party);
        }
        let named = form_urlencoded::parse(parameters.as_bytes()).find(|(name, _)| name == "iss");
        let (_, issuer) = named.ok_or(LoginError::OtherIssuer)?;
        let mut all = site.relying_parties();
        let own = all.find(|at| {
            at.settings().third_party_login && at.provider().settings().issuer == *issuer
        });
        own.map(AsRef::as_ref).ok_or(LoginError::OtherIssuer)
    }

    /// The relying party at which a login that is over goes on.
    pub(super) fn resumed_at(&self, parts: &Parts) -> &'a RelyingParty {
        let site = self.site;
        let named = Choices::named_in(parts.uri.query().unwrap_or_default());
        let named = named.ok().flatten();
        named
            .and_then(|name| site.named(&name))
            .unwrap_or(&site.relying_party)
    }
}

/// Whether a login link wants an answer without anybody being asked.
fn asks_nobody(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name == "prompt" && value == "none")
}
