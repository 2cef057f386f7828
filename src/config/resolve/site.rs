//! One site: everything that its file, or bff.toml for its own, says of one browser app.

use http::HeaderName;

use crate::config::error::Faults;
use crate::config::lists::Named;
use crate::config::reader::Written;
use crate::config::resolve::described::Described;
use crate::config::resolve::public::{Public, public};
use crate::config::resolve::tenancy::{self, Tenancy};
use crate::config::resolve::{
    Surroundings, chooser, clients, frontend, identity, route, route_token, session, table, tls,
};
use crate::config::site_file::SiteFile;
use crate::config::{ClientConfig, SiteConfig};
use crate::proxy::RouteSettings;
use crate::proxy::path::PathRules;
use crate::server::SiteCertificate;

const SERVICE_WORKER_ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");

/// The site, and where browsers find it; both may be missing after a fault.
#[derive(Debug, Default)]
pub(in crate::config) struct Resolved {
    pub(super) public: Option<Public>,
    /// The certificates for its hosts, where it names some; bff.toml's is the listener's, for every other name.
    pub(super) certificates: Vec<SiteCertificate>,
    /// Of a site of tenants.
    pub(super) tenancy: Option<Tenancy>,
    pub(in crate::config) config: Option<SiteConfig>,
}

/// The site that is described, or `None` after noting every fault.
pub(in crate::config) fn site(
    site: &Described<'_>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Resolved {
    faults.turn_to(site.source);
    let public = public(site, surroundings, faults);
    let tenancy = tenancy::tenancy(site, public.as_ref(), surroundings, faults);
    let certificates = match (&public, &tenancy) {
        (Some(public), None) if !site.is_of_bff_toml => {
            let certificate = tls::certificate(&site.file.tls, public.host(), surroundings, faults);
            certificate.into_iter().collect()
        }
        (_, Some(tenancy)) => tenancy.certificates(site, surroundings, faults),
        _ => Vec::new(),
    };
    let surroundings = Surroundings {
        of_nobody: site.draft.is_some(),
        ..surroundings
    };
    let config = settings(site, public.as_ref(), surroundings, faults);
    Resolved {
        public,
        certificates,
        tenancy,
        config,
    }
}

fn settings(
    site: &Described<'_>,
    public: Option<&Public>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<SiteConfig> {
    let file = &*site.file;
    let clients = clients::clients(site, public, surroundings, faults);
    let session = session::session(&file.session, public, faults);
    let frontend = frontend::frontend(&file.frontend, public, surroundings, faults);
    let error_page = frontend::error_page(&file.frontend, surroundings, faults);
    let semicolons = if file.allow_semicolon.stands() {
        &file.allow_semicolon
    } else {
        &site.server.allow_semicolon
    };
    let path_rules = PathRules {
        semicolons: route::semicolons(semicolons.or(false)),
        ..PathRules::STRICT
    };
    let routes = route::routes(
        &file.route,
        public,
        frontend.as_ref(),
        path_rules,
        surroundings,
        faults,
    );
    if let Some(public) = public {
        keep_workers_below(&public.mount, file, faults);
    }
    let (own, others) = clients?;
    let ClientConfig {
        auth,
        provider,
        outbound,
        provider_print,
    } = own;
    let mut settings = SiteConfig {
        id: site.id.clone(),
        file: site.source.path().to_owned(),
        path_rules,
        auth,
        provider_print,
        provider,
        outbound,
        others,
        session: session?,
        routes: routes?,
        frontend: frontend?.files(),
        error_page,
    };
    keep_claims(&mut settings);
    chooser::judge(&file.choose_provider_url, &settings, faults);
    identity::judge(
        &file.route,
        &settings,
        site.server,
        surroundings.purpose,
        faults,
    );
    route_token::judge(&file.route, &settings, surroundings.purpose, faults);
    Some(settings)
}

/// Sessions keep what the routes ask of their users, whichever provider they come from.
fn keep_claims(site: &mut SiteConfig) {
    let mut asked: Vec<String> = site
        .routes
        .iter()
        .flat_map(RouteSettings::claims_asked)
        .map(str::to_owned)
        .collect();
    asked.sort_unstable();
    asked.dedup();
    for other in &mut site.others {
        other.auth.kept_claims.clone_from(&asked);
    }
    site.auth.kept_claims = asked;
}

/// A service worker stands before all pages of its scope: that of a site on a path ends where the site
/// does. Scopes are compared as text, so the slash at the end belongs to it.
fn keep_workers_below(mount: &str, file: &SiteFile, faults: &mut Faults) {
    if mount.is_empty() {
        return;
    }
    let of_routes = file.route.or(Vec::new()).into_iter().map(|route| {
        let (headers, _) = table(&route.value.response_headers);
        headers.set
    });
    let of_files = table(&file.frontend).0.headers;
    let scope = format!("{mount}/");
    for set in of_routes.chain([of_files]) {
        for written in set.or(Named::default()).0 {
            let (name, value) = &written.value;
            let value = value.0.trim();
            let is_wider = !value.starts_with(&scope) || value.contains("..");
            if name.eq_ignore_ascii_case(SERVICE_WORKER_ALLOWED.as_str()) && is_wider {
                refuse_scope(&written, &scope, faults);
            }
        }
    }
}

fn refuse_scope<T>(written: &Written<T>, scope: &str, faults: &mut Faults) {
    written.refuse(
        faults,
        "lets a service worker of this site stand before pages of its neighbours",
        format!("write {scope:?} or what lies below, or leave it out"),
    );
}
