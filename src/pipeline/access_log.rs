//! One line a request, written when its head is answered.
//!
//! Never a query (it may hold a code), a header, an address of a person (G14).

use http::{Method, Response};

use crate::pipeline::context::Context;
use crate::web::body::Body;

/// Writes the line and counts the request.
pub fn write(ctx: &Context, method: &Method, path: &str, response: &Response<Body>) {
    let elapsed = ctx.started.elapsed();
    if let Some(counted) = &ctx.counted {
        counted.answered(method, response.status(), elapsed);
    }
    tracing::info!(
        target: "bff::access",
        {
            request.id = ctx.request_id(),
            method = method.as_str(),
            path,
            status = response.status().as_u16(),
            elapsed_us = elapsed.as_micros(),
        },
        "request"
    );
}
