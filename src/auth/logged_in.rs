//! What a login that succeeded comes to.

use std::sync::Arc;

use http::{HeaderValue, Response};

use crate::auth::answer::{see_other, with_cookies};
use crate::auth::prompt::Window;
use crate::auth::return_to::ReturnTo;
use crate::session::record::Session;
use crate::web::body::Body;

/// A login that succeeded.
#[derive(Debug)]
pub struct LoggedIn {
    /// Where the browser wanted to go.
    pub return_to: ReturnTo,
    /// What the login is shown in.
    pub window: Window,
    /// The session, unless it was only asked whether the user is signed in at the provider.
    pub session: Option<Arc<Session>>,
    /// The cookies of the answer: the session's, and the deletion of the login's.
    pub cookies: Vec<HeaderValue>,
}

impl LoggedIn {
    /// 303 to the place.
    pub fn redirect(self) -> Response<Body> {
        with_cookies(see_other(self.return_to.as_str()), self.cookies)
    }
}
