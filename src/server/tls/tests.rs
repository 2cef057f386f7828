//! What is judged, chosen and read again, without a socket.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::web::key_pair::PairFault;

fn issue(dir: &Path, stem: &str, names: &[&str]) -> TlsFiles {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    write(dir, stem, &CertificateParams::new(names).unwrap())
}

fn changed(dir: &Path, change: impl FnOnce(&mut CertificateParams)) -> TlsFiles {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    write(dir, "tls", &params)
}

fn write(dir: &Path, stem: &str, params: &CertificateParams) -> TlsFiles {
    let key = KeyPair::generate().unwrap();
    let files = TlsFiles {
        cert: dir.join(format!("{stem}.crt")),
        key: dir.join(format!("{stem}.key")),
    };
    fs::write(&files.cert, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

fn of_site(host: &str, files: &TlsFiles) -> SiteCertificate {
    SiteCertificate {
        host: host.to_owned(),
        files: files.clone(),
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn load(otherwise: Option<&TlsFiles>, sites: &[SiteCertificate]) -> Certificates {
    Certificates::load(otherwise, sites, now())
        .unwrap()
        .unwrap()
}

/// Whether a set goes on with the very same thing for this name, not with one that was read anew.
fn is_the_same(before: &Set, after: &Set, name: &str) -> bool {
    let chosen = |set: &Set| set.choose(Some(name)).unwrap().config;
    Arc::ptr_eq(&chosen(before), &chosen(after))
}

#[test]
fn a_certificate_that_cannot_be_used_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemClock.now();
    let good = issue(dir.path(), "tls", &["localhost"]);
    good.check(now).unwrap();
    let good_key = fs::read(&good.key).unwrap();
    let check = |name: &str, files: &TlsFiles, expected: &str| {
        let error = files.check(now).unwrap_err().to_string();
        let error = error.replace(&format!("{}/", dir.path().display()), "");
        assert_eq!(error, expected, "{name}");
    };

    let gone = TlsFiles {
        cert: dir.path().join("gone.crt"),
        key: good.key.clone(),
    };
    check(
        "gone",
        &gone,
        "cannot read gone.crt: No such file or directory (os error 2)",
    );
    let swapped = TlsFiles {
        cert: good.key.clone(),
        key: good.cert.clone(),
    };
    check("swapped", &swapped, "tls.key holds no certificate");
    let both = TlsFiles {
        cert: good.cert.clone(),
        key: good.cert,
    };
    check("no key", &both, "tls.crt holds no private key");

    let other = issue(dir.path(), "tls", &["localhost"]);
    fs::write(&other.key, good_key).unwrap();
    check(
        "other key",
        &other,
        "the key tls.key does not fit the certificate tls.crt",
    );

    let expired = changed(dir.path(), |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 3);
    });
    check(
        "expired",
        &expired,
        "the certificate tls.crt expired at 2020-02-03T00:00:00Z",
    );
    // Past 2049 a certificate writes its years with four digits.
    let late = changed(dir.path(), |params| {
        params.not_after = rcgen::date_time_ymd(2051, 2, 3);
    });
    late.check(now).unwrap();
    let later = Timestamp::from_unix_seconds(2_600_000_000);
    assert!(matches!(late.check(later), Err(PairFault::Expired { .. })));
}

/// DESIGN §7: a site's certificate is for its host, and a host has one.
#[test]
fn a_certificate_of_a_site_is_for_its_host() {
    let dir = tempfile::tempdir().unwrap();
    let shop = issue(dir.path(), "shop", &["shop.example.com", "192.0.2.1"]);
    let below = issue(dir.path(), "below", &["*.app.example.com"]);
    of_site("Shop.example.com", &shop).check(now()).unwrap();
    of_site("*.app.example.com", &below).check(now()).unwrap();
    let told = |error: TlsError| {
        error
            .to_string()
            .replace(&format!("{}/", dir.path().display()), "")
    };
    for (host, files, expected) in [
        (
            "blog.example.com",
            &shop,
            "the certificate shop.crt does not cover blog.example.com; it is for shop.example.com, 192.0.2.1",
        ),
        (
            "app.example.com",
            &below,
            "the certificate below.crt does not cover app.example.com; it is for *.app.example.com",
        ),
        (
            "*.example.com",
            &shop,
            "the certificate shop.crt does not cover *.example.com; it is for shop.example.com, 192.0.2.1",
        ),
        (
            "192.0.2.1",
            &shop,
            "192.0.2.1 is an address, and browsers name no address when they ask for a certificate: write shop.crt as server.tls",
        ),
    ] {
        let site = of_site(host, files);
        assert_eq!(told(site.check(now()).unwrap_err()), expected);
        let refused = Certificates::load(None, &[site], now());
        assert_eq!(told(refused.unwrap_err()), expected);
    }
    let two = [
        of_site("a.app.example.com", &below),
        of_site("shop.example.com", &shop),
        // Sites of one host, on two paths.
        of_site("shop.example.com", &shop),
        of_site("A.app.example.com", &shop),
    ];
    let refused = Certificates::load(None, &two, now()).unwrap_err();
    assert_eq!(
        told(refused),
        "A.app.example.com has two certificates, below.crt and shop.crt: sites of one host have one"
    );
    assert!(Certificates::load(None, &[], now()).unwrap().is_none());
    assert_eq!(
        names_in(&shop).unwrap().to_string(),
        "shop.example.com, 192.0.2.1"
    );
}

/// N2: each is looked at for itself; what is new of one is told with its host, a fault once.
#[test]
fn each_certificate_is_looked_at_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let shop = issue(dir.path(), "shop", &["shop.example.com"]);
    let blog = issue(dir.path(), "blog", &["blog.example.com"]);
    let sites = [
        of_site("shop.example.com", &shop),
        of_site("blog.example.com", &blog),
    ];
    let certificates = load(None, &sites);
    let set = || certificates.0.current.load_full();
    assert!(certificates.reload(now()).is_empty());

    let first = set();
    issue(dir.path(), "shop", &["shop.example.com"]);
    let news = certificates.reload(now());
    assert_eq!(news.len(), 1);
    assert_eq!(news[0].host.as_deref(), Some("shop.example.com"));
    news[0].taken.as_ref().unwrap();
    let second = set();
    assert!(!is_the_same(&first, &second, "shop.example.com"));
    assert!(is_the_same(&first, &second, "blog.example.com"));

    // One that browsers take for another host's is as bad as none.
    issue(dir.path(), "shop", &["evil.test"]);
    fs::write(&blog.key, "broken").unwrap();
    let news = certificates.reload(now());
    let faults: Vec<_> = news
        .iter()
        .map(|news| news.taken.as_ref().unwrap_err())
        .collect();
    assert!(matches!(
        &*faults,
        [
            TlsError::DoesNotCover { .. },
            TlsError::Pair(PairFault::Missing { .. })
        ]
    ));
    assert!(certificates.reload(now()).is_empty(), "told once");
    for name in ["shop.example.com", "blog.example.com"] {
        assert!(is_the_same(&second, &set(), name), "{name}");
    }

    // What a file has not, a set that is made of it has not either.
    certificates.replace(None, &sites, now()).unwrap_err();
    issue(dir.path(), "shop", &["shop.example.com"]);
    issue(dir.path(), "blog", &["blog.example.com"]);
    certificates.replace(None, &sites, now()).unwrap();
    assert!(!is_the_same(&second, &set(), "blog.example.com"));
    assert!(certificates.reload(now()).is_empty());
}

/// DESIGN §7: a new set reads what is new, and the first end counts.
#[test]
fn a_new_set_reads_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let ends = |stem: &str, host: &str, year| {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        write(dir.path(), stem, &params)
    };
    let shop = ends("shop", "shop.example.com", 2048);
    let blog = ends("blog", "blog.example.com", 2041);
    let certificates = load(Some(&shop), &[of_site("blog.example.com", &blog)]);
    let end = |certificates: &Certificates| certificates.expires().unwrap().rfc3339();
    assert_eq!(end(&certificates), "2041-01-01T00:00:00Z");
    let before = certificates.0.current.load_full();
    let sites = [of_site("shop.example.com", &shop)];
    certificates.replace(Some(&shop), &sites, now()).unwrap();
    assert_eq!(end(&certificates), "2048-01-01T00:00:00Z");
    let after = certificates.0.current.load_full();
    assert!(is_the_same(&before, &after, "shop.example.com"));
    assert_eq!(after.len(), 1, "the same files once");
}

/// N1: whose certificate ends soon is known while there is time, however long they live.
#[test]
fn what_ends_soon_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let lives = |stem: &str, from: (i32, u8, u8), to: (i32, u8, u8)| {
        let mut params = CertificateParams::new([format!("{stem}.example.com")]).unwrap();
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
        let files = write(dir.path(), stem, &params);
        of_site(&format!("{stem}.example.com"), &files)
    };
    let sites = [
        lives("year", (2040, 1, 20), (2041, 1, 20)),
        lives("week", (2041, 1, 3), (2041, 1, 10)),
    ];
    let certificates = load(None, &sites);
    // 2041-01-05, 06 and 09.
    for (day, expected) in [
        (2_240_956_800, &[][..]),
        (2_241_043_200, &["year.example.com"]),
        (2_241_302_400, &["year.example.com", "week.example.com"]),
    ] {
        let set = certificates.0.current.load();
        let ending = set.ending(Timestamp::from_unix_seconds(day));
        let hosts: Vec<_> = ending.map(|(pair, _)| pair.host().unwrap()).collect();
        assert_eq!(hosts, expected, "{day}");
    }
}

/// DESIGN §7: thousands of sites cost a start little, and a change of one of them less.
#[test]
fn a_thousand_certificates_are_read_in_a_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut sites: Vec<_> = (0..1000)
        .map(|n| {
            let host = format!("site-{n}.example.com");
            of_site(&host, &issue(dir.path(), &host, &[&host]))
        })
        .collect();
    let since = Instant::now();
    let certificates = load(None, &sites);
    let loaded = since.elapsed();
    let before = certificates.0.current.load_full();
    sites.remove(0);
    let since = Instant::now();
    certificates.replace(None, &sites, now()).unwrap();
    let replaced = since.elapsed();
    let after = certificates.0.current.load_full();
    assert!(is_the_same(&before, &after, "site-999.example.com"));
    assert!(after.choose(Some("site-0.example.com")).is_none());
    println!("1,000 certificates: {loaded:?}; a change: {replaced:?}");
    assert!(loaded < Duration::from_secs(5), "{loaded:?}");
    assert!(replaced < loaded, "{replaced:?}");
}
