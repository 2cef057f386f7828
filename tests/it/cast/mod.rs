//! The cast can do what the stories need: a provider that is honest until told otherwise, a
//! browser with Chromium's manners, an upstream that sees everything, and canaries that are heard.

mod relying_party;

mod browser;
mod canaries;
mod dev_servers;
mod honest_provider;
mod logs;
mod lying_provider;
mod provider_logout;
mod upstream;
mod whole;
