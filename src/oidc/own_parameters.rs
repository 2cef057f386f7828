//! The parameters of the authorization request that are ours alone (B8): what the operator's file may
//! not name, what no link may carry, and what no request says twice.

/// Each, with what to write in its place.
pub const OURS: &[(&str, &str)] = &[
    ("client_id", "write provider.client_id"),
    ("scope", "write provider.scopes"),
    ("response_mode", "write provider.response_mode"),
    (
        "redirect_uri",
        "leave it out; it follows from server.public_url",
    ),
    ("response_type", "leave it out; it is always code"),
    ("state", "leave it out; each login has its own"),
    ("nonce", "leave it out; each login has its own"),
    ("code_challenge", "leave it out; each login has its own"),
    ("code_challenge_method", "leave it out; it is always S256"),
    ("dpop_jkt", "leave it out; write provider.dpop"),
    ("request", "leave it out; write provider.request_object"),
    (
        "request_uri",
        "leave it out; write provider.pushed_authorization",
    ),
    (
        "id_token_hint",
        "leave it out; a login without a prompt has that of its session",
    ),
    ("client_secret", A_SECRET),
    ("client_assertion", A_SECRET),
    ("client_assertion_type", A_SECRET),
];

const A_SECRET: &str = "leave it out; a secret never travels through the browser";

/// What to write in the place of the parameter `name`, where it is one of ours.
pub fn remedy(name: &str) -> Option<&'static str> {
    let ours = OURS.iter().find(|(ours, _)| *ours == name);
    ours.map(|(_, remedy)| *remedy)
}

/// Whether the parameter `name` is ours.
pub fn is_ours(name: &str) -> bool {
    remedy(name).is_some()
}
