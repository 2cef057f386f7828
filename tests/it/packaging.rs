//! What we ship to run the product with: it fits the product, and one part of it the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bff::clock::{Clock as _, ManualClock, SystemClock};
use bff::config::{Config, Variables};

use crate::support::call::HOST;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::process::Process;

fn shipped(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The first block of this language behind `heading`.
fn block<'a>(text: &'a str, heading: &str, language: &str) -> &'a str {
    let (_, section) = text.split_once(heading).unwrap();
    let (_, block) = section.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0
}

/// The production configuration of the README.
fn readme_config() -> String {
    block(&shipped("README.md"), "## In production", "toml").to_owned()
}

/// The values of a shell command's option.
fn values<'a>(command: &'a str, option: &str) -> Vec<&'a str> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == option);
    pairs.map(|pair| pair[1].trim_matches('"')).collect()
}

const CLIENT_SECRET: &str = "what the provider gave";
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// The Dockerfile's `docker run` brings all that the README's configuration names: its variables, the
/// folder of its files and its port. (Key, certificate and administration key were missing, and the
/// container ended at once.)
#[test]
fn the_image_is_run_with_what_the_readme_names() {
    let config: toml::Table = readme_config().parse().unwrap();
    let dockerfile = shipped("Dockerfile");
    let (_, command) = dockerfile.split_once("#   docker run").unwrap();
    let (command, _) = command.split_once("\n#\n").unwrap();
    let text = readme_config();
    let named = text.split("env:").skip(1);
    for name in named.map(|rest| rest.split('"').next().unwrap()) {
        assert!(values(command, "--env").contains(&name), "--env {name}");
    }
    let server = config["server"].as_table().unwrap();
    let port = server["listen"]
        .as_str()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap();
    assert_eq!(values(command, "--publish"), [format!("443:{port}")]);
    assert!(dockerfile.contains(&format!("EXPOSE {port}")));
    let folder = values(command, "--volume");
    assert!(folder[0].ends_with(":/etc/bff:ro"), "{folder:?}");
    assert!(
        dockerfile.contains("WORKDIR /etc/bff"),
        "what relative paths start from"
    );
    // Three ends of what is under way: the drain, as long again for refreshes, and some.
    let patience: u64 = values(command, "--stop-timeout")[0].parse().unwrap();
    let (config, warnings, _) = loaded(&text);
    assert_eq!(warnings, "");
    assert!(patience > config.server.timeouts.drain.as_secs() * 2);
}

/// A configuration as it is loaded in a folder that has the files which it names, and what is said of it.
fn loaded(text: &str) -> (Config, String, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("dist")).unwrap();
    fs::write(dir.path().join("dist/index.html"), "the app").unwrap();
    let pair = rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).unwrap();
    fs::write(dir.path().join("tls.crt"), pair.cert.pem()).unwrap();
    fs::write(dir.path().join("tls.key"), pair.signing_key.serialize_pem()).unwrap();
    for (secret, says) in [
        ("admin_key", KEY),
        ("client_secret", CLIENT_SECRET),
        ("session_key", KEY),
    ] {
        fs::write(dir.path().join(secret), says).unwrap();
    }
    fs::write(dir.path().join("store_url"), "redis://127.0.0.1:1").unwrap();
    let file = dir.path().join("bff.toml");
    fs::write(&file, text).unwrap();
    let (config, warnings) = Config::load(&file, &secrets()).unwrap();
    (config, warnings.to_string(), dir)
}

fn secrets() -> Variables {
    let said = [
        ("BFF_CLIENT_SECRET", CLIENT_SECRET),
        ("BFF_SESSION_KEY", KEY),
        ("BFF_ADMIN_KEY", KEY),
    ];
    said.map(|(name, says)| (name.to_owned(), says.to_owned()))
        .into()
}

/// The README's production configuration starts as it stands, from the folder of its files.
#[tokio::test]
async fn the_readmes_configuration_serves() {
    let (_, warnings, place) = loaded(&readme_config());
    assert_eq!(warnings, "");
    let now = Arc::new(ManualClock::starting_at(SystemClock.now()));
    let idp = Idp::start(&now);
    let mut environment: BTreeMap<String, String> = secrets();
    // This machine's provider and free ports; all else is the file's.
    for (name, value) in [
        ("BFF_SERVER__LISTEN", "127.0.0.1:0"),
        ("BFF_SERVER__ADMIN_LISTEN", "127.0.0.1:0"),
        ("BFF_SERVER__PUBLIC_URL", PUBLIC_URL),
        ("BFF_PROVIDER__ISSUER", &idp.issuer),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    let mut process = Process::start(&["serve"], place.path(), &environment);
    process.listens("listen").await;
    process.terminate().await;
    assert_eq!(process.ended().await, Some(0), "{}", process.said());
}

/// The manifest's bff.toml is one that the product takes, and the pod has the time to end that it says.
#[test]
fn the_manifest_fits_the_product() {
    let manifest = shipped("packaging/kubernetes/bff.yaml");
    let (_, text) = manifest.split_once("  bff.toml: |\n").unwrap();
    let (text, _) = text.split_once("---\n").unwrap();
    let lines = text
        .lines()
        .map(|line| line.strip_prefix("    ").unwrap_or(line));
    let text = lines.collect::<Vec<_>>().join("\n");
    let (config, warnings, _place) = loaded(&text.replace("/run/secrets/bff/", ""));
    // What keeps others from that listener is the NetworkPolicy, of which bff knows nothing.
    let expected = |line: &str| line.contains("server.admin_listen takes the keys");
    assert!(
        warnings.lines().count() == 1 && warnings.lines().all(expected),
        "{warnings}"
    );

    let (_, grace) = manifest
        .split_once("terminationGracePeriodSeconds: ")
        .unwrap();
    let grace: u64 = grace.lines().next().unwrap().parse().unwrap();
    let longest = config.drain_delay + config.server.timeouts.drain * 2;
    assert!(
        Duration::from_secs(grace) > longest,
        "{grace} s, {longest:?}"
    );

    let public = config.server.listen.tcp().unwrap();
    let admin = config.admin.unwrap().listen.tcp().unwrap();
    for port in [public.port(), admin.port()] {
        assert!(manifest.contains(&format!("containerPort: {port}")));
    }
    assert!(!admin.ip().is_loopback(), "the kubelet asks from outside");
}

/// The unit names what the product understands: its file, and a reload that does not end it.
#[test]
fn the_unit_fits_the_product() {
    let unit = shipped("packaging/systemd/bff.service");
    let says = |line: &str| assert!(unit.lines().any(|own| own == line), "{line}");
    says("Type=notify");
    says("ExecStart=/usr/local/bin/bff serve --config /etc/bff/bff.toml");
    says("ExecReload=/bin/sh -c 'kill -HUP $MAINPID'");
    // The exit code of a configuration that is refused.
    says("RestartPreventExitStatus=2");
}

/// Every file that a page of ours links to is there.
#[test]
fn no_link_of_a_page_leads_nowhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![];
    for folder in [
        "",
        "docs",
        "examples/cluster",
        "examples/keycloak",
        "examples/react",
        "examples/sites",
    ] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|kind| kind == "md") {
                pages.push(path);
            }
        }
    }
    assert!(pages.len() > 10, "{pages:?}");
    let mut lost = vec![];
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for rest in text.split("](").skip(1) {
            let (link, _) = rest.split_once(')').unwrap();
            let file = link.split('#').next().unwrap();
            let is_ours = !file.is_empty() && !file.contains(':') && !file.contains(' ');
            if is_ours && !page.parent().unwrap().join(file).exists() {
                lost.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}
