//! What answers say for the whole origin, by our own word: an upstream has none there (I11), and
//! where the operator has one, theirs stands alone.

use http::header::STRICT_TRANSPORT_SECURITY;
use http::{HeaderName, HeaderValue, Response};

use crate::proxy::CsrfCheck;
use crate::proxy::route::Route;
use crate::web::body::Body;

/// Where a browser reports its failures to reach us.
pub const NEL: HeaderName = HeaderName::from_static("nel");
/// Takes back what an upstream once said there: addresses of logins stand in such reports (I11).
const NO_NEL: HeaderValue = HeaderValue::from_static("{\"max_age\":0}");

/// What is said, worked out once.
#[derive(Debug, Clone, Default)]
pub struct OwnHeaders {
    /// Whether browsers are to forget where they reported to.
    pub clears_nel: bool,
    /// That browsers are to come by https alone (N2).
    pub hsts: Option<HeaderValue>,
}

impl OwnHeaders {
    /// An answer of our own, to whatever.
    pub(super) fn on_ours(&self, mut response: Response<Body>) -> Response<Body> {
        if self.clears_nel {
            response.headers_mut().insert(NEL, NO_NEL);
        }
        self.add_hsts(&mut response);
        response
    }

    /// An upstream's answer that may be a page. What only scripts call need not say it, since the page
    /// that they run in has.
    pub(super) fn on_upstreams(&self, route: &Route, response: &mut Response<Body>) {
        if route.settings().csrf != Some(CsrfCheck::Header) {
            self.add_hsts(response);
        }
    }

    /// The operator's word on this very answer stands.
    fn add_hsts(&self, response: &mut Response<Body>) {
        if let Some(hsts) = &self.hsts {
            let headers = response.headers_mut();
            headers
                .entry(STRICT_TRANSPORT_SECURITY)
                .or_insert_with(|| hsts.clone());
        }
    }
}
