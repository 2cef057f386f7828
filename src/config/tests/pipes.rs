//! Files that a configuration names and that are none: pipes, devices, and what is far too large.

use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::files::{Files, certificate};
use super::*;

const ROUTE: &str = "[[route]]\npath = \"/api\"\nupstream = \"https://orders.internal\"\n";

/// A site of tenants that lacks nothing, with `more` of its own.
fn site(more: &str, tenants: &str) -> Files {
    let ground = r#"
[server]
sites = "sites"
[session]
keys = ["env:KEY"]
[frontend]
upstream = "http://localhost:5173"
"#;
    let shop = format!(
        r#"
public_url = "https://{{tenant}}.shop.example.com"
tenants_file = "tenants.toml"
tls = {{ cert = "../shop.crt", key = "../shop.key" }}
{more}
[provider]
issuer = "https://id.example.com"
client_id = "app"
client_secret = "file:secrets/{{tenant}}"
"#
    );
    let files = Files::new(ground, &[("shop.toml", &shop)])
        .with("sites/tenants.toml", tenants)
        .with("sites/secrets/acme", "s3cret\n");
    certificate(&files, "shop", &["*.shop.example.com"]);
    certificate(&files, "acme", &["acme.example"]);
    files
}

/// With a pipe in the place of the file at `path`.
fn with_pipe(files: Files, path: &str) -> Files {
    let path = files.0.path().join(path);
    let _none = fs::remove_file(&path);
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    files
}

/// What is said of these files, by a thread that is given up where it does not come back.
fn said_at_once(files: Files) -> String {
    let (sender, said) = mpsc::channel();
    thread::spawn(move || {
        // As whoever looks for changes does.
        let _stamp = Reload::new(files.0.path().join("bff.toml"), variables()).stamp();
        let said = match files.load() {
            Ok((_, warnings)) => warnings.to_string(),
            Err(errors) => errors.to_string(),
        };
        sender.send(files.plain(&said)).unwrap();
    });
    let said = said.recv_timeout(Duration::from_secs(30));
    said.unwrap_or_else(|_| "(it hangs)".to_owned())
}

/// One sentence each, at once: what may write one tenant's line could stop every reload, and eat all
/// memory. A pipe that nobody writes to was waited for, and a device was read to the end that it lacks.
#[test]
fn pipes_and_devices_are_no_files() {
    let acme = "acme = {}\n";
    let of_acme = |tls: &str| site("", &format!("[acme]\nhost = \"acme.example\"\n{tls}\n"));
    let own = |key: &str| {
        of_acme(&format!(
            "tls = {{ cert = \"../acme.crt\", key = \"{key}\" }}"
        ))
    };
    assert_eq!(said_at_once(own("../acme.key")), "");
    let large = own("../large.key");
    let file = fs::File::create(large.0.path().join("large.key")).unwrap();
    file.set_len(1 << 40).unwrap();
    let cases = [
        ("a secret", with_pipe(site("", acme), "sites/secrets/acme")),
        ("a tenant's key", with_pipe(own("../acme.key"), "acme.key")),
        (
            "a tenant's chain",
            with_pipe(own("../acme.key"), "acme.crt"),
        ),
        ("a device", own("/dev/zero")),
        ("a large key", large),
        ("tenants", with_pipe(site("", acme), "sites/tenants.toml")),
        ("bff.toml", with_pipe(site("", acme), "bff.toml")),
        (
            "an error page",
            with_pipe(
                site("frontend.error_page = \"oh.html\"", acme),
                "sites/oh.html",
            ),
        ),
        (
            "roots",
            with_pipe(
                site(&format!("{ROUTE}ca = \"ca.pem\""), acme),
                "sites/ca.pem",
            ),
        ),
    ];
    let mut table = String::new();
    for (what, files) in cases {
        writeln!(table, "{what}: {}", said_at_once(files)).unwrap();
    }
    assert_snapshot!(table, @r#"
    a secret: sites/tenants.toml:1:1: acme has no provider.client_secret: it is to come from sites/secrets/acme, which can't be read (it is no regular file); put the secret there and let this process read it
    a tenant's key: sites/tenants.toml:3:37: acme.tls.key names sites/../acme.key, which can't be read (it is no regular file); write the path of a PEM file that this process may read
    a tenant's chain: sites/tenants.toml:3:16: acme.tls.cert names sites/../acme.crt, which can't be read (it is no regular file); write the path of a PEM file that this process may read
    a device: sites/tenants.toml:3:37: acme.tls.key names /dev/zero, which can't be read (it is no regular file); write the path of a PEM file that this process may read
    a large key: sites/tenants.toml:3:37: acme.tls.key names sites/../large.key, which can't be read (it has more than 1 MiB); write the path of a PEM file that this process may read
    tenants: sites/shop.toml:3:16: tenants_file names sites/tenants.toml, which can't be read (it is no regular file); write the path of a TOML file with a table for each tenant
    bff.toml: bff.toml: can't be read (it is no regular file); name the configuration with --config FILE
    an error page: sites/shop.toml:5:23: frontend.error_page names sites/oh.html, which can't be read (it is no regular file); write the path of an HTML file, or leave error_page out for the page of bff
    roots: sites/shop.toml:8:6: route.ca names sites/ca.pem, which can't be read (it is no regular file); write the path of a PEM file with the roots of the upstream's certificate
    "#);
}
