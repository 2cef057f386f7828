//! `provider.logout` and its like: how a logout goes on at the provider.

use crate::config::error::Faults;
use crate::config::file::ProviderTable;
use crate::config::words::{Chosen, LogoutPlace};
use crate::oidc::ProviderLogout;

/// Parameters of the end-session request that follow from other keys.
const OUR_PARAMETERS: [(&str, &str); 3] = [
    ("client_id", "write provider.client_id"),
    (
        "id_token_hint",
        "write provider.logout_hint, or an empty value to leave it out",
    ),
    (
        "state",
        "leave it out, or write an empty value if the provider may not be sent one",
    ),
];

pub(super) fn provider_logout(provider: &ProviderTable, faults: &mut Faults) -> ProviderLogout {
    let at_provider = provider.logout.or(Chosen(LogoutPlace::Provider)).0 == LogoutPlace::Provider;
    let mut params = Vec::new();
    if let Some(written) = provider.logout_params.written() {
        if !at_provider {
            written.refuse(
                faults,
                "is for a request that logout = \"local\" never makes",
                "leave one of the two out",
            );
        }
        for parameter in &written.value.0 {
            let (name, value) = &parameter.value;
            let ours = OUR_PARAMETERS.iter().find(|(ours, _)| ours == name);
            if let Some((_, remedy)) = ours
                && (name == "client_id" || !value.0.is_empty())
            {
                parameter.refuse(faults, "is a parameter that bff sets itself", *remedy);
            }
            params.push((name.clone(), value.0.clone()));
        }
    }
    ProviderLogout {
        at_provider,
        revokes: provider.revoke_on_logout.or(true),
        params,
    }
}
