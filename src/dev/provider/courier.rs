//! Who carries logout tokens to the relying parties (Back-Channel Logout §2.5).

use std::fmt;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use url::form_urlencoded;

use super::logout::LogoutNotice;
use crate::web::outbound::Outbound;

/// How long a relying party may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Carries a notice to its relying party.
pub trait Courier: Send + Sync + fmt::Debug {
    /// Posts `notice`, once.
    fn post(&self, notice: LogoutNotice) -> Answered;
}

/// The status of the answer, where one came.
pub type Answered = Pin<Box<dyn Future<Output = Option<u16>> + Send>>;

/// Carries by HTTP.
#[derive(Debug, Default)]
pub struct HttpCourier {
    /// Made when it is first needed: it reads the machine's roots of trust.
    outbound: OnceLock<Option<Outbound>>,
}

impl Courier for HttpCourier {
    fn post(&self, notice: LogoutNotice) -> Answered {
        let outbound = self
            .outbound
            .get_or_init(|| Outbound::new(PATIENCE).ok())
            .clone();
        Box::pin(async move {
            let form = notice.form();
            let request = Request::post(notice.uri.as_str())
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(header::CONTENT_LENGTH, form.len())
                .body(Bytes::from(form))
                .ok()?;
            match outbound?.send(request, PATIENCE).await {
                Ok(answer) => Some(answer.status().as_u16()),
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "a logout token of the development provider did not arrive"
                    );
                    None
                }
            }
        })
    }
}

impl LogoutNotice {
    /// The body that carries it.
    pub fn form(&self) -> String {
        form_urlencoded::Serializer::new(String::new())
            .append_pair("logout_token", &self.logout_token)
            .finish()
    }
}
