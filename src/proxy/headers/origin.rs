//! The fields of an answer by which an upstream would speak for more than that answer: for the
//! whole origin, for its connections and caches, or to the servers before it (I11).
//!
//! One list, for every upstream, whatever its route. What a field speaks for decides: policies for
//! the one document or response that they come with pass (`Content-Security-Policy`,
//! `Permissions-Policy`, `Cross-Origin-*-Policy`, `Document-Policy`, `Speculation-Rules`,
//! `No-Vary-Search`, `Supports-Loading-Mode`, `Activate-Storage-Access`, `X-Robots-Tag`), and so
//! does every name that means nothing to a browser. The families that browsers keep for
//! themselves (`Sec-`, `Set-`, `Secure-`, `Origin-`, `Service-Worker-`) are closed: what they will
//! mean by a new one is not known yet. An operator may still set any of these on a route, and let
//! its cookies pass (`set_cookie.rs`).

use super::names::{Group, Names, count};

/// What a field that is kept back speaks for; or that it is one of its family's that pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeaksFor {
    /// The answer alone, though its family does not.
    TheAnswer,
    /// One connection, or the framing of one message.
    TheConnection,
    /// What the browser keeps and does for every page of the origin.
    TheOrigin,
    /// Whom of other origins the browser lets in (H4).
    OtherOrigins,
    /// The servers before us: what file to send, where to go on, what to keep.
    ServersBefore,
}

const GROUPS: &[Group<SpeaksFor>] = &[
    Group {
        reason: SpeaksFor::TheAnswer,
        names: &[
            // Enables a trial for the document; the token names the origin.
            "origin-trial",
            // The answer to a handshake.
            "sec-websocket-*",
            // Keeps nginx from holding a stream back.
            "x-accel-buffering",
        ],
    },
    Group {
        reason: SpeaksFor::TheConnection,
        names: &[
            "connection",
            "http2-settings",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authentication-info",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "transfer-encoding",
            "upgrade",
        ],
    },
    Group {
        reason: SpeaksFor::TheOrigin,
        names: &[
            // Client hints and a reload for all pages to come.
            "accept-ch*",
            "critical-ch",
            // Where and how the origin is connected to.
            "alt-svc",
            "alternate-protocol",
            "expect-ct",
            "public-key-pins*",
            "strict-transport-security",
            // What is written down under the origin's name.
            "attribution-reporting-*",
            "clear-site-data",
            "observe-browsing-topics",
            "sec-*",
            "secure-*",
            "set-*",
            "shared-storage-write",
            // Who is signed in here.
            "dpop-nonce",
            "idp-signin-status",
            // Where reports of all addresses go, codes and states in them.
            "nel",
            "report-to",
            "reporting-endpoints",
            // A dictionary is sent along with every address that it says it is for.
            "use-as-dictionary",
            // Which process its pages share, and which scripts stand between them and us.
            "origin-*",
            "service-worker*",
        ],
    },
    Group {
        reason: SpeaksFor::OtherOrigins,
        names: &["access-control-*"],
    },
    Group {
        reason: SpeaksFor::ServersBefore,
        names: &[
            "edge-control",
            "surrogate-control",
            "x-accel-*",
            "x-envoy-*",
            "x-lighttpd-*",
            "x-litespeed-*",
            "x-reproxy-*",
            "x-sendfile*",
        ],
    },
];

const NAMES: &Names<SpeaksFor, { count(GROUPS) }> = &Names::of(GROUPS);

/// Whether a field of this name, in lower case, is kept back.
pub(in crate::proxy) fn is_kept_back(name: &str) -> bool {
    match NAMES.find(name) {
        Some(SpeaksFor::TheAnswer) => false,
        Some(
            SpeaksFor::TheConnection
            | SpeaksFor::TheOrigin
            | SpeaksFor::OtherOrigins
            | SpeaksFor::ServersBefore,
        ) => true,
        None => is_targeted_caching(name),
    }
}

/// The whole list, in its groups.
pub const fn groups() -> &'static [Group<SpeaksFor>] {
    GROUPS
}

/// `CDN-Cache-Control` and those of one network (RFC 9213): they outrank the `Cache-Control` that
/// we answer for.
fn is_targeted_caching(name: &str) -> bool {
    name.ends_with("-cache-control")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I11: what speaks for the origin is kept back, its future kin with it; what speaks for the
    /// answer, or means nothing to a browser, passes.
    #[test]
    fn what_a_field_speaks_for_decides() {
        for name in [
            "nel",
            "report-to",
            "reporting-endpoints",
            "service-worker-allowed",
            "secure-session-registration",
            "secure-session-challenge",
            "sec-session-registration",
            "set-login",
            "set-cookie",
            "set-cookie2",
            "set-something-new",
            "origin-agent-cluster",
            "origin-isolation",
            "accept-ch",
            "accept-ch-lifetime",
            "critical-ch",
            "clear-site-data",
            "strict-transport-security",
            "alt-svc",
            "public-key-pins-report-only",
            "cdn-cache-control",
            "cloudflare-cdn-cache-control",
            "surrogate-control",
            "edge-control",
            "x-sendfile",
            "x-lighttpd-send-file",
            "x-accel-redirect",
            "x-accel-expires",
            "x-reproxy-url",
            "x-litespeed-location",
            "x-envoy-immediate-health-check-fail",
            "attribution-reporting-register-source",
            "observe-browsing-topics",
            "use-as-dictionary",
            "idp-signin-status",
            "access-control-allow-origin",
        ] {
            assert!(is_kept_back(name), "{name}");
        }
        for name in [
            "x-accel-buffering",
            "sec-websocket-accept",
            "origin-trial",
            "cache-control",
            "content-security-policy",
            "permissions-policy",
            "cross-origin-opener-policy",
            "cross-origin-resource-policy",
            "document-policy",
            "referrer-policy",
            "speculation-rules",
            "no-vary-search",
            "supports-loading-mode",
            "activate-storage-access",
            "timing-allow-origin",
            "server-timing",
            "x-robots-tag",
            "x-total-count",
            "x-anything",
            "api-version",
            "ratelimit-remaining",
            "retry-after",
            "link",
            "settings",
            "secret",
            "nelson",
            "grpc-status",
        ] {
            assert!(!is_kept_back(name), "{name}");
        }
    }
}
