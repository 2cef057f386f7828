//! How the metrics are called, and what each means to an operator; docs/metrics.md says more.

use metrics::{KeyName, Recorder as _};
use metrics_exporter_prometheus::PrometheusRecorder;

pub(super) const BUILD: &str = "bff_build_info";
pub(super) const REQUESTS: &str = "bff_requests_total";
pub(super) const REQUEST_SECONDS: &str = "bff_request_duration_seconds";
pub(super) const UPSTREAM_SECONDS: &str = "bff_upstream_head_duration_seconds";
pub(super) const SESSIONS: &str = "bff_sessions";
pub(super) const SESSION_MEMORY: &str = "bff_session_memory_bytes";
pub(super) const SESSION_MEMORY_MAX: &str = "bff_session_memory_max_bytes";
pub(super) const SESSIONS_ENDED: &str = "bff_sessions_ended_total";
pub(super) const LOOKUPS: &str = "bff_session_lookups_total";
pub(super) const STORE_SECONDS: &str = "bff_session_store_call_duration_seconds";
pub(super) const STORE_ERRORS: &str = "bff_session_store_errors_total";
pub(super) const CLOCK_SKEW: &str = "bff_session_store_clock_skew_seconds";
pub(super) const STREAMS: &str = "bff_event_streams_open";
pub(super) const SOCKETS: &str = "bff_websockets_open";
pub(super) const LOGINS: &str = "bff_logins_total";
pub(super) const LOGOUTS: &str = "bff_logouts_total";
pub(super) const REFRESHES: &str = "bff_token_refreshes_total";
pub(super) const STRANGERS: &str = "bff_strangers";
pub(super) const STRANGERS_BUDGET: &str = "bff_strangers_budget";
pub(super) const STRANGERS_REFUSED: &str = "bff_strangers_refused_total";
pub(super) const PROVIDER_CALLS: &str = "bff_provider_calls_total";
pub(super) const PROVIDER_SECONDS: &str = "bff_provider_call_duration_seconds";
pub(super) const CERTIFICATE_EXPIRES: &str = "bff_certificate_expires_timestamp_seconds";
pub(super) const RELOADS: &str = "bff_config_reloads_total";
pub(super) const CONFIG_IN_USE_SINCE: &str = "bff_config_in_use_since_timestamp_seconds";
pub(super) const CONFIG_REFUSED_SINCE: &str = "bff_config_refused_since_timestamp_seconds";
pub(super) const SECRET_EXPIRES: &str = "bff_client_secret_expires_timestamp_seconds";

const COUNTERS: [(&str, &str); 10] = [
    (
        RELOADS,
        "Readings of the configuration while running, by outcome.",
    ),
    (
        REQUESTS,
        "Requests answered, by route, method and class of status.",
    ),
    (SESSIONS_ENDED, "Sessions that this node ended, by reason."),
    (
        LOOKUPS,
        "Looks at sessions: those answered from memory, and those that asked the store.",
    ),
    (
        STORE_ERRORS,
        "Calls to the session store that failed, by kind.",
    ),
    (LOGINS, "Logins that ended, by outcome."),
    (LOGOUTS, "Logouts that ended, by outcome."),
    (
        REFRESHES,
        "Token refreshes that ended, by outcome and, where they failed, by cause.",
    ),
    (
        PROVIDER_CALLS,
        "Calls to the provider that ended, by endpoint and outcome.",
    ),
    (
        STRANGERS_REFUSED,
        "What strangers were refused beyond their budget, by demand.",
    ),
];

const GAUGES: [(&str, &str); 13] = [
    (BUILD, "1, with the version that runs."),
    (
        SESSIONS,
        "Live sessions, of all nodes that share the store.",
    ),
    (
        SESSION_MEMORY,
        "Memory that sessions take in this process, about.",
    ),
    (
        SESSION_MEMORY_MAX,
        "Memory that sessions may take in this process.",
    ),
    (
        CLOCK_SKEW,
        "How far this node's clock is ahead of the session store's, where that has one.",
    ),
    (
        STREAMS,
        "Event streams (/bff/session/events) that are open.",
    ),
    (SOCKETS, "WebSockets that are open."),
    (
        STRANGERS,
        "What strangers have us keep, open or send, by demand.",
    ),
    (
        STRANGERS_BUDGET,
        "What strangers may have us keep, open or send, by demand.",
    ),
    (
        CERTIFICATE_EXPIRES,
        "When the certificate in use ends, in seconds since 1970; with server.tls alone.",
    ),
    (
        CONFIG_IN_USE_SINCE,
        "When the configuration was taken into use, in seconds since 1970.",
    ),
    (
        CONFIG_REFUSED_SINCE,
        "Since when the configuration has faults and is not in use, in seconds since 1970; 0 while it has none.",
    ),
    (
        SECRET_EXPIRES,
        "When the client secret ends, as provider.client_secret_expires says.",
    ),
];

const HISTOGRAMS: [(&str, &str); 4] = [
    (
        REQUEST_SECONDS,
        "From a request's head to the head of its answer, by route.",
    ),
    (
        UPSTREAM_SECONDS,
        "Until the upstream's head came, by route.",
    ),
    (
        STORE_SECONDS,
        "Calls to the session store, with any wait for a connection.",
    ),
    (PROVIDER_SECONDS, "Calls to the provider, by endpoint."),
];

pub(super) fn describe(recorder: &PrometheusRecorder) {
    for (name, text) in COUNTERS {
        recorder.describe_counter(KeyName::from(name), None, text.into());
    }
    for (name, text) in GAUGES {
        recorder.describe_gauge(KeyName::from(name), None, text.into());
    }
    for (name, text) in HISTOGRAMS {
        recorder.describe_histogram(KeyName::from(name), None, text.into());
    }
}
