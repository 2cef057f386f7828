//! `route.client_cert`.

use rcgen::{CertificateParams, KeyPair};
use time::{Duration, OffsetDateTime};

use super::*;
use crate::clock::{Clock as _, SystemClock};

/// §8, N2: missing, of another kind, of two pairs, expired: each is one sentence with its file.
#[test]
fn a_certificate_that_is_of_no_use_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let now = OffsetDateTime::from_unix_timestamp(SystemClock.now().unix_seconds()).unwrap();
    let write = |name: &str, ends: OffsetDateTime| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["bff".to_owned()]).unwrap();
        params.not_before = now - Duration::days(30);
        params.not_after = ends;
        let cert = params.self_signed(&key).unwrap();
        fs::write(folder.path().join(format!("{name}.crt")), cert.pem()).unwrap();
        fs::write(
            folder.path().join(format!("{name}.key")),
            key.serialize_pem(),
        )
        .unwrap();
    };
    write("good", now + Duration::days(30));
    write("other", now + Duration::days(30));
    write("old", now - Duration::days(1));
    fs::write(folder.path().join("empty.crt"), "nothing").unwrap();
    let upstream = "upstream = \"https://orders.internal:9000\"\n";
    for (cert, key, says) in [
        ("good.crt", "good.key", ""),
        ("old.crt", "old.key", "expired"),
        ("good.crt", "other.key", "key"),
        ("nowhere.crt", "good.key", "can't be read"),
        ("empty.crt", "good.key", "no PEM block of this kind"),
        ("good.crt", "good.crt", "PRIVATE KEY"),
    ] {
        let text = file_with(
            "[route]",
            &format!("{upstream}client_cert = {{ cert = \"{cert}\", key = \"{key}\" }}"),
        );
        let file = folder.path().join("bff.toml");
        let said = match Config::parse(&text, &file, &variables()) {
            Ok(_) => String::new(),
            Err(errors) => errors.to_string(),
        };
        assert!(said.contains(says), "{cert} {key}: {said}");
        assert_eq!(said.is_empty(), says.is_empty(), "{cert} {key}: {said}");
        assert!(said.lines().count() <= 1, "{cert} {key}: {said}");
        assert!(
            says.is_empty() || said.contains("route.client_cert"),
            "{said}"
        );
    }
}
