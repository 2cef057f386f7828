//! A provider beyond a proxy: calls to it go through the tunnel that the proxy opens, and what an https
//! provider may say of http. The binary itself, a TLS server and a CONNECT proxy of the test's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::support::call::Call;
use crate::support::helper::Helper;
use crate::support::idp::{CLIENT_ID, PUBLIC_URL};
use crate::support::process::{Ended, Process, run};

/// A name that no resolver knows, so that whoever reaches it came through the proxy.
const HOST: &str = "id.bff.invalid";
const ISSUER: &str = "https://id.bff.invalid";

/// An https provider that has metadata and no keys.
struct FarProvider {
    certificate: String,
    helper: Helper,
}

impl FarProvider {
    /// With `change` laid over its metadata.
    fn start(change: &Value) -> Self {
        let certified = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let key = certified.signing_key.serialize_der().try_into().unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let mut metadata = json!({
            "issuer": ISSUER,
            "authorization_endpoint": format!("{ISSUER}/authorize"),
            "token_endpoint": format!("{ISSUER}/token"),
            "jwks_uri": format!("{ISSUER}/jwks"),
            "end_session_endpoint": format!("{ISSUER}/end"),
            "revocation_endpoint": format!("{ISSUER}/revoke"),
        });
        let members = metadata.as_object_mut().unwrap();
        members.extend(change.as_object().unwrap().clone());
        let helper = Helper::listen("the far provider", move |stream| {
            let (acceptor, metadata) = (acceptor.clone(), metadata.to_string());
            async move {
                // Whoever does not trust it hangs up.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let head = head(&mut stream).await;
                let body = if head.starts_with("GET /.well-known/openid-configuration ") {
                    metadata
                } else {
                    json!({"keys": []}).to_string()
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                     Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                drop(stream.write_all(answer.as_bytes()).await);
                drop(stream.shutdown().await);
            }
        });
        Self {
            certificate: certified.cert.pem(),
            helper,
        }
    }
}

/// What a proxy does when it is asked for a tunnel.
#[derive(Clone, Copy)]
enum Proxy {
    /// Opens it, to the provider whatever it was asked for.
    Opens(SocketAddr),
    /// Answers with this status.
    Refuses(&'static str),
    /// Says nothing.
    IsSilent,
}

/// A CONNECT proxy that remembers the heads it was sent.
struct ConnectProxy {
    helper: Helper,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    fn start(proxy: Proxy) -> Self {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let helper = Helper::listen("the proxy", {
            let asked = Arc::clone(&asked);
            move |mut stream| {
                let asked = Arc::clone(&asked);
                async move {
                    let head = head(&mut stream).await;
                    asked.lock().unwrap().push(head);
                    match proxy {
                        Proxy::Opens(address) => {
                            let opened = b"HTTP/1.1 200 Connection established\r\n\r\n";
                            stream.write_all(opened).await.unwrap();
                            let mut far = TcpStream::connect(address).await.unwrap();
                            drop(tokio::io::copy_bidirectional(&mut stream, &mut far).await);
                        }
                        Proxy::Refuses(status) => {
                            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                            stream.write_all(answer.as_bytes()).await.unwrap();
                        }
                        Proxy::IsSilent => std::future::pending().await,
                    }
                }
            }
        });
        Self { helper, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Its address as a variable has it.
    fn url(&self) -> String {
        format!("http://user:pa%40ssword@{}", self.helper.addr())
    }
}

async fn head(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A folder with a configuration, and the environment beside it.
struct Place {
    dir: TempDir,
    environment: BTreeMap<String, String>,
}

impl Place {
    /// Where `far` is trusted; `keys` are more of [provider].
    fn trusting(far: &FarProvider, keys: &str, variables: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{PUBLIC_URL}\"\n\
             [provider]\nissuer = \"{ISSUER}\"\nclient_id = \"{CLIENT_ID}\"\n\
             client_secret = \"env:SECRET\"\ntimeout = \"2s\"\n{keys}\n\
             [session]\nkeys = [\"env:KEY\"]\n\
             [[route]]\npath = \"/api\"\nupstream = \"http://localhost:9000\"\n"
        );
        std::fs::write(dir.path().join("bff.toml"), config).unwrap();
        let roots = dir.path().join("roots.pem");
        std::fs::write(&roots, &far.certificate).unwrap();
        let mut environment: BTreeMap<String, String> = [
            ("SECRET", "a client secret of some length"),
            ("KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"),
            ("SSL_CERT_FILE", roots.to_str().unwrap()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for (name, value) in variables {
            environment.insert((*name).to_owned(), (*value).to_owned());
        }
        Self { dir, environment }
    }

    async fn check_online(&self) -> Ended {
        let ended = run(&["check", "--online"], self.dir.path(), &self.environment).await;
        for said in [&ended.out, &ended.err] {
            assert!(!said.contains("ssword"), "{said}");
        }
        ended
    }
}

/// A proxy that other programs of the machine use is used for the provider, by whichever name, with
/// its credentials; `check --online` says so. It was passed over in silence, and no login worked.
#[tokio::test]
async fn the_provider_is_asked_through_the_proxy() {
    let far = FarProvider::start(&json!({}));
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "provider.proxy"] {
        let proxy = ConnectProxy::start(Proxy::Opens(far.helper.addr()));
        let url = proxy.url();
        let place = if name == "provider.proxy" {
            Place::trusting(&far, "proxy = \"env:CORPORATE\"", &[("CORPORATE", &url)])
        } else {
            Place::trusting(&far, "", &[(name, &url)])
        };
        let ended = place.check_online().await;
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.err);
        let through = format!(
            "{ISSUER} answers as it should, through the proxy http://{} of {name}",
            proxy.helper.addr()
        );
        assert!(ended.out.contains(&through), "{name}: {}", ended.out);
        let asked = proxy.asked();
        assert!(!asked.is_empty(), "{name}");
        for head in asked {
            let first = "CONNECT id.bff.invalid:443 HTTP/1.1\r\n";
            assert!(head.starts_with(first), "{name}: {head}");
            // user:pa@ssword
            let credentials = "Proxy-Authorization: Basic dXNlcjpwYUBzc3dvcmQ=\r\n";
            assert!(head.contains(credentials), "{name}: {head}");
        }
    }
}

/// What is named as an exception is asked straight, and so is everybody where the key says so.
#[tokio::test]
async fn the_provider_is_asked_past_the_proxy() {
    let far = FarProvider::start(&json!({}));
    let proxy = ConnectProxy::start(Proxy::Opens(far.helper.addr()));
    let url = proxy.url();
    let cases = [
        ("", vec![("HTTPS_PROXY", url.as_str()), ("NO_PROXY", HOST)]),
        (
            "",
            vec![("https_proxy", &url), ("no_proxy", ".bff.invalid")],
        ),
        ("proxy = \"none\"", vec![("HTTPS_PROXY", &url)]),
        ("", vec![("HTTP_PROXY", &url)]),
    ];
    for (keys, variables) in cases {
        let ended = Place::trusting(&far, keys, &variables).check_online().await;
        // Nobody resolves the name.
        assert_eq!(ended.code, Some(1), "{variables:?}: {}", ended.err);
        assert!(ended.err.contains("no connection"), "{}", ended.err);
        assert!(!ended.err.contains("proxy"), "{}", ended.err);
    }
    assert_eq!(proxy.asked(), &[] as &[String]);
}

/// A proxy that gives no way is no provider that is away: the sentence says which.
#[tokio::test]
async fn a_proxy_that_gives_no_way_is_named() {
    let far = FarProvider::start(&json!({}));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = format!("http://user:pa%40ssword@{}", nobody.local_addr().unwrap());
    drop(nobody);
    let refuses = ConnectProxy::start(Proxy::Refuses("403 Forbidden"));
    let asks = ConnectProxy::start(Proxy::Refuses("407 Proxy Authentication Required"));
    let silent = ConnectProxy::start(Proxy::IsSilent);
    for (name, url) in [
        ("away", away),
        ("refuses", refuses.url()),
        ("wants other credentials", asks.url()),
        ("silent", silent.url()),
    ] {
        let place = Place::trusting(&far, "", &[("HTTPS_PROXY", &url)]);
        let ended = place.check_online().await;
        assert_eq!(ended.code, Some(1), "{name}: {}", ended.err);
        let address = url.split('@').nth(1).unwrap();
        let says = format!("the proxy http://{address} of HTTPS_PROXY opens no connection");
        assert!(ended.err.contains(&says), "{name}: {}", ended.err);
    }
}

/// `serve` goes the same way as `check`.
#[tokio::test]
async fn a_login_begins_through_the_proxy() {
    let far = FarProvider::start(&json!({}));
    let proxy = ConnectProxy::start(Proxy::Opens(far.helper.addr()));
    let url = proxy.url();
    let place = Place::trusting(&far, "", &[("HTTPS_PROXY", &url)]);
    let mut bff = Process::start(&["serve"], place.dir.path(), &place.environment);
    let address = bff.listens("listen").await;
    let login = Call::bare("GET", "/bff/login").header("Host", "app.example");
    let reply = login.send(address).await;
    let location = reply.location().unwrap();
    assert!(location.as_str().starts_with(ISSUER), "{location}");
    assert!(!bff.said().contains("ssword"), "{}", bff.said());
}

/// A7: secret, code and verifier of an https provider arrived in clear at a service on loopback, since
/// its metadata could say so.
#[tokio::test]
async fn an_https_issuer_leads_to_no_http() {
    for (name, address) in [
        ("token_endpoint", "http://127.0.0.1:9000/token"),
        ("jwks_uri", "http://localhost:9000/jwks"),
        ("revocation_endpoint", "http://[::1]:9000/revoke"),
    ] {
        let far = FarProvider::start(&json!({name: address}));
        let proxy = ConnectProxy::start(Proxy::Opens(far.helper.addr()));
        let url = proxy.url();
        let place = Place::trusting(&far, "", &[("HTTPS_PROXY", &url)]);
        let ended = place.check_online().await;
        assert_eq!(ended.code, Some(2), "{name}: {}", ended.err);
        let says = format!("`{name}` is not https, and the issuer is");
        assert!(ended.err.contains(&says), "{}", ended.err);
    }
}
