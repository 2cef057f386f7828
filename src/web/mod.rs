//! What all parts share of HTTP: bodies, addresses, the words of a request about itself. And the rules
//! that must be the same wherever they are met: what is a navigation, what is this machine, whose
//! cookie it is, whom a call of ours may reach, what strangers may cost, how a file is read that a
//! configuration names. A leaf: it names no other part but the leaves.

pub mod activity;
pub mod background;
pub mod body;
pub mod challenge;
pub mod changes;
pub mod claims;
pub mod client_address;
pub mod client_certificate;
pub mod cookie_line;
pub mod cookie_names;
pub(crate) mod der;
pub mod ending;
pub mod header_template;
pub mod host_pattern;
pub mod identity;
pub mod key_pair;
pub mod loopback;
pub mod navigation;
pub mod open_limits;
pub mod outbound;
pub mod own_hosts;
pub mod pace;
pub mod plain_text;
pub mod printable;
pub mod problem;
pub mod proof;
pub mod public_origin;
pub mod registration;
pub mod regular_file;
pub mod renewed_certificate;
pub mod repeats;
pub mod requirement;
pub mod site_id;
pub mod socket_url;
pub mod strangers;
pub mod token_spec;
pub mod trust;
pub mod uniform;
pub mod user_agent;
pub mod way_out;
