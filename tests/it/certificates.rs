//! Several certificates on one listener: which requests a connection may carry (N2).

use bff::server::{SiteCertificate, TlsFiles};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::authority::Authority;
use crate::support::bff::{Bff, BffBuilder};
use crate::support::call::{Call, HOST};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::idp::Idp;
use crate::support::upstream::Upstream;

/// A host with a certificate of its own, where no site is.
const ELSEWHERE: &str = "a.elsewhere.example";

/// One that listens with a certificate for this host, and has the files of one for `ELSEWHERE`.
fn serving<'a>(
    idp: &'a Idp,
    upstream: &Upstream,
    authority: &Authority,
    host: &str,
) -> (BffBuilder<'a>, SiteCertificate) {
    let own = authority.certificate_for(host);
    let other = authority.certificate_for("*.elsewhere.example");
    let builder = Bff::with(idp, upstream)
        .file("tls.crt", own.0)
        .file("tls.key", own.1)
        .file("elsewhere.crt", other.0)
        .file("elsewhere.key", other.1);
    let path = |name: &str| builder.path(name);
    let certificate = SiteCertificate {
        host: "*.elsewhere.example".to_owned(),
        files: TlsFiles {
            cert: path("elsewhere.crt"),
            key: path("elsewhere.key"),
        },
    };
    let (cert, key) = (path("tls.crt"), path("tls.key"));
    let builder = builder
        .set("server.tls.cert", cert.to_str().unwrap())
        .set("server.tls.key", key.to_str().unwrap());
    (builder, certificate)
}

async fn connect(
    bff: &Bff<'_>,
    authority: &Authority,
    name: &str,
    protocol: &[u8],
) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(bff.public_addr).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connected = authority.connector(protocol).connect(name, stream);
    soon("a handshake", connected).await.unwrap()
}

/// Status and body of each answer, in turn on one connection.
async fn ask(socket: &mut TlsStream<TcpStream>, host: &str) -> (u16, String) {
    let call = Call::get("/bff/session").with("Host", host);
    socket.write_all(&call.bytes()).await.unwrap();
    let mut text = String::new();
    loop {
        let byte = soon("an answer", socket.read_u8()).await.unwrap();
        text.push(char::from(byte));
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() == length.map_or(0, |length| length.parse().unwrap()) {
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            return (status, body.to_owned());
        }
    }
}

/// N2, RFC 9110 §15.5.20: a connection carries the requests of the hosts that its certificate is for;
/// others are to come on one of their own. What is no site's stays unknown, whoever asks.
#[tokio::test]
async fn a_host_that_the_certificate_is_not_for_is_misdirected() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let authority = Authority::new();
    let (builder, certificate) = serving(&idp, &upstream, &authority, HOST);
    let bff = builder.start_changed(|config| config.server.site_certificates = vec![certificate]);
    let upper = HOST.to_ascii_uppercase();
    for (name, cases) in [
        (
            HOST,
            [
                (HOST, 200),
                (&*upper, 200),
                ("nobody.example", 404),
                (ELSEWHERE, 404),
            ],
        ),
        (
            ELSEWHERE,
            [
                (HOST, 421),
                (&*upper, 421),
                ("nobody.example", 404),
                (ELSEWHERE, 404),
            ],
        ),
    ] {
        let mut socket = connect(&bff, &authority, name, b"http/1.1").await;
        for (host, expected) in cases {
            let (status, body) = ask(&mut socket, host).await;
            assert_eq!(status, expected, "{host} on {name}: {body}");
            if expected == 421 {
                assert!(body.contains("\"code\":\"misdirected\""), "{body}");
            }
        }
    }

    // What a browser does that has a connection of HTTP/2 (RFC 9113 §9.1.1).
    let socket = connect(&bff, &authority, ELSEWHERE, b"h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .unwrap();
    tokio::spawn(async move { drop(connection.await) });
    for (host, expected) in [(HOST, 421), (ELSEWHERE, 404)] {
        let request = http::Request::builder()
            .uri(format!("https://{host}/bff/session"))
            .body(Empty::<Bytes>::new())
            .unwrap();
        let answer = soon("an answer", sender.send_request(request)).await;
        assert_eq!(answer.unwrap().status(), expected, "{host}");
    }
}

/// N2: where there is one certificate, whatever comes on its connections is answered, as ever; and a
/// proxy that is trusted keeps connections as it likes: the browser sees its certificate, not ours.
#[tokio::test]
async fn one_certificate_and_a_trusted_proxy_carry_any_host() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let authority = Authority::new();
    let (builder, _) = serving(&idp, &upstream, &authority, "odd.example");
    let bff = builder.start();
    let mut socket = connect(&bff, &authority, "odd.example", b"http/1.1").await;
    let (status, body) = ask(&mut socket, HOST).await;
    assert_eq!(status, 200, "{body}");

    let (builder, certificate) = serving(&idp, &upstream, &authority, "odd.example");
    let bff = builder
        .set("server.trusted_proxies", vec!["127.0.0.1/32"])
        .start_changed(|config| config.server.site_certificates = vec![certificate]);
    for name in ["odd.example", ELSEWHERE] {
        let mut socket = connect(&bff, &authority, name, b"http/1.1").await;
        let (status, body) = ask(&mut socket, HOST).await;
        assert_eq!(status, 200, "{name}: {body}");
    }
}
