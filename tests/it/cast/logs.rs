//! Two products in one process, each heard alone.

use crate::support::bff::Bff;
use crate::support::call::Call;
use crate::support::clock::nine_o_clock;
use crate::support::idp::Idp;
use crate::support::upstream::Upstream;

/// One test reads no other's lines: both would else find each other's warnings where tests share a
/// process.
#[tokio::test]
async fn a_product_is_heard_alone() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let (one, other) = (
        Bff::with(&idp, &upstream).start(),
        Bff::with(&idp, &upstream).start(),
    );
    let call = Call::get("/bff/session");
    let mut ids = Vec::new();
    for bff in [&one, &other] {
        let reply = call.clone().send(bff.public_addr).await;
        ids.push(reply.header("x-request-id").unwrap().to_owned());
    }
    for (bff, [own, foreign]) in [(&one, [0, 1]), (&other, [1, 0])] {
        let logs = bff.logs();
        assert!(!logs.lines_with(&ids[own]).is_empty());
        assert_eq!(logs.lines_with(&ids[foreign]), [""; 0]);
    }
}
