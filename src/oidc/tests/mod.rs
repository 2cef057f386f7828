//! The provider over a real socket: one small server that answers as it is told, one file per
//! story. Rules over inputs are tables beside the code.

mod fake_provider;
mod signing;

mod bought;
mod dpop;
mod id_token;
mod keys;
mod login;
mod logout;
mod logout_token;
mod metadata;
mod refresh;
mod terms;

pub(super) use self::fake_provider::{Answer, FakeProvider};
pub(super) use self::signing::SigningKey;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::clock::{ManualClock, SeededRandomness, Timestamp};
use crate::oidc::{
    ClientAuth, Dpop, ExpectedIdToken, IdTokenAlg, LogoutTokenRules, OwnCertificate, Profile,
    Provider, ProviderLogout, ProviderSettings, PushedAuthorization, RequestObject, ResponseMode,
    TableName,
};
use crate::secret::{AuthorizationCode, ClientSecret, CodeVerifier, Nonce, RefreshToken};
use crate::telemetry::Metrics;
use crate::web::outbound::Outbound;

/// When every test takes place.
pub(super) const NOW: i64 = 1_795_251_600;

/// A relying party `app` of `issuer` that takes ES256.
pub(super) fn settings(issuer: &str) -> ProviderSettings {
    ProviderSettings {
        table: TableName::default(),
        issuer: issuer.to_owned(),
        internal: None,
        client_id: "app".to_owned(),
        client_auth: ClientAuth::SecretBasic(ClientSecret::new("s3cret")),
        certificate: OwnCertificate::None,
        client_secret_expires: None,
        redirect_uri: Url::parse("https://app.example.com/bff/callback").unwrap(),
        discovery: true,
        endpoints: Vec::new(),
        scopes: Some(["openid", "profile"].map(str::to_owned).to_vec()),
        id_token_algs: Some(vec![IdTokenAlg::Es256]),
        trusted_audiences: Vec::new(),
        clock_skew: Duration::from_mins(1),
        logout_tokens: LogoutTokenRules::default(),
        dpop: Dpop::Never,
        pushed_authorization: PushedAuthorization::Auto,
        request_object: RequestObject::Never,
        resources: Vec::new(),
        authorization_details: None,
        profile: Profile::Plain,
        response_mode: ResponseMode::Query,
        require_response_iss: false,
        userinfo: false,
        timeout: Duration::from_secs(10),
        authorize_params: Vec::new(),
        logout: ProviderLogout {
            at_provider: true,
            revokes: true,
            params: Vec::new(),
        },
    }
}

/// The cast of one test.
struct Stage {
    fake: FakeProvider,
    clock: Arc<ManualClock>,
    key: SigningKey,
    provider: Provider,
}

impl Stage {
    async fn set() -> Self {
        Self::set_with(|_| {}).await
    }

    async fn set_with(change: impl FnOnce(&mut ProviderSettings)) -> Self {
        let fake = FakeProvider::start().await;
        let key = SigningKey::es256("one");
        fake.publish(&[&key]);
        let mut settings = settings(fake.issuer());
        change(&mut settings);
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_unix_seconds(NOW)));
        let provider = Provider::new(
            settings,
            Outbound::new(Duration::from_secs(10)).unwrap(),
            Arc::clone(&clock) as _,
            Arc::new(SeededRandomness::new(1)),
            Metrics::default(),
        );
        Self {
            fake,
            clock,
            key,
            provider,
        }
    }
}

/// Every method may be awaited on any thread.
#[test]
fn the_futures_are_send() {
    fn check<F: Future + Send>(_: fn(&'static Provider) -> F) {}
    check(Provider::metadata);
    check(|provider| provider.check_response_issuer(None));
    check(|provider| provider.revoke(None, None));
    check(|provider| provider.clone().keep_fresh());
    check(|provider| provider.verify_logout_token(""));
    check(|provider| async move {
        let nonce = Nonce::new("");
        let expected = ExpectedIdToken {
            nonce: &nonce,
            begun: Timestamp::from_unix_seconds(NOW),
            max_age: None,
            essential_acr: &[],
        };
        let code = AuthorizationCode::new("");
        let verifier = CodeVerifier::new("");
        let grant = provider
            .exchange_code(&code, verifier, &expected, None)
            .await;
        let facts = grant.unwrap().identity.facts;
        provider
            .refresh(&RefreshToken::new(""), &facts, None, None)
            .await
    });
}
