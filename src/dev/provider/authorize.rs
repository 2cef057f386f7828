//! The authorization endpoint's decisions (RFC 6749 §4.1, OIDC Core §3.1.2): who is asking, who
//! is signed in, and what goes back through the browser.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use super::client::RelyingParty;
use super::core::{ACR_VALUES, Core, Grant, IssuedCode, ProviderSession};
use super::other_grants::audience;
use super::parameters::Parameters;
use super::tamper::Stage;

/// A code is good for one minute (RFC 6749 §4.1.2: at most ten).
const CODE_LIFETIME: Duration = Duration::from_mins(1);

/// What the browser is answered.
#[derive(Debug)]
pub enum Authorization {
    /// Nobody trustworthy asks, so the browser is sent nowhere (RFC 6749 §4.1.2.1).
    Refuse(&'static str),
    /// A person has to say who they are.
    AskWho,
    /// Back to the relying party, with a code or an error.
    Answer(AuthorizationResponse),
}

/// What a person said at the login page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said<'a> {
    /// Nothing: the page has not been shown.
    Nothing,
    /// Who they are.
    User(&'a str),
    /// That they would rather not: `access_denied`.
    No,
}

/// What goes back through the browser.
#[derive(Debug)]
pub struct AuthorizationResponse {
    /// Where to.
    pub redirect_uri: Url,
    /// How.
    pub response_mode: ResponseMode,
    /// What.
    pub parameters: Parameters,
    /// The session at the provider that the browser is to keep from now on.
    pub session: Option<String>,
}

/// How the parameters travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseMode {
    /// In the query of a redirect.
    Query,
    /// In a form that posts itself.
    FormPost,
}

impl Core {
    /// Decides over `request`, sent by a browser that keeps `session`; `said` is what a person
    /// answered at the login page.
    pub fn authorize(
        &self,
        request: &Parameters,
        session: Option<&str>,
        said: Said<'_>,
    ) -> Authorization {
        let asked_for = match self.asked_for(request) {
            Ok(asked_for) => asked_for,
            Err(why) => return Authorization::Refuse(why),
        };
        let authorization = self.decide(&asked_for, session, said);
        if matches!(authorization, Authorization::Answer(_)) {
            self.use_up(request);
        }
        authorization
    }

    fn decide(&self, request: &Parameters, session: Option<&str>, said: Said<'_>) -> Authorization {
        // Before these two are known to be right, an answer would be an open redirector.
        let Some(relying_party) = request
            .value("client_id")
            .and_then(|id| self.relying_party(id))
        else {
            return Authorization::Refuse("The client_id is not known here.");
        };
        let registered = request
            .value("redirect_uri")
            .filter(|uri| relying_party.redirect_uris.iter().any(|known| known == uri))
            .and_then(|uri| Url::parse(uri).ok());
        let Some(redirect_uri) = registered else {
            return Authorization::Refuse("The redirect_uri is not registered for this client.");
        };
        let response_mode = match request.value("response_mode") {
            Some("form_post") => ResponseMode::FormPost,
            _ => ResponseMode::Query,
        };
        let decided = check(request).and_then(|()| {
            let session = self.session_for(request, session, said)?;
            Ok(session.map(|(id, session)| {
                let code = self.issue_code(&relying_party, request, session);
                (id, code)
            }))
        });
        let mut answer = Map::new();
        let session = match decided {
            Ok(None) => return Authorization::AskWho,
            Ok(Some((id, code))) => {
                answer.insert("code".to_owned(), Value::from(code));
                Some(id)
            }
            Err(error) => {
                answer.insert("error".to_owned(), Value::from(error));
                None
            }
        };
        if let Some(state) = request.value("state") {
            answer.insert("state".to_owned(), Value::from(state));
        }
        answer.insert("iss".to_owned(), Value::from(self.issuer()));
        Authorization::Answer(AuthorizationResponse {
            redirect_uri,
            response_mode,
            parameters: self.shaped(answer),
            session,
        })
    }

    /// The session that answers this request: `None` where a person has to be asked.
    fn session_for(
        &self,
        request: &Parameters,
        session: Option<&str>,
        said: Said<'_>,
    ) -> Result<Option<(String, ProviderSession)>, &'static str> {
        let prompt = request.words("prompt");
        let silent = prompt.iter().any(|word| word == "none");
        let ask_again = prompt
            .iter()
            .any(|word| word == "login" || word == "select_account");
        if silent && prompt.len() > 1 {
            return Err("invalid_request");
        }
        let acr = request
            .words("acr_values")
            .iter()
            .find_map(|asked| ACR_VALUES.into_iter().find(|known| known == asked));
        match said {
            Said::Nothing => {}
            Said::User(name) => {
                let user = self.user(name).ok_or("access_denied")?;
                return Ok(Some(self.sign_in(&user.name, acr)));
            }
            // RFC 6749 §4.1.2.1.
            Said::No => return Err("access_denied"),
        }
        let hinted = request
            .value("login_hint")
            .and_then(|hint| self.user(hint))
            .map(|user| user.name.as_str());
        let live = session
            .and_then(|id| Some((id.to_owned(), self.state().sessions.get(id)?.clone())))
            .filter(|(_, session)| {
                self.is_fresh(session, request)
                    && hinted.is_none_or(|hinted| hinted == session.sub)
                    && acr.is_none_or(|acr| acr == session.acr)
            });
        match (live, hinted) {
            (Some(live), _) if !ask_again => Ok(Some(live)),
            _ if silent => Err("login_required"),
            // For scripts: a hint that names somebody stands for that person at the keyboard.
            (_, Some(hinted)) => Ok(Some(self.sign_in(hinted, acr))),
            _ => Ok(None),
        }
    }

    /// Whether `max_age` allows this session (OIDC Core §3.1.2.1).
    fn is_fresh(&self, session: &ProviderSession, request: &Parameters) -> bool {
        let age = self.clock().now().since(session.auth_time);
        request
            .value("max_age")
            .and_then(|seconds| seconds.parse().ok())
            .is_none_or(|seconds| age <= Duration::from_secs(seconds))
    }

    fn sign_in(&self, name: &str, acr: Option<&'static str>) -> (String, ProviderSession) {
        let [weakest, _] = ACR_VALUES;
        let session = ProviderSession {
            sid: self.random(),
            sub: name.to_owned(),
            auth_time: self.clock().now(),
            acr: acr.unwrap_or(weakest),
            client_ids: BTreeSet::new(),
            refreshes: 0,
        };
        let id = self.random();
        self.state().sessions.insert(id.clone(), session.clone());
        (id, session)
    }

    fn issue_code(
        &self,
        relying_party: &RelyingParty,
        request: &Parameters,
        session: ProviderSession,
    ) -> String {
        let code = self.random();
        let now = self.clock().now();
        let text = |name| request.value(name).unwrap_or_default().to_owned();
        let mut state = self.state();
        state.forget_expired(now);
        for live in state.sessions.values_mut() {
            if live.sid == session.sid {
                live.client_ids.insert(relying_party.client_id.clone());
            }
        }
        let grant = state.add_grant(Grant {
            client_id: relying_party.client_id.clone(),
            session,
            scope: request.words("scope"),
            nonce: request.value("nonce").map(str::to_owned),
            audience: audience(request),
        });
        state.codes.insert(
            code.clone(),
            IssuedCode {
                grant,
                redirect_uri: text("redirect_uri"),
                code_challenge: text("code_challenge"),
                thumbprint: request.value("dpop_jkt").map(str::to_owned),
                expires_at: now + CODE_LIFETIME,
                spent: false,
            },
        );
        code
    }

    /// The parameters, after whoever tampers; a list of strings stands for a repeated one.
    fn shaped(&self, answer: Map<String, Value>) -> Parameters {
        let mut answer = Value::Object(answer);
        self.tamper(Stage::AuthorizationResponse, &mut answer);
        let mut parameters = Parameters::default();
        for (name, value) in answer.as_object().into_iter().flatten() {
            match value {
                Value::Array(values) => {
                    for value in values.iter().filter_map(Value::as_str) {
                        parameters.push(name, value);
                    }
                }
                value => parameters.push(name, value.as_str().unwrap_or_default()),
            }
        }
        parameters
    }
}

/// The rules that need no state, each with the error that RFC 6749 §4.1.2.1 names.
pub(super) fn check(request: &Parameters) -> Result<(), &'static str> {
    // A token may be for several (RFC 8707 §2).
    if request.repeated_but_for(&["resource"]).is_some() {
        return Err("invalid_request");
    }
    if request.value("response_type") != Some("code") {
        return Err("unsupported_response_type");
    }
    if !matches!(
        request.value("response_mode"),
        None | Some("query" | "form_post")
    ) {
        return Err("invalid_request");
    }
    // RFC 9700 §2.1.1: S256 alone; its challenge is 32 bytes in base64url (RFC 7636 §4.2).
    if request.value("code_challenge_method") != Some("S256")
        || request.value("code_challenge").map(str::len) != Some(43)
    {
        return Err("invalid_request");
    }
    if request.words("scope").is_empty() {
        return Err("invalid_scope");
    }
    Ok(())
}
