//! What the provider hands the browser for us, read from a query or a form (C2).

use url::form_urlencoded;

/// The parameters that matter here.
#[derive(Default)]
pub(in crate::auth) struct AuthorizationResponse {
    pub(in crate::auth) state: Option<String>,
    pub(in crate::auth) code: Option<String>,
    pub(in crate::auth) iss: Option<String>,
    pub(in crate::auth) error: Option<String>,
    /// Whether the error says that the login took too long at the provider, in Keycloak's words.
    pub(in crate::auth) took_too_long: bool,
    /// The first parameter that stands twice.
    pub(in crate::auth) repeated: Option<&'static str>,
}

impl AuthorizationResponse {
    /// Reads the parameters; of one that stands twice, its name is kept and its first value (C2).
    pub(in crate::auth) fn parse(parameters: &str) -> Self {
        let mut answer = Self::default();
        let mut others = [
            ("id_token", false),
            ("access_token", false),
            ("response", false),
        ];
        for (name, value) in form_urlencoded::parse(parameters.as_bytes()) {
            let (slot, name) = match &*name {
                "state" => (&mut answer.state, "state"),
                "code" => (&mut answer.code, "code"),
                "iss" => (&mut answer.iss, "iss"),
                "error" => (&mut answer.error, "error"),
                "error_description" => {
                    answer.took_too_long |= value == "authentication_expired";
                    continue;
                }
                other => {
                    let known = others.iter_mut().find(|(own, _)| *own == other);
                    if let Some((name, seen)) = known
                        && std::mem::replace(seen, true)
                    {
                        answer.repeated.get_or_insert(*name);
                    }
                    continue;
                }
            };
            if slot.is_none() {
                *slot = Some(value.into_owned());
            } else {
                answer.repeated.get_or_insert(name);
            }
        }
        answer
    }
}
