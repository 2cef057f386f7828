//! `route.identity` and `server.identity_keys`: who calls, told to upstreams in a token of our own.

use std::sync::Arc;

use http::HeaderName;

use crate::config::SiteConfig;
use crate::config::error::Faults;
use crate::config::file::ServerTable;
use crate::config::identity_table::{IdentityChoice, IdentityTable};
use crate::config::reader::{Field, Written};
use crate::config::resolve::headers::settable_name;
use crate::config::resolve::{Purpose, Surroundings};
use crate::config::route_table::RouteTable;
use crate::proxy::{HeaderChanges, RouteAuth};
use crate::web::identity::{IdentityKeys, IdentitySettings};

const X_BFF_IDENTITY: HeaderName = HeaderName::from_static("x-bff-identity");

/// What a route tells its upstream of who calls; the outer `None` after a fault.
#[expect(clippy::option_option, reason = "nothing, or what cannot be told")]
pub(super) fn identity(
    field: &Field<IdentityChoice>,
    auth: RouteAuth,
    changes: Option<&mut HeaderChanges>,
    faults: &mut Faults,
) -> Option<Option<IdentitySettings>> {
    let Some(written) = field.written() else {
        return (!field.stands()).then_some(None);
    };
    let settings = match &written.value {
        IdentityChoice::Plain(false) => return Some(None),
        IdentityChoice::Plain(true) => IdentitySettings {
            audience: None,
            claims: None,
            header: X_BFF_IDENTITY,
        },
        IdentityChoice::Table(table) => of_table(table, faults)?,
    };
    if auth == RouteAuth::None {
        written.refuse(
            faults,
            "tells of a session, and auth is \"none\": no session is looked for",
            "write auth = \"required\" or \"optional\", or leave identity out",
        );
        return None;
    }
    let changes = changes?;
    if changes.touch(&settings.header) {
        written.refuse(
            faults,
            format!(
                "travels in {}, which request_headers sets or removes",
                settings.header
            ),
            "leave it out there, or write another header",
        );
        return None;
    }
    // Nobody but us writes it, whether there is a session or not.
    changes.remove.push(settings.header.clone());
    Some(Some(settings))
}

fn of_table(table: &IdentityTable, faults: &mut Faults) -> Option<IdentitySettings> {
    let header = match table.header.written() {
        Some(written) => settable_name(written, &written.value, faults)?,
        None if table.header.stands() => return None,
        None => X_BFF_IDENTITY,
    };
    if table.claims.stands() && table.claims.written().is_none() {
        return None;
    }
    let claims = table.claims.written();
    let claims = claims.map(|written| written.value.iter().map(|claim| claim.value.clone()));
    Some(IdentitySettings {
        audience: table
            .audience
            .written()
            .map(|written| written.value.clone()),
        claims: claims.map(Iterator::collect),
        header,
    })
}

/// The keys that sign, of the process; `None` where there are none, and after a fault.
pub(super) fn keys(
    server: &ServerTable,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Arc<IdentityKeys>> {
    if !surroundings.purpose.needs_secrets() {
        return None;
    }
    if surroundings.purpose.is_development() && !server.identity_keys.stands() {
        // Nobody should need production's keys for a try on their own machine.
        return IdentityKeys::fresh().map(Arc::new);
    }
    let written = server.identity_keys.written()?;
    let sources = &written.value;
    let pems: Option<Vec<_>> = sources
        .iter()
        .map(|source| source.resolve(surroundings.secrets(), faults))
        .collect();
    let pems: Vec<&str> = pems.iter().flatten().map(|pem| pem.as_str()).collect();
    match IdentityKeys::read(&pems) {
        Ok(keys) => keys.map(Arc::new),
        Err((at, fault)) => {
            if let Some(source) = sources.get(at) {
                source.refuse(
                    faults,
                    format!("{:?} {fault}", source.value),
                    "put there what `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` prints",
                );
            }
            None
        }
    }
}

/// A route that tells who calls needs a key to sign with, and somebody whom it is for.
pub(super) fn judge(
    field: &Field<Vec<Written<RouteTable>>>,
    site: &SiteConfig,
    server: &ServerTable,
    purpose: Purpose,
    faults: &mut Faults,
) {
    for (written, route) in field.or(Vec::new()).iter().zip(&site.routes) {
        let (Some(identity), Some(settings)) = (written.value.identity.written(), &route.identity)
        else {
            continue;
        };
        if !server.identity_keys.stands() && !purpose.is_development() {
            identity.refuse(
                faults,
                "is signed, and there is no key to sign it with",
                "write server.identity_keys = [\"file:identity.pem\"] and put there what `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` prints",
            );
        }
        let is_nobodys = route.upstreams.iter().any(|url| url.scheme() == "unix");
        if settings.audience.is_none() && is_nobodys {
            identity.refuse(
                faults,
                "is for the upstream's origin, and a socket file has none",
                "write identity = { audience = \"orders\" }, as the upstream is to be called",
            );
        }
    }
}
