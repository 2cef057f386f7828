//! The development identity provider: authorization code with PKCE, rotating refresh tokens,
//! UserInfo, end-session, revocation, back-channel and front-channel logout, all in memory.
//!
//! [`core`] decides and knows no HTTP; [`endpoints`] speaks it. The tests' provider is the same
//! core behind its own listener: what it gets wrong on purpose comes in through [`tamper`].

pub mod core;

pub mod authorize;
mod dpop;
pub mod logout;
mod other_grants;
mod pushed;
pub mod token;

pub mod client;
pub mod keys;
pub mod parameters;
mod relying_party;
pub mod shown;
pub mod tamper;

pub mod courier;
mod endpoint;
pub mod endpoints;
pub mod misbehaviour;
mod pages;
