//! What `bff check` says of a configuration of many files: every fault at once, each with its file, line,
//! column and remedy (N3).

use std::collections::BTreeMap;
use std::path::Path;

use tempfile::TempDir;

use crate::support::authority::Authority;
use crate::support::process::run;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    dir
}

/// What `check` says there, which `serve` says too.
async fn refused(dir: &Path) -> String {
    let environment: BTreeMap<String, String> = [
        ("SECRET", "a client secret of some length"),
        ("KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let mut told = Vec::new();
    for command in ["check", "serve"] {
        let ended = run(&[command], dir, &environment).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{command}");
        told.push(ended.err);
    }
    assert_eq!(told[0], told[1], "serve says what check says");
    told.remove(0)
}

/// The listener's certificate and key are no such thing: that is said once, and no site is said to lack a
/// certificate for it, as each was.
#[tokio::test]
async fn faults_in_five_files_are_named_at_once() {
    let dir = folder(&[
        (
            "bff.toml",
            r#"[server]
listen = "0.0.0.0:8443"
public_url = "https://app.example.com"
tls = { cert = "tls.crt", key = "tls.key" }
sites = "sites"
worker = 2

[provider]
issuer = "https://id.example.com"
client_id = "app"
client_secret = "env:SECRET"

[session]
keys = ["file:keys/session"]
idle_timeout = 30

[[route]]
path = "/api"
upstream = "http://orders.internal:9000"
"#,
        ),
        ("keys/session", "short\n"),
        ("tls.crt", "-----BEGIN CERTIFICATE-----\nnothing\n"),
        ("tls.key", "nothing\n"),
        (
            "sites/desk.toml",
            r#"public_url = "https://desk.example.com"

[provider]
client_id = "desk"
client_secret = "file:desk.secret"

[[route]]
path = "api"
upstream = "http://desk.internal:9000"
"#,
        ),
        (
            "sites/shop.toml",
            "public_url = \"http://shop.example.com\"\n[session]\nstore = \"redis\"\n",
        ),
        (
            "sites/team.toml",
            r#"public_url = "https://app.example.com/team"
[session.cookie]
same_site = "lax"
"#,
        ),
    ]);
    insta::assert_snapshot!(refused(dir.path()).await, @r#"
    bff.toml:4:16: server.tls.cert names tls.crt, which is damaged: an -----END … line is missing; write the path of a file that can be used
    bff.toml:4:33: server.tls.key names tls.key, which holds no PEM block of this kind; write the path of a file with -----BEGIN … PRIVATE KEY-----
    bff.toml:6:1: server.worker is not a key of [server]; write workers instead
    bff.toml:14:9: session.keys file:keys/session holds no key of 32 bytes; put what bff keygen prints there
    bff.toml:15:16: session.idle_timeout has no unit; write "30s" or "30m", with its unit and in quotes
    sites/desk.toml:5:17: provider.client_secret is to come from sites/desk.secret, which can't be read (No such file or directory (os error 2)); put the secret there and let this process read it
    sites/desk.toml:8:8: route.path does not start with a slash: "api"; write one such as "/api"
    sites/shop.toml:1:14: public_url is http, so that anyone on the way can take over sessions; write "https://shop.example.com"
    sites/shop.toml:3:1: session.store is the whole process's, and this is one of its sites; write it in [session] of bff.toml
    sites/team.toml:3:13: session.cookie.same_site is "lax", which is not a choice; write "Strict" or "Lax"
    "#);
}

/// What two sites have in common is one sentence at the later of them, however many they are.
#[tokio::test]
async fn what_two_sites_share_is_one_sentence() {
    let (cert, key) = Authority::new().certificate_for("app.example.com");
    let at = |path: &str| format!("public_url = \"https://app.example.com{path}\"\n");
    let one_cookie = "[session.cookie]\nname = \"__Host-Http-bff\"\n";
    let dir = folder(&[
        (
            "bff.toml",
            r#"[server]
listen = "0.0.0.0:8443"
public_url = "https://app.example.com"
tls = { cert = "tls.crt", key = "tls.key" }
sites = "sites"
[provider]
issuer = "https://id.example.com"
client_id = "app"
client_secret = "env:SECRET"
[session]
keys = ["env:KEY"]
"#,
        ),
        ("tls.crt", &cert),
        ("tls.key", &key),
        ("sites/again.toml", &at(":9443/")),
        (
            "sites/bare.toml",
            "public_url = \"https://bare.example.com\"\n",
        ),
        ("sites/desk.toml", &format!("{}{one_cookie}", at("/desk"))),
        (
            "sites/shop.toml",
            &format!("id = \"desk\"\n{}", at("/shop")),
        ),
        ("sites/team.toml", &format!("{}{one_cookie}", at("/team"))),
        ("sites/zoo.toml", &format!("id = \"desk\"\n{}", at("/zoo"))),
    ]);
    insta::assert_snapshot!(refused(dir.path()).await, @r#"
    sites/again.toml:1:14: public_url is where bff.toml is too: app.example.com/ (a port tells no sites apart); write another host, or a path such as "/shop" after it
    sites/bare.toml:1:14: public_url is https, and no certificate is for bare.example.com, so that no browser gets there; write tls = { cert, key } with one that is
    sites/desk.toml:3:8: session.cookie.name is the name of the cookie of bff.toml, which is on this host as well; write another session.cookie.name
    sites/shop.toml:1:6: id is the name of sites/desk.toml too; give each site a name of its own: the file's, or id
    sites/team.toml:3:8: session.cookie.name is the name of the cookie of bff.toml, which is on this host as well; write another session.cookie.name
    sites/zoo.toml:1:6: id is the name of sites/desk.toml too; give each site a name of its own: the file's, or id
    "#);
}
