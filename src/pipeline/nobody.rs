//! Requests for a place that is no site's: refused, alike whoever asks, but for the back channel of a
//! provider that has another name for us.
//!
//! Where there is one site alone, the refusal has its face. Of several none shows its own to whoever asks
//! for a host that is not its.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, HOST, LOCATION};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, Response, StatusCode};
use url::Url;

use crate::auth::backchannel_logout::ProviderLogouts;
use crate::auth::pending_login::Window;
use crate::pipeline::context::Context;
use crate::pipeline::developer::Audience;
use crate::pipeline::error::{self, Refusal, RefusedRequest};
use crate::pipeline::site::Site;
use crate::pipeline::sites::Absence;
use crate::pipeline::{Pipeline, Serving, pages};
use crate::proxy::message::check_request;
use crate::web::body::Body;
use crate::web::navigation::{Arrival, is_page_load};

/// Who comes to a place where no site is.
pub(super) enum Stranger {
    /// Whoever does.
    Refused(Refusal),
    /// A person at a host that is no tenant's, who may choose one there.
    SentTo(HeaderValue),
}

impl<R: Into<Refusal>> From<R> for Stranger {
    fn from(refusal: R) -> Self {
        Self::Refused(refusal.into())
    }
}

impl Pipeline {
    /// The site that is meant by a request for a place that is none's.
    ///
    /// # Errors
    ///
    /// None is.
    pub(super) fn meant(
        &self,
        absence: Absence,
        host: &str,
        parts: &Parts,
    ) -> Result<Arc<Site>, Stranger> {
        check_request(parts)?;
        match absence {
            Absence::Unmade(fault) => return Err(Refusal::Tenant(fault).into()),
            Absence::NoTenant(address) if is_page_load(parts) => {
                return Err(Stranger::SentTo(address));
            }
            Absence::NoTenant(_) | Absence::Nobody => {}
        }
        if let Some(site) = self.called_from_within(host, parts) {
            return Ok(site);
        }
        // On a host where sites are on paths alone, no proxy has lost a name.
        Err(if self.sites.serve(host) {
            Refusal::NoRoute.into()
        } else {
            Refusal::UnknownHost(host.into()).into()
        })
    }

    /// Answers a request for a place that is none's.
    pub(super) fn answer_stranger(
        &self,
        stranger: Stranger,
        ctx: &mut Context,
        parts: &Parts,
    ) -> Response<Body> {
        match stranger {
            Stranger::Refused(refusal) => self.refuse_stranger(&refusal, ctx, parts),
            Stranger::SentTo(address) => sent_to(address),
        }
    }

    fn refuse_stranger(
        &self,
        refusal: &Refusal,
        ctx: &mut Context,
        parts: &Parts,
    ) -> Response<Body> {
        if let Some(site) = self.sites.only() {
            let serving = Serving {
                site: &site,
                worker: self,
            };
            return serving.refuse(refusal, ctx, parts);
        }
        ctx.code = Some(refusal.code());
        let arrival = Arrival::of(&parts.headers);
        let nobodys = RefusedRequest {
            site: None,
            relying_party: None,
            version: parts.version,
            arrival,
            audience: self.shared.audience,
            return_to: None,
            home: None,
            window: Window::Tab,
            error_page: None,
            warnings: &self.shared.warnings,
            now: self.shared.clock.now(),
        };
        let answer = error::answer(refusal, ctx, &nobodys);
        let is_elsewhere = matches!(refusal, Refusal::UnknownHost(_) | Refusal::NoRoute);
        if is_elsewhere && self.shared.audience == Audience::Developer && arrival.is_seen() {
            return pages::apps_elsewhere(answer.status(), &self.addresses(parts));
        }
        answer
    }

    /// Where the apps begin, and those of some tenants of each: on the port that was asked for.
    fn addresses(&self, parts: &Parts) -> Vec<Url> {
        const TENANTS: usize = 5;
        let table = self.sites.table();
        let all = table.all().iter();
        let sites = all.map(|site| site.relying_party.settings().app_url());
        let authority = parts.headers.get(HOST);
        let authority = authority.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let port = authority.and_then(|authority| authority.port_u16());
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let tenants = table.tenancies().iter().flat_map(|tenancy| {
            let mount = tenancy.mount();
            let tenants = tenancy.tenants().take(TENANTS);
            tenants.filter_map({
                let port = &port;
                move |(_, _, host)| Url::parse(&format!("http://{host}{port}{mount}/")).ok()
            })
        });
        sites.chain(tenants).collect()
    }

    /// The site whose provider calls its back channel by a name of its own: one that we ask within its
    /// network calls from there. Its word is signed, whatever it was sent to; but a token of one client is
    /// nothing to another, and nothing unsigned says whose it is.
    fn called_from_within(&self, host: &str, parts: &Parts) -> Option<Arc<Site>> {
        if parts.method != Method::POST {
            return None;
        }
        let all = self.sites.all();
        let called: Vec<_> = all
            .iter()
            .filter_map(|site| Some((site, site.back_channel_at(parts.uri.path())?)))
            .collect();
        let mut within = called
            .iter()
            .filter(|(_, logouts)| logouts.is_called_by_any_name());
        let Some((site, logouts)) = within.next() else {
            let (_, logouts) = called.first()?;
            self.warn_of_elsewhere(host, logouts, called.len());
            return None;
        };
        // Whichever site of a client takes its token: it ends the client's sessions at all of them.
        let registration = logouts.registration();
        if within.any(|(_, other)| other.registration() != registration) {
            self.warn_of_several(host);
            return None;
        }
        Some(Arc::clone(site))
    }

    /// Any other provider that was given another address of ours than the public one would sign nobody
    /// out, and nobody would know why.
    fn warn_of_elsewhere(&self, host: &str, logouts: &ProviderLogouts, sites: usize) {
        let warnings = &self.shared.warnings;
        let Some(left_out) =
            warnings.due("a logout token for another host", self.shared.clock.now())
        else {
            return;
        };
        let right = logouts.address();
        let remedy = match sites {
            1 => format!("register {right} at the provider"),
            _ => format!("register each site's own address at its provider, such as {right}"),
        };
        tracing::warn!(
            event = "logout.elsewhere",
            host = short(host),
            left_out,
            "a back-channel logout was sent to a host that is not served here; {remedy}"
        );
    }

    fn warn_of_several(&self, host: &str) {
        let warnings = &self.shared.warnings;
        let kind = "a logout token for one of several";
        if let Some(left_out) = warnings.due(kind, self.shared.clock.now()) {
            tracing::warn!(
                event = "logout.elsewhere",
                host = short(host),
                left_out,
                "a back-channel logout was sent to a host that is not served here, at a path that sites of \
                 several clients have; give each of them a base_path of its own, and register that at \
                 its provider"
            );
        }
    }
}

/// Sends a person elsewhere, for now: the host may be a tenant's tomorrow.
fn sent_to(address: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.insert(LOCATION, address);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A stranger's word for a host, as far as a log takes it.
fn short(host: &str) -> &str {
    const LONGEST: usize = 255;
    host.char_indices()
        .nth(LONGEST)
        .and_then(|(end, _)| host.get(..end))
        .unwrap_or(host)
}
