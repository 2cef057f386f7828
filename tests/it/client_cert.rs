//! What an upstream is shown that asks in TLS who calls (§8).

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::support::authority::{Asking, Authority, digest_of};
use crate::support::bff::{Bff, BffBuilder};
use crate::support::call::{Call, signed_in};
use crate::support::clock::nine_o_clock;
use crate::support::idp::Idp;
use crate::support::journey::refusal;
use crate::support::upstream::Upstream;

fn digest(pem: &str) -> String {
    digest_of(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
}

fn route(path: &str, asking: &Asking, shown: Option<&str>) -> toml::Table {
    let port = asking.port();
    let shown =
        shown.map(|name| format!("client_cert = {{ cert = '{name}.crt', key = '{name}.key' }}"));
    let shown = shown.unwrap_or_default();
    let text =
        format!("path = '{path}'\nupstream = 'https://localhost:{port}'\nca = 'ca.pem'\n{shown}");
    text.parse().unwrap()
}

fn with_files<'a>(
    builder: BffBuilder<'a>,
    name: &str,
    (cert, key): &(String, String),
) -> BffBuilder<'a> {
    builder
        .file(&format!("{name}.crt"), cert)
        .file(&format!("{name}.key"), key)
}

/// §8: each route shows its own, and none is taken for another's: neither the connections of one, nor what
/// they agreed on, serve the other.
#[tokio::test]
async fn an_upstream_is_shown_who_we_are() {
    let authority = Authority::new();
    let asking = authority.asking("localhost");
    let (one, other) = (
        authority.certificate_for("one"),
        authority.certificate_for("other"),
    );
    let stranger = Authority::new().certificate_for("one");
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let builder = Bff::with(&idp, &upstream)
        .no_routes()
        .set("server.workers", 1)
        .file("ca.pem", authority.pem())
        .route(route("/one", &asking, Some("one")), &upstream)
        .route(route("/other", &asking, Some("other")), &upstream)
        .route(route("/none", &asking, None), &upstream)
        .route(route("/stranger", &asking, Some("stranger")), &upstream);
    let builder = with_files(builder, "one", &one);
    let builder = with_files(builder, "other", &other);
    let bff = with_files(builder, "stranger", &stranger).start();
    let alice = signed_in(&bff, "alice").await;
    for _ in 0..3 {
        for (path, shown) in [
            ("/one", Some(&one)),
            ("/none", None),
            ("/other", Some(&other)),
            ("/stranger", None),
        ] {
            let reply = Call::get(path).of(&alice).send(bff.public_addr).await;
            match shown {
                Some((pem, _)) => assert_eq!(reply.text(), digest(pem), "{path}"),
                None => assert!(refusal(&reply).starts_with("502 "), "{path}: {reply:?}"),
            }
        }
    }
}

/// §8: new files are taken into use by a reload; where they are of no use, the old ones go on.
#[tokio::test]
async fn a_new_certificate_takes_the_place_of_the_old_one() {
    let authority = Authority::new();
    let asking = authority.asking("localhost");
    let (old, new) = (
        authority.certificate_for("old"),
        authority.certificate_for("new"),
    );
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let builder = Bff::with(&idp, &upstream)
        .no_routes()
        .administered()
        .file("ca.pem", authority.pem())
        .route(route("/api", &asking, Some("own")), &upstream);
    let builder = with_files(builder, "own", &old);
    let (cert, key) = (builder.path("own.crt"), builder.path("own.key"));
    let bff = builder.start();
    let alice = signed_in(&bff, "alice").await;
    let shown = async || {
        let reply = Call::get("/api").of(&alice).send(bff.public_addr).await;
        reply.text()
    };
    assert_eq!(shown().await, digest(&old.0));
    // The certificate has come, and its key has not.
    std::fs::write(&cert, &new.0).unwrap();
    let refused = bff.administer("POST", "/reload").await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.text().contains("route.client_cert"), "{refused:?}");
    assert_eq!(shown().await, digest(&old.0));
    std::fs::write(&key, &new.1).unwrap();
    let taken = bff.administer("POST", "/reload").await;
    assert_eq!(taken.status, 200, "{taken:?}");
    assert_eq!(shown().await, digest(&new.0));
}
