//! The provider's part in a logout.

use serde_json::json;
use url::Url;

use super::{Answer, Stage};
use crate::oidc::EndSessionRequest;
use crate::secret::{AccessToken, IdToken, RefreshToken};

fn landing() -> Url {
    Url::parse("https://app.example.com/bff/logout/callback").unwrap()
}

fn request<'a>(
    id_token_hint: Option<&'a IdToken>,
    post_logout_redirect_uri: &'a Url,
    state: &'a str,
) -> EndSessionRequest<'a> {
    EndSessionRequest {
        id_token_hint,
        logout_hint: None,
        post_logout_redirect_uri,
        state,
    }
}

/// E3: the last ID token byte for byte, the landing page, who we are, and the state.
#[tokio::test]
async fn the_end_session_request_is_complete() {
    let stage = Stage::set().await;
    stage.provider.metadata().await.unwrap();
    let id_token = IdToken::new("a.b+c/d=.e");
    let rest = [
        ("client_id", "app"),
        ("post_logout_redirect_uri", landing().as_str()),
        ("state", "s-1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let hint = ("id_token_hint".to_owned(), "a.b+c/d=.e".to_owned());
    for (hint, id_token) in [(Some(hint), Some(&id_token)), (None, None)] {
        let url = stage
            .provider
            .end_session_url(&request(id_token, &landing(), "s-1"))
            .unwrap();
        assert_eq!(url.path(), "/end");
        let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let expected: Vec<_> = rest.clone().into_iter().chain(hint).collect();
        assert_eq!(query, expected);
    }
}

/// E6: no such endpoint, or a provider never reached: the logout stays local.
#[tokio::test]
async fn without_an_end_session_endpoint_there_is_no_url() {
    let stage = Stage::set().await;
    assert!(
        stage
            .provider
            .end_session_url(&request(None, &landing(), "s"))
            .is_none()
    );
    let mut metadata = stage.fake.metadata();
    metadata["end_session_endpoint"] = json!(null);
    metadata["revocation_endpoint"] = json!(null);
    stage.fake.publish_metadata(&metadata);
    stage.provider.metadata().await.unwrap();
    assert!(
        stage
            .provider
            .end_session_url(&request(None, &landing(), "s"))
            .is_none()
    );
    let token = RefreshToken::new("rt-1");
    stage.provider.revoke(Some(&token), None).await.unwrap();
    assert!(stage.fake.asked("/revoke").is_empty());
}

/// E5: the refresh token first, then the access token, both whatever becomes of the first.
#[tokio::test]
async fn both_tokens_are_revoked() {
    for (status, good) in [(200, true), (503, false)] {
        let stage = Stage::set().await;
        stage.fake.answer("/revoke", Answer::json(200, &json!({})));
        stage
            .fake
            .answer_once("/revoke", Answer::json(status, &json!({})));
        let refresh_token = RefreshToken::new("rt-1");
        let access_token = AccessToken::new("at-1");
        let outcome = stage
            .provider
            .revoke(Some(&refresh_token), Some(&access_token))
            .await;
        assert_eq!(outcome.is_ok(), good, "{status}");
        let asked: Vec<_> = stage
            .fake
            .asked("/revoke")
            .into_iter()
            .map(|asked| {
                assert!(asked.headers.contains_key("authorization"));
                (
                    asked.form["token"].clone(),
                    asked.form["token_type_hint"].clone(),
                )
            })
            .collect();
        let expected = [("rt-1", "refresh_token"), ("at-1", "access_token")];
        let expected = expected.map(|(token, hint)| (token.to_owned(), hint.to_owned()));
        assert_eq!(asked, expected);
    }
}
