//! Which address a connection goes to, as names move and upstreams fall mute.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::stage::{Proxy, Upstream, limits, no_roots, room};
use crate::proxy::dial::{Resolve, Resolving};
use crate::proxy::route::tests::settings;
use crate::proxy::upstream::{UpstreamLimits, Upstreams};

const GET: &str = "GET /x HTTP/1.1\r\nhost: app.example\r\n\r\n";

/// Says who it is, so that a test sees where its request went.
struct Named {
    upstream: Upstream,
    name: &'static str,
}

impl Named {
    async fn new(name: &'static str) -> Self {
        let upstream = Upstream::new().await;
        Self { upstream, name }
    }

    /// Answers every request until dropped, and keeps connections open or not.
    async fn serve(&self, connection: &str) {
        let mut wires = tokio::task::JoinSet::new();
        let length = self.name.len();
        let name = self.name;
        loop {
            let mut wire = self.upstream.accept().await;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: {connection}\r\ncontent-length: {length}\r\n\r\n{name}"
            );
            wires.spawn(async move {
                while wire.try_until("\r\n\r\n").await.is_some() {
                    wire.send(&answer).await;
                }
            });
        }
    }
}

/// A name that leads wherever the test says.
#[derive(Default)]
struct Directory(Mutex<Vec<SocketAddr>>);

impl Directory {
    fn leads_to(&self, upstreams: &[&Named]) {
        *self.0.lock().unwrap() = upstreams.iter().map(|to| to.upstream.addr()).collect();
    }
}

impl Resolve for Directory {
    fn resolve<'a>(&'a self, host: &'a str, _port: u16) -> Resolving<'a> {
        assert_eq!(host, "api.example");
        Box::pin(async { io::Result::Ok(self.0.lock().unwrap().clone()) })
    }
}

async fn proxy_with(directory: &Arc<Directory>, limits: UpstreamLimits) -> Proxy {
    let resolver = Arc::clone(directory) as Arc<dyn Resolve>;
    let upstreams = Upstreams::new(limits, room(), no_roots(), resolver);
    Proxy::over(settings("/", "http://api.example"), upstreams).await
}

async fn who_answers(proxy: &Proxy) -> String {
    let mut browser = proxy.browser().await;
    let answer = browser.ask(GET).await;
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// A name that leads elsewhere is followed once its connection is old, though the old address would
/// still answer. (A kept connection served for as long as calls kept it busy.)
#[tokio::test]
async fn a_name_that_moves_is_followed() {
    const AGE: Duration = Duration::from_millis(700);
    let (old, new) = (Named::new("old").await, Named::new("new").await);
    let directory = Arc::new(Directory::default());
    directory.leads_to(&[&old]);
    let proxy = proxy_with(
        &directory,
        UpstreamLimits {
            age: AGE,
            ..limits()
        },
    )
    .await;
    let story = async {
        let made = Instant::now();
        assert_eq!(who_answers(&proxy).await, "old");
        directory.leads_to(&[&new]);
        let mut kept = 0;
        while who_answers(&proxy).await == "old" {
            kept += 1;
            assert!(made.elapsed() < AGE * 4, "the old connection is still used");
            tokio::time::sleep(AGE / 10).await;
        }
        assert!(kept > 1, "the connection was not kept at all");
        assert!(made.elapsed() >= AGE);
    };
    tokio::select! {
        () = story => {}
        () = old.serve("keep-alive") => {}
        () = new.serve("keep-alive") => {}
    }
}

/// Of two upstreams one is mute: one request waits for it, and no other. It is asked again beside the
/// requests, and used when it is back. (Every second request waited out the connect timeout.)
#[tokio::test]
async fn a_mute_upstream_is_left_out_until_it_is_back() {
    let (mute, well) = (Named::new("mute").await, Named::new("well").await);
    mute.upstream.falls_mute();
    let mut two = settings("/", &mute.upstream.url());
    two.upstreams.push(well.upstream.url().parse().unwrap());
    let proxy = Proxy::with(two).await;
    let story = async {
        assert_eq!(who_answers(&proxy).await, "well");
        let since = Instant::now();
        for _ in 0..10 {
            assert_eq!(who_answers(&proxy).await, "well");
        }
        assert!(since.elapsed() < limits().connect, "{:?}", since.elapsed());
        mute.upstream.speaks_again();
        while who_answers(&proxy).await == "well" {
            assert!(since.elapsed() < Duration::from_secs(20), "never back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = story => {}
        () = well.serve("keep-alive") => {}
        () = mute.serve("keep-alive") => {}
    }
}

/// The same of two addresses of one name. (Each new connection waited for the mute one first.)
#[tokio::test]
async fn a_mute_address_is_tried_last_until_it_is_back() {
    let (mute, well) = (Named::new("mute").await, Named::new("well").await);
    mute.upstream.falls_mute();
    let directory = Arc::new(Directory::default());
    directory.leads_to(&[&mute, &well]);
    let proxy = proxy_with(&directory, limits()).await;
    let story = async {
        assert_eq!(who_answers(&proxy).await, "well");
        let since = Instant::now();
        for _ in 0..10 {
            assert_eq!(who_answers(&proxy).await, "well");
        }
        assert!(since.elapsed() < limits().connect, "{:?}", since.elapsed());
        mute.upstream.speaks_again();
        while who_answers(&proxy).await == "well" {
            assert!(since.elapsed() < Duration::from_secs(20), "never back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = story => {}
        () = well.serve("close") => {}
        () = mute.serve("close") => {}
    }
}
