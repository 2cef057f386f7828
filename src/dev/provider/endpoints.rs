//! The provider over HTTP: which path is which endpoint, and how each decision of the core is
//! written down.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use url::Url;

use super::authorize::{Authorization, AuthorizationResponse, ResponseMode, Said};
use super::core::{Core, OAuthError};
use super::courier::Courier;
use super::logout::{Farewell, LogoutNotice};
use super::misbehaviour::{Change, Fail, Misbehaviour, RequestLine, RequestLog};
use super::pages;
use super::parameters::Parameters;
use super::shown::{Shown, say_nonce};
use crate::clock::Clock;
use crate::dev::apps::name_of;
use crate::dev::serve::{Dropped, json as json_reply, reply};
use crate::web::body::Body;

pub use super::endpoint::Endpoint;

/// The cookie of the provider's own session. Cookies ignore ports, so it must not meet `bff`'s.
const SESSION_COOKIE: &str = "bff-dev-provider";

const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A core behind HTTP; cheap to clone.
#[derive(Debug, Clone)]
pub struct Endpoints(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    core: Arc<Core>,
    clock: Arc<dyn Clock>,
    courier: Arc<dyn Courier>,
    control: Mutex<Control>,
}

#[derive(Debug, Default)]
struct Control {
    misbehaviour: Misbehaviour,
    requests: RequestLog,
}

impl Endpoints {
    /// Puts `core` behind HTTP; `courier` tells the relying parties which sessions ended.
    pub fn new(core: Arc<Core>, clock: Arc<dyn Clock>, courier: Arc<dyn Courier>) -> Self {
        Self(Arc::new(Shared {
            core,
            clock,
            courier,
            control: Mutex::default(),
        }))
    }

    /// Answers one request, as late and as wrong as the control page says.
    ///
    /// # Errors
    /// Where the connection is to be closed with no answer.
    pub async fn answer(&self, request: Request<Bytes>) -> Result<Response<Body>, Dropped> {
        let endpoint = Endpoint::at(request.uri().path());
        if matches!(endpoint, Endpoint::Control | Endpoint::Other) {
            return Ok(self.decide(endpoint, &request));
        }
        let started = self.0.clock.now();
        let (delay, failure) = {
            let control = self.control();
            let misbehaviour = &control.misbehaviour;
            (misbehaviour.delay(), misbehaviour.failure_of(endpoint))
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let answer = match failure {
            Fail::None => Ok(self.decide(endpoint, &request)),
            Fail::InternalError => Ok(reply(StatusCode::INTERNAL_SERVER_ERROR, HTML, "asked to")),
            Fail::Unavailable => Ok(reply(StatusCode::SERVICE_UNAVAILABLE, HTML, "asked to")),
            Fail::Drop => Err(Dropped),
        };
        let line = RequestLine {
            at: started.rfc3339(),
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            status: answer.as_ref().map_or(0, |answer| answer.status().as_u16()),
            elapsed_ms: self.0.clock.now().since(started).as_millis(),
        };
        self.control().requests.add(line);
        answer
    }

    /// Posts every notice, each on its own, and lists what became of it. Nobody waits for that: a
    /// relying party that is away holds up no logout.
    fn tell(&self, notices: Vec<LogoutNotice>) {
        for notice in notices {
            let endpoints = self.clone();
            tokio::spawn(async move {
                let Shared { clock, courier, .. } = &*endpoints.0;
                let started = clock.now();
                let path = notice.uri.to_string();
                let status = courier.post(notice).await;
                let line = RequestLine {
                    at: started.rfc3339(),
                    method: Method::POST.to_string(),
                    path,
                    status: status.unwrap_or(0),
                    elapsed_ms: clock.now().since(started).as_millis(),
                };
                endpoints.control().requests.add(line);
            });
        }
    }

    fn decide(&self, endpoint: Endpoint, request: &Request<Bytes>) -> Response<Body> {
        let core = &self.0.core;
        match (endpoint, request.method()) {
            (Endpoint::Discovery, &Method::GET) => json_reply(StatusCode::OK, &core.metadata()),
            (Endpoint::Jwks, &Method::GET) => json_reply(StatusCode::OK, &core.jwks()),
            (Endpoint::Authorize, &Method::GET | &Method::POST) => self.authorize(request),
            (Endpoint::Token, &Method::POST) => match form(request) {
                Some(form) => self.with_nonce(written(core.token(&form, shown(request)))),
                None => written(Err(not_a_form())),
            },
            (Endpoint::Pushed, &Method::POST) => match form(request) {
                Some(form) => pushed(core.push(&form, shown(request))),
                None => written(Err(not_a_form())),
            },
            (Endpoint::UserInfo, &Method::GET | &Method::POST) => self.userinfo(request),
            (Endpoint::EndSession, &Method::GET | &Method::POST) => self.end_session(request),
            (Endpoint::Revocation, &Method::POST) => match form(request) {
                Some(form) => match core.revoke(&form, authorization(request)) {
                    Ok(()) => reply(StatusCode::OK, "application/json", ""),
                    Err(error) => written(Err(error)),
                },
                None => written(Err(not_a_form())),
            },
            (Endpoint::Control, &Method::GET | &Method::POST) => self.control_page(request),
            (Endpoint::Other, &Method::GET) => asset(request.uri().path()),
            _ => reply(StatusCode::METHOD_NOT_ALLOWED, HTML, "No such method here."),
        }
    }

    fn authorize(&self, request: &Request<Bytes>) -> Response<Body> {
        // The login page posts the whole request again, with the person who was chosen.
        let parameters = query_or_form(request);
        let form = form(request).unwrap_or_default();
        let said = match (form.value("cancel"), form.value("user")) {
            (Some(_), _) => Said::No,
            (None, Some(user)) => Said::User(user),
            (None, None) => Said::Nothing,
        };
        let core = &self.0.core;
        match core.authorize(&parameters, session_cookie(request), said) {
            Authorization::Refuse(why) => page(StatusCode::BAD_REQUEST, pages::refusal(why)),
            Authorization::AskWho => {
                let client_id = parameters.value("client_id").filter(|_| core.has_several());
                let html = pages::login(core.users(), &parameters, client_id.map(name_of));
                page(StatusCode::OK, html)
            }
            Authorization::Answer(answer) => respond(&answer),
        }
    }

    fn userinfo(&self, request: &Request<Bytes>) -> Response<Body> {
        let method = request.method().as_str();
        self.with_nonce(match self.0.core.userinfo(shown(request), method) {
            Ok(claims) => json_reply(StatusCode::OK, &claims),
            Err(refusal) => {
                let mut response = reply(StatusCode::UNAUTHORIZED, "application/json", "");
                if let Ok(challenge) = HeaderValue::from_str(&refusal.challenge()) {
                    response
                        .headers_mut()
                        .insert(header::WWW_AUTHENTICATE, challenge);
                }
                response
            }
        })
    }

    fn with_nonce(&self, mut response: Response<Body>) -> Response<Body> {
        say_nonce(response.headers_mut(), self.0.core.fresh_nonce());
        response
    }

    fn end_session(&self, request: &Request<Bytes>) -> Response<Body> {
        let parameters = query_or_form(request);
        let core = &self.0.core;
        let farewell = core.end_session(&parameters, session_cookie(request));
        let Farewell {
            next,
            browser_stays,
            notices,
            frames,
        } = farewell;
        self.tell(notices);
        let mut response = match next {
            Some(next) if frames.is_empty() => redirect(next.as_str()),
            next => framing(pages::signed_out(&frames, next.as_ref()), &frames),
        };
        if !browser_stays {
            set_session(&mut response, "", "; Max-Age=0");
        }
        response
    }

    fn control_page(&self, request: &Request<Bytes>) -> Response<Body> {
        if request.uri().path() == "/control" {
            return page(StatusCode::OK, pages::CONTROL_HTML.to_owned());
        }
        if request.method() == Method::POST {
            // A form of another site cannot send this type, and a fetch would ask first (CORS).
            if content_type(request) != Some("application/json") {
                return reply(StatusCode::UNSUPPORTED_MEDIA_TYPE, HTML, "Send JSON.");
            }
            let change: Change = match serde_json::from_slice(request.body()) {
                Ok(change) => change,
                Err(error) => {
                    let message = json!({ "error": error.to_string() });
                    return json_reply(StatusCode::BAD_REQUEST, &message);
                }
            };
            self.control().misbehaviour.change(&change);
            if let Some(seconds) = change.access_token_seconds {
                self.0.core.set_access_token_seconds(seconds);
            }
            if let Some(user) = &change.sign_out_user {
                self.tell(self.0.core.sign_out_user(user));
            }
            if let Some(sid) = &change.sign_out_session {
                self.tell(self.0.core.sign_out_session(sid));
            }
            if change.revoke_all == Some(true) {
                self.0.core.revoke_all();
            }
        }
        json_reply(StatusCode::OK, &self.control_state())
    }

    fn control_state(&self) -> Value {
        let core = &self.0.core;
        let sessions: Vec<Value> = core
            .sessions()
            .into_iter()
            .map(|session| {
                json!({
                    "user": session.sub,
                    "sid": session.sid,
                    "apps": session.client_ids.iter().map(|id| name_of(id)).collect::<Vec<_>>(),
                    "created_at": session.auth_time.rfc3339(),
                    "refresh_count": session.refreshes,
                })
            })
            .collect();
        let control = self.control();
        let mut state = json!(control.misbehaviour);
        if let Some(state) = state.as_object_mut() {
            state.insert(
                "access_token_seconds".to_owned(),
                json!(core.access_token_seconds()),
            );
            state.insert("several_apps".to_owned(), core.has_several().into());
            state.insert("sessions".to_owned(), Value::from(sessions));
            state.insert("requests".to_owned(), json!(control.requests.lines()));
        }
        state
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.0
            .control
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token response, or the error in its place (RFC 6749 §5).
fn written(answer: Result<Value, OAuthError>) -> Response<Body> {
    let error = match answer {
        Ok(answer) => return json_reply(StatusCode::OK, &answer),
        Err(error) => error,
    };
    let status = match error.code {
        "invalid_client" => StatusCode::UNAUTHORIZED,
        "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    let body = json!({ "error": error.code, "error_description": error.description });
    let mut response = json_reply(status, &body);
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"provider\"");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// 201, since there is something new (RFC 9126 §2.2).
fn pushed(decided: Result<Value, OAuthError>) -> Response<Body> {
    let taken = decided.is_ok();
    let mut response = written(decided);
    if taken {
        *response.status_mut() = StatusCode::CREATED;
    }
    response
}

fn respond(answer: &AuthorizationResponse) -> Response<Body> {
    let mut response = match answer.response_mode {
        ResponseMode::FormPost => page(StatusCode::OK, pages::form_post(answer)),
        ResponseMode::Query => {
            let mut url = answer.redirect_uri.clone();
            url.query_pairs_mut().extend_pairs(answer.parameters.iter());
            redirect(url.as_str())
        }
    };
    if let Some(session) = &answer.session {
        set_session(&mut response, session, "");
    }
    response
}

/// 303, since the request may have been a POST (RFC 9700 §4.12).
fn redirect(location: &str) -> Response<Body> {
    let mut response = reply(StatusCode::SEE_OTHER, HTML, "");
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    let policy = HeaderValue::from_static("no-referrer");
    response
        .headers_mut()
        .insert(header::REFERRER_POLICY, policy);
    response
}

// No form-action: a browser holds it against the redirect that follows the form, too.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'";

fn page(status: StatusCode, html: String) -> Response<Body> {
    let mut response = reply(status, HTML, html);
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    response
}

/// A page that loads `frames`, and may load no others.
fn framing(html: String, frames: &[Url]) -> Response<Body> {
    let mut response = page(StatusCode::OK, html);
    let origins: Vec<_> = frames
        .iter()
        .map(|frame| frame.origin().ascii_serialization())
        .collect();
    let policy = format!("{POLICY}; frame-src {}", origins.join(" "));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn asset(path: &str) -> Response<Body> {
    match path {
        "/provider.css" => reply(
            StatusCode::OK,
            "text/css; charset=utf-8",
            pages::PROVIDER_CSS,
        ),
        "/control.js" => reply(StatusCode::OK, JAVASCRIPT, pages::CONTROL_JS),
        "/form_post.js" => reply(StatusCode::OK, JAVASCRIPT, pages::FORM_POST_JS),
        "/signed_out.js" => reply(StatusCode::OK, JAVASCRIPT, pages::SIGNED_OUT_JS),
        _ => reply(StatusCode::NOT_FOUND, HTML, "Nothing here."),
    }
}

fn set_session(response: &mut Response<Body>, value: &str, more: &str) {
    let cookie = format!("{SESSION_COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax{more}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

fn session_cookie(request: &Request<Bytes>) -> Option<&str> {
    request
        .headers()
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == SESSION_COOKIE)
        .map(|(_, value)| value)
}

fn authorization(request: &Request<Bytes>) -> Option<&str> {
    shown(request).authorization
}

fn shown<B>(request: &Request<B>) -> Shown<'_> {
    Shown::of(request.headers())
}

/// The media type, without its parameters.
fn content_type(request: &Request<Bytes>) -> Option<&str> {
    let value = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

fn form(request: &Request<Bytes>) -> Option<Parameters> {
    (content_type(request) == Some("application/x-www-form-urlencoded"))
        .then(|| Parameters::parse(request.body()))
}

fn query_or_form(request: &Request<Bytes>) -> Parameters {
    form(request)
        .unwrap_or_else(|| Parameters::parse(request.uri().query().unwrap_or_default().as_bytes()))
}

const fn not_a_form() -> OAuthError {
    OAuthError::new("invalid_request", "a form is needed")
}
