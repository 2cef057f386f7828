//! Log lines and metrics: what is set up once, and the handles that the parts are given.

mod log;
mod log_queue;
mod metrics;
mod names;
mod of_site;
mod outcome;
mod process;
mod request_line;
mod route;
mod series;

pub use self::log::{
    LogError, LogFormat, LogGuard, LogLines, LogSettings, SubjectInLog, chain, init,
};
pub use self::metrics::{Metrics, StoreMetrics, Totals};
pub use self::outcome::{LoginOutcome, LogoutOutcome, RefreshOutcome, ReloadOutcome};
pub use self::request_line::RequestLine;
pub use self::route::RouteMetrics;
