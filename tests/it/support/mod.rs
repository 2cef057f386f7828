//! The cast of the stories that the tests tell.

#![expect(
    dead_code,
    reason = "each of the cast can do what the stories to come need"
)]

pub(crate) mod authority;
pub(crate) mod bff;
pub(crate) mod browser;
pub(crate) mod call;
pub(crate) mod canary;
pub(crate) mod clock;
pub(crate) mod cookie_jar;
pub(crate) mod faults;
pub(crate) mod helper;
pub(crate) mod idp;
pub(crate) mod journey;
pub(crate) mod logs;
pub(crate) mod node;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod servers;
pub(crate) mod sites;
pub(crate) mod upstream;
pub(crate) mod wire;
