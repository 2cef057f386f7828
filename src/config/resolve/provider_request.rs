//! What a login asks of the provider beyond the plain request, and the profile that all of it keeps to.

use serde_json::Value;

use crate::config::error::Faults;
use crate::config::file::ProviderTable;
use crate::config::json_tables::JsonTables;
use crate::config::reader::{Field, Written};
use crate::config::resolve::route_token;
use crate::config::words::Chosen;
use crate::oidc::{
    AssertionAudience, ClientAuth, Dpop, IdTokenAlg, Profile, PushedAuthorization, RequestObject,
    client_key_algs,
};

/// What is asked, with the profile's word in each.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) pushed_authorization: PushedAuthorization,
    pub(super) request_object: RequestObject,
    pub(super) resources: Vec<String>,
    pub(super) authorization_details: Option<String>,
    pub(super) profile: Profile,
    pub(super) dpop: Dpop,
    pub(super) require_response_iss: bool,
    pub(super) id_token_algs: Option<Vec<IdTokenAlg>>,
}

/// What is asked by a client that proves so who it is; `None` where that is not known, or the development
/// provider's to say.
pub(super) fn asked(
    provider: &ProviderTable,
    client_auth: Option<&ClientAuth>,
    id_token_algs: Option<Vec<IdTokenAlg>>,
    faults: &mut Faults,
) -> Asked {
    let profile = provider.profile.or(Chosen(Profile::Plain)).0;
    let fapi2 = profile == Profile::Fapi2;
    if fapi2 {
        hold_to_fapi2(provider, client_auth, faults);
    }
    let by_certificate = provider.client_cert.stands();
    let dpop = match (fapi2, by_certificate) {
        (true, false) => Dpop::Always,
        (true, true) | (false, _) => Dpop::Never,
    };
    let id_token_algs = match id_token_algs {
        None if fapi2 => {
            let allowed = IdTokenAlg::ALL.into_iter();
            let allowed = allowed.filter(|(_, name)| profile.allows(name));
            Some(allowed.map(|(alg, _)| alg).collect())
        }
        own => own,
    };
    let pushed_authorization = if fapi2 {
        PushedAuthorization::Always
    } else {
        let auto = Chosen(PushedAuthorization::Auto);
        provider.pushed_authorization.or(auto).0
    };
    let resources = match &provider.resource {
        Field::Written(_) => route_token::resources(&provider.resource, faults).unwrap_or_default(),
        Field::Absent | Field::Unreadable => Vec::new(),
    };
    Asked {
        pushed_authorization,
        request_object: request_object(provider, client_auth, faults),
        resources,
        authorization_details: authorization_details(&provider.authorization_details, faults),
        profile,
        dpop: provider.dpop.or(Chosen(dpop)).0,
        require_response_iss: provider.require_response_iss.or(fapi2),
        id_token_algs,
    }
}

/// A13: signed with the key that proves who we are, which takes one.
fn request_object(
    provider: &ProviderTable,
    client_auth: Option<&ClientAuth>,
    faults: &mut Faults,
) -> RequestObject {
    let Some(written) = provider.request_object.written() else {
        return RequestObject::Never;
    };
    match (written.value.0, client_auth) {
        (RequestObject::Never, _) | (RequestObject::Signed, None) => RequestObject::Never,
        (RequestObject::Signed, Some(ClientAuth::PrivateKeyJwt { .. })) => RequestObject::Signed,
        (RequestObject::Signed, Some(_)) => {
            written.refuse(
                faults,
                "is \"signed\", and no client_key proves who we are",
                "write client_auth = \"private_key_jwt\" and a client_key, or leave it out",
            );
            RequestObject::Never
        }
    }
}

/// Each says of which kind it is (RFC 9396 §2).
fn authorization_details(field: &Field<JsonTables>, faults: &mut Faults) -> Option<String> {
    let written = field.written()?;
    let details = &written.value.0;
    let has_type = |table: &serde_json::Map<String, Value>| {
        table
            .get("type")
            .and_then(Value::as_str)
            .is_some_and(|kind| !kind.is_empty())
    };
    if !details.iter().all(has_type) {
        written.refuse(
            faults,
            "holds a table that does not say of which type it is",
            "write its type, as in [{ type = \"account_information\", actions = [\"read\"] }]",
        );
        return None;
    }
    serde_json::to_string(details).ok()
}

/// What FAPI 2.0 Security Profile §5.3.3 forbids a client.
fn hold_to_fapi2(provider: &ProviderTable, client_auth: Option<&ClientAuth>, faults: &mut Faults) {
    let profile = Profile::Fapi2;
    let by_certificate = provider.client_cert.stands();
    hold_credential(provider, client_auth, faults);
    if let Some(written) = provider.client_assertion_audience.written()
        && written.value.0 == AssertionAudience::TokenEndpoint
    {
        refuse(written, "is \"token_endpoint\"", "leave it out", faults);
    }
    if let Some(written) = provider.pushed_authorization.written()
        && written.value.0 != PushedAuthorization::Always
    {
        let remedy = "leave it out: every request is pushed";
        refuse(
            written,
            "lets a request travel in the browser",
            remedy,
            faults,
        );
    }
    if let Some(written) = provider.require_response_iss.written()
        && !written.value
    {
        refuse(written, "is false", "leave it out", faults);
    }
    if let Some(written) = provider.dpop.written() {
        match written.value.0 {
            Dpop::Always => {}
            Dpop::Never if by_certificate => {}
            Dpop::Never | Dpop::Auto => {
                let remedy = "leave it out, or write \"always\"";
                refuse(
                    written,
                    "lets a token be anybody's who has it",
                    remedy,
                    faults,
                );
            }
        }
    }
    let algs = provider.id_token_algs.written().into_iter();
    for alg in algs.flat_map(|algs| &algs.value) {
        let own = alg.value.0;
        let named = IdTokenAlg::ALL.into_iter().find(|(known, _)| *known == own);
        if let Some((_, name)) = named
            && !profile.allows(name)
        {
            let what = format!("holds {name:?}");
            refuse(
                alg,
                &what,
                "write \"PS256\", \"ES256\" or \"EdDSA\"",
                faults,
            );
        }
    }
}

/// A key or a certificate, and no secret that both sides know.
fn hold_credential(
    provider: &ProviderTable,
    client_auth: Option<&ClientAuth>,
    faults: &mut Faults,
) {
    let remedy = "register a key or a certificate there, and write client_key, or client_cert with client_auth = \"tls_client_auth\"";
    match client_auth {
        Some(ClientAuth::PrivateKeyJwt { key, .. }) => {
            let algs = client_key_algs(key);
            if let Some(written) = provider.client_key.written()
                // A template's own key is another's.
                && !algs.is_empty()
                && !algs.iter().any(|alg| Profile::Fapi2.allows(alg))
            {
                let remedy = "put an RSA, P-256 or Ed25519 key there";
                refuse(written, "is of a kind that may not sign", remedy, faults);
            }
        }
        Some(ClientAuth::Certificate(_) | ClientAuth::AssertionFile(_)) | None => {}
        Some(_) => {
            if let Some(written) = provider.client_secret.written() {
                refuse(written, "is known to both sides", remedy, faults);
            } else if let Some(written) = provider.allow_public_client.written() {
                refuse(written, "lets anybody be this client", remedy, faults);
            }
        }
    }
}

fn refuse<T>(written: &Written<T>, what: &str, remedy: &str, faults: &mut Faults) {
    let what = format!("{what}, and profile = \"fapi2\" forbids it");
    written.refuse(faults, what, remedy);
}
