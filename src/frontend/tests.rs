use std::fs;
use std::io::Read as _;

use http::Request;
use http_body_util::BodyExt as _;
use tempfile::TempDir;

use super::*;
use crate::clock::SystemClock;

/// A build as bundlers leave it, with something beside it that nobody may have.
fn built() -> (TempDir, Frontend) {
    built_with(vec![])
}

fn built_with(headers: Vec<(HeaderName, HeaderValue)>) -> (TempDir, Frontend) {
    let around = tempfile::tempdir().unwrap();
    fs::write(around.path().join("secret.txt"), "secret").unwrap();
    let dir = around.path().join("dist");
    fs::create_dir_all(dir.join("assets")).unwrap();
    fs::create_dir_all(dir.join("docs")).unwrap();
    fs::create_dir_all(dir.join(".well-known")).unwrap();
    for (name, content) in [
        ("index.html", "<h1>app</h1>"),
        ("docs/index.html", "<h1>docs</h1>"),
        ("favicon.ico", "icon"),
        (".env", "secret"),
        (".well-known/security.txt", "contact"),
        ("assets/index-BqT0x_3d.js", "plain script"),
        ("assets/index-BqT0x_3d.js.br", "brotli"),
        ("assets/index-BqT0x_3d.js.gz", "gzip"),
        ("assets/only.css", "plain css"),
        ("assets/only.css.gz", "gzip css"),
        ("a b.txt", "spaced"),
    ] {
        fs::write(dir.join(name), content).unwrap();
    }
    fs::write(dir.join("big.bin"), vec![7; 300_000]).unwrap();
    std::os::unix::fs::symlink("../secret.txt", dir.join("out.txt")).unwrap();
    std::os::unix::fs::symlink("index.html", dir.join("in.html")).unwrap();
    let settings = FrontendSettings {
        mount: String::new(),
        dir,
        headers,
        compress: true,
    };
    let frontend = Frontend::new(settings, FileRoom::new(8), Arc::new(SystemClock)).unwrap();
    (around, frontend)
}

async fn ask(
    frontend: &Frontend,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Option<(u16, HeaderMap, Vec<u8>)> {
    let mut request = Request::builder().method(method);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    match frontend.answer(&parts, path).await {
        FrontendAnswer::NotFound => None,
        FrontendAnswer::Answer(response) => {
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Some((parts.status.as_u16(), parts.headers, body.to_vec()))
        }
    }
}

/// A pipe in the folder is no file, and nobody waits for what may come out of it.
#[tokio::test]
async fn what_is_no_file_is_not_opened() {
    let (around, frontend) = built();
    let pipe = around.path().join("dist/pipe.txt");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let answer = ask(&frontend, "GET", "/pipe.txt", &[]);
    let answer = tokio::time::timeout(std::time::Duration::from_secs(5), answer).await;
    // Whoever waits for a writer after all is let go, so that the test can end.
    let _writer = fs::File::options().read(true).write(true).open(&pipe);
    assert_eq!(answer.unwrap(), None);
}

#[tokio::test]
async fn files_pages_and_what_is_neither() {
    const PAGE: &[(&str, &str)] = &[("sec-fetch-mode", "navigate")];
    const FETCH: &[(&str, &str)] = &[("sec-fetch-mode", "cors")];
    // Through a service worker that passes it on: it found no page once.
    const PASSED_ON: &[(&str, &str)] = &[
        ("sec-fetch-mode", "same-origin"),
        ("sec-fetch-dest", "empty"),
        ("accept", "text/html,*/*;q=0.8"),
    ];
    const OLD_PAGE: &[(&str, &str)] = &[("accept", "text/html,*/*;q=0.8")];
    const OLD_FETCH: &[(&str, &str)] = &[("accept", "application/json")];
    let (_around, frontend) = built();
    for (path, headers, expected) in [
        ("/", PAGE, Some("<h1>app</h1>")),
        ("/", FETCH, Some("<h1>app</h1>")),
        ("/docs/", PAGE, Some("<h1>docs</h1>")),
        ("/orders/7", PAGE, Some("<h1>app</h1>")),
        ("/orders/7", PASSED_ON, Some("<h1>app</h1>")),
        ("/orders/7", FETCH, None),
        ("/orders/7", OLD_PAGE, Some("<h1>app</h1>")),
        ("/orders/7", OLD_FETCH, None),
        ("/orders/", PAGE, Some("<h1>app</h1>")),
        ("/assets", PAGE, Some("<h1>app</h1>")),
        ("/assets/", FETCH, None),
        ("/assets/gone-BqT0x_3d.js", PAGE, None),
        ("/favicon.ico", FETCH, Some("icon")),
        ("/favicon.ico/x", FETCH, None),
        ("/a%20b.txt", FETCH, Some("spaced")),
        ("/.env", PAGE, None),
        ("/.well-known/security.txt", PAGE, Some("contact")),
        ("/.well-known/gone.txt", PAGE, None),
        ("/out.txt", PAGE, None),
        ("/in.html", PAGE, Some("<h1>app</h1>")),
        ("/%2e%2e/secret.txt", PAGE, None),
    ] {
        let found = ask(&frontend, "GET", path, headers).await;
        let body = found.map(|(_, _, body)| String::from_utf8(body).unwrap());
        assert_eq!(body.as_deref(), expected, "{path} {headers:?}");
    }
}

#[tokio::test]
async fn a_precompressed_variant_is_preferred() {
    let (_around, frontend) = built();
    let script = "/assets/index-BqT0x_3d.js";
    for (path, accept, encoding, expected) in [
        (script, "gzip, br", Some("br"), "brotli"),
        (script, "gzip", Some("gzip"), "gzip"),
        (script, "identity", None, "plain script"),
        ("/assets/only.css", "br, gzip", Some("gzip"), "gzip css"),
        ("/assets/only.css", "br", None, "plain css"),
    ] {
        let (status, headers, body) = ask(&frontend, "GET", path, &[("accept-encoding", accept)])
            .await
            .unwrap();
        assert_eq!(status, 200);
        assert_eq!(body, expected.as_bytes(), "{path} {accept}");
        let found = headers.get(CONTENT_ENCODING).map(|v| v.to_str().unwrap());
        assert_eq!(found, encoding, "{path} {accept}");
        assert_eq!(headers[VARY], "accept-encoding");
        assert_eq!(headers[CONTENT_LENGTH], body.len().to_string().as_str());
    }
    let plain = ask(&frontend, "GET", script, &[]).await.unwrap().1;
    let packed = ask(&frontend, "GET", script, &[("accept-encoding", "br")])
        .await
        .unwrap()
        .1;
    assert_ne!(plain[ETAG], packed[ETAG]);
    assert_eq!(packed[CONTENT_TYPE], "text/javascript; charset=utf-8");
}

/// Text that lies there as it was written went out as it was; now it is packed, the same for HEAD,
/// never for a range, and anew for a new build.
#[tokio::test]
async fn text_is_packed_on_its_way() {
    let (around, frontend) = built();
    let dist = around.path().join("dist");
    let script = "let a = 'text';\n".repeat(2_000);
    let large = "let b = 'larger than is read at once';\n".repeat(4_000);
    fs::write(dist.join("app.js"), &script).unwrap();
    fs::write(dist.join("large.js"), &large).unwrap();
    fs::write(dist.join("photo.png"), &script).unwrap();
    let gzip = [("accept-encoding", "gzip, deflate, br")];
    for (path, plain, packed) in [
        ("/app.js", &script, true),
        ("/large.js", &large, true),
        ("/photo.png", &script, false),
    ] {
        for _ in 0..2 {
            let (status, headers, body) = ask(&frontend, "GET", path, &gzip).await.unwrap();
            assert_eq!(status, 200, "{path}");
            assert_eq!(headers.contains_key(CONTENT_ENCODING), packed, "{path}");
            assert_eq!(headers[CONTENT_LENGTH], body.len().to_string().as_str());
            assert_eq!(headers[VARY], "accept-encoding");
            let text = if packed { unpacked(&body) } else { body };
            assert_eq!(&String::from_utf8(text).unwrap(), plain, "{path}");
        }
    }
    let (_, plain, body) = ask(&frontend, "GET", "/app.js", &[]).await.unwrap();
    assert_eq!(body, script.as_bytes());
    let (_, packed, body) = ask(&frontend, "GET", "/app.js", &gzip).await.unwrap();
    assert!(body.len() < 1_000, "{}", body.len());
    assert_ne!(plain[ETAG], packed[ETAG]);
    let (_, head, nothing) = ask(&frontend, "HEAD", "/app.js", &gzip).await.unwrap();
    assert_eq!((nothing.len(), &head), (0, &packed));

    let tag = packed[ETAG].to_str().unwrap();
    let again = [gzip[0], ("if-none-match", tag)];
    assert_eq!(
        ask(&frontend, "GET", "/app.js", &again).await.unwrap().0,
        304
    );
    let part = [gzip[0], ("range", "bytes=0-3")];
    let (status, headers, body) = ask(&frontend, "GET", "/app.js", &part).await.unwrap();
    assert_eq!((status, body.as_slice()), (206, &b"let "[..]));
    assert!(!headers.contains_key(CONTENT_ENCODING));

    fs::write(dist.join("app.js"), script.replace("text", "TEXT")).unwrap();
    let (status, _, body) = ask(&frontend, "GET", "/app.js", &again).await.unwrap();
    assert_eq!(status, 200);
    assert!(unpacked(&body).starts_with(b"let a = 'TEXT'"));
}

/// Where something in front compresses, it need not be done here.
#[tokio::test]
async fn packing_can_be_left_out() {
    let (around, _) = built();
    let dir = around.path().join("dist");
    fs::write(dir.join("app.css"), "a {}\n".repeat(1_000)).unwrap();
    let settings = FrontendSettings {
        mount: String::new(),
        dir,
        headers: vec![],
        compress: false,
    };
    let frontend = Frontend::new(settings, FileRoom::new(8), Arc::new(SystemClock)).unwrap();
    let gzip = [("accept-encoding", "gzip")];
    let (_, headers, _) = ask(&frontend, "GET", "/app.css", &gzip).await.unwrap();
    assert!(!headers.contains_key(CONTENT_ENCODING));
    let (_, headers, body) = ask(&frontend, "GET", "/assets/only.css", &gzip)
        .await
        .unwrap();
    assert_eq!(headers[CONTENT_ENCODING], "gzip");
    assert_eq!(body, b"gzip css", "it lies there packed");
}

fn unpacked(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body)
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

#[tokio::test]
async fn hashed_files_are_kept_and_the_rest_is_asked_about() {
    let (_around, frontend) = built();
    for (path, expected) in [
        ("/", "no-cache"),
        ("/orders/7", "no-cache"),
        ("/favicon.ico", "no-cache"),
        ("/assets/only.css", "no-cache"),
        (
            "/assets/index-BqT0x_3d.js",
            "public, max-age=31536000, immutable",
        ),
    ] {
        let (_, headers, _) = ask(&frontend, "GET", path, &[]).await.unwrap();
        assert_eq!(headers[CACHE_CONTROL], expected, "{path}");
    }
}

#[tokio::test]
async fn what_the_browser_has_is_confirmed() {
    let (around, frontend) = built();
    let (_, headers, _) = ask(&frontend, "GET", "/", &[]).await.unwrap();
    let etag = headers[ETAG].to_str().unwrap().to_owned();
    let (status, headers, body) = ask(&frontend, "GET", "/", &[("if-none-match", &etag)])
        .await
        .unwrap();
    assert_eq!((status, body.len()), (304, 0));
    assert_eq!(headers[ETAG], etag.as_str());
    assert!(headers.contains_key(CONTENT_SECURITY_POLICY));
    assert!(!headers.contains_key(CONTENT_LENGTH));

    // A build of the same size and the same date, as reproducible images have it.
    let index = around.path().join("dist/index.html");
    let modified = fs::metadata(&index).unwrap().modified().unwrap();
    fs::write(&index, "<h1>APP</h1>").unwrap();
    let file = fs::File::options().write(true).open(&index).unwrap();
    file.set_modified(modified).unwrap();
    let (status, _, body) = ask(&frontend, "GET", "/", &[("if-none-match", &etag)])
        .await
        .unwrap();
    assert_eq!((status, body.as_slice()), (200, &b"<h1>APP</h1>"[..]));
}

/// RFC 9110 §13.1.1: a download that goes on with another state of the file would be of neither.
#[tokio::test]
async fn another_state_than_the_one_meant_is_412() {
    let (_around, frontend) = built();
    let (_, headers, _) = ask(&frontend, "GET", "/favicon.ico", &[]).await.unwrap();
    let etag = headers[ETAG].to_str().unwrap().to_owned();
    for (method, condition, expected) in [
        ("GET", ("if-match", etag.as_str()), 200),
        ("GET", ("if-match", "\"other\""), 412),
        ("HEAD", ("if-match", "\"other\""), 412),
        (
            "GET",
            ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
            412,
        ),
    ] {
        let range = ("range", "bytes=1-2");
        let headers: &[_] = if expected == 412 {
            &[condition, range]
        } else {
            &[condition]
        };
        let (status, answer, body) = ask(&frontend, method, "/favicon.ico", headers)
            .await
            .unwrap();
        assert_eq!(status, expected, "{method} {condition:?}");
        if expected == 412 {
            assert!(body.is_empty());
            assert_eq!(answer[ETAG], etag.as_str(), "what there is instead");
        }
    }
}

/// The app's page for a path that nobody is asked about; nothing but that page.
#[tokio::test]
async fn a_page_is_drawn_whatever_the_path() {
    let (_around, frontend) = built();
    for (method, mode, expected) in [
        ("GET", "navigate", Some(200)),
        ("HEAD", "navigate", Some(200)),
        ("GET", "cors", None),
        ("POST", "navigate", None),
    ] {
        let request = Request::builder().method(method).uri("/a;b/%2e%2e");
        let request = request.header("sec-fetch-mode", mode);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let status = match frontend.page(&parts).await {
            FrontendAnswer::Answer(response) => Some(response.status().as_u16()),
            FrontendAnswer::NotFound => None,
        };
        assert_eq!(status, expected, "{method} {mode}");
    }
}

#[tokio::test]
async fn parts_of_a_file_small_or_large() {
    let (_around, frontend) = built();
    let (status, headers, body) = ask(&frontend, "GET", "/favicon.ico", &[("range", "bytes=1-2")])
        .await
        .unwrap();
    assert_eq!((status, body.as_slice()), (206, &b"co"[..]));
    assert_eq!(headers[CONTENT_RANGE], "bytes 1-2/4");

    let (status, headers, body) = ask(&frontend, "GET", "/big.bin", &[("range", "bytes=100000-")])
        .await
        .unwrap();
    assert_eq!((status, body.len()), (206, 200_000));
    assert_eq!(headers[CONTENT_LENGTH], "200000");

    let (status, headers, body) = ask(&frontend, "GET", "/big.bin", &[("range", "bytes=300000-")])
        .await
        .unwrap();
    assert_eq!((status, body.len()), (416, 0));
    assert_eq!(headers[CONTENT_RANGE], "bytes */300000");

    let (status, headers, body) = ask(&frontend, "HEAD", "/big.bin", &[]).await.unwrap();
    assert_eq!((status, body.len()), (200, 0));
    assert_eq!(headers[CONTENT_LENGTH], "300000");
    assert_eq!(headers[ACCEPT_RANGES], "bytes");
}

#[tokio::test]
async fn only_reading_is_offered() {
    let (_around, frontend) = built();
    let (status, headers, _) = ask(&frontend, "POST", "/", &[]).await.unwrap();
    assert_eq!(status, 405);
    assert_eq!(headers[ALLOW], "GET, HEAD");
}

/// H6: every default header can be replaced or removed, and others added.
#[tokio::test]
async fn headers_are_laid_over_the_defaults() {
    let header = |name: &'static str, value: &'static str| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    let (_around, frontend) = built_with(vec![
        header("referrer-policy", "no-referrer"),
        header("permissions-policy", ""),
        header("x-robots-tag", "noindex"),
    ]);
    let (_, headers, _) = ask(&frontend, "GET", "/", &[]).await.unwrap();
    assert_eq!(headers[REFERRER_POLICY], "no-referrer");
    assert!(!headers.contains_key("permissions-policy"));
    assert_eq!(headers["x-robots-tag"], "noindex");
    assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
    assert!(
        headers[CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap()
            .contains("frame-ancestors 'none'")
    );
}

#[test]
fn a_folder_that_cannot_be_served_says_why() {
    let around = tempfile::tempdir().unwrap();
    let new = |dir: PathBuf| {
        let settings = FrontendSettings {
            mount: String::new(),
            dir,
            headers: vec![],
            compress: true,
        };
        settings.check()
    };
    assert!(matches!(
        new(around.path().join("gone")),
        Err(FrontendError::Unreadable { .. })
    ));
    assert!(matches!(
        new(around.path().to_owned()),
        Err(FrontendError::NoIndex { .. })
    ));
    let file = around.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(new(file), Err(FrontendError::NotAFolder { .. })));
}
