//! `bff`, a backend for frontend: the OAuth client and reverse proxy between a browser app and its
//! APIs (RFC 10017 §6.1). The browser holds one encrypted cookie; the tokens stay here.
//!
//! Read [`pipeline`] next: it lists the steps of a request in order. The modules below stand in
//! the order in which a request meets them. `ARCHITECTURE.md` is the map.

pub mod cli;

pub mod app;
pub mod config;

pub mod server;

pub mod pipeline;

pub mod auth;
pub mod oidc;
pub mod session;

pub mod proxy;

pub mod frontend;

pub mod admin;

#[cfg(feature = "dev")]
pub mod dev;

pub mod clock;
pub mod secret;
pub mod telemetry;
pub mod web;
