//! An upstream on loopback, and the ways to it.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bff::proxy::dial::SystemResolver;
use bff::proxy::route::RouteTable;
use bff::proxy::upstream::{UpstreamLimits, UpstreamRoom, Upstreams};
use bff::proxy::{CsrfCheck, RouteAuth, RouteSettings};
use bff::web::cookie_names::CookieNames;
use bff::web::pace::LeastRate;
use bff::web::public_origin::PublicOrigin;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use url::Url;

use crate::{COOKIE_NAME, PUBLIC_URL};

/// One route, which takes everything, and where it leads.
pub struct Stage {
    runtime: Runtime,
    tasks: LocalSet,
    pub upstreams: Upstreams,
    pub routes: RouteTable,
    pub public: PublicOrigin,
    pub strip: CookieNames,
    /// The upstream's, as its `Host` says it.
    pub authority: String,
}

impl Stage {
    /// One whose upstream does what `serve` does.
    pub fn new<S: Future<Output = ()> + 'static>(serve: impl FnOnce(TcpListener) -> S) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let tasks = LocalSet::new();
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .expect("a port");
        let authority = listener.local_addr().expect("an address").to_string();
        tasks.spawn_local(serve(listener));
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ));
        let tls = tls
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let upstream = Url::parse(&format!("http://{authority}")).expect("a URL");
        let settings = RouteSettings {
            auth: RouteAuth::Required,
            csrf: Some(CsrfCheck::Header),
            timeout: Duration::from_secs(5),
            ..RouteSettings::open("/", upstream)
        };
        Self {
            upstreams: Upstreams::new(
                UpstreamLimits {
                    connect: Duration::from_secs(5),
                    body_idle: Duration::from_secs(5),
                    least_rate: LeastRate::new(0, Duration::from_secs(30)),
                    age: Duration::from_secs(300),
                    fields: 100,
                },
                UpstreamRoom::new(64, NonZeroUsize::MIN),
                Arc::new(tls),
                Arc::new(SystemResolver),
            ),
            runtime,
            tasks,
            routes: RouteTable::new(vec![settings]).expect("a route"),
            public: PublicOrigin::new(&PUBLIC_URL).expect("an origin"),
            strip: CookieNames::of(COOKIE_NAME, None),
            authority,
        }
    }

    /// Does it, and whatever the upstream does meanwhile.
    pub fn run<T>(&self, what: impl Future<Output = T>) -> T {
        self.tasks.block_on(&self.runtime, what)
    }
}
