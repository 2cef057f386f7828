//! What a refusal comes to, and the verdicts that several share. The status is the code's.

use std::borrow::Cow;

use http::StatusCode;

use crate::pipeline::error::Code;

/// A code, a title, a sentence.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) status: StatusCode,
    pub(super) code: Code,
    pub(super) title: &'static str,
    pub(super) detail: Cow<'static, str>,
}

/// This code, under its status.
pub(super) const fn verdict(code: Code, title: &'static str, detail: &'static str) -> Verdict {
    Verdict {
        status: code.status(),
        code,
        title,
        detail: Cow::Borrowed(detail),
    }
}

/// A request that cannot be read.
pub(super) const fn bad_request(detail: &'static str) -> Verdict {
    verdict(Code::BadRequest, "Bad request", detail)
}

pub(super) const STORE_UNAVAILABLE: Verdict = verdict(
    Code::StoreUnavailable,
    "Session store unavailable",
    "Your session cannot be looked up right now. You are not signed out; try again in a moment.",
);

pub(super) const TOO_BUSY: Verdict = verdict(
    Code::Busy,
    "Too busy",
    "More is under way than can be served at once. Try again in a moment.",
);
