//! I4: any X-Forwarded-For, from a stranger and from trusted proxies.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use bff::web::client_address::{ClientAddress, TrustedProxies};
use bff_fuzz::headers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let headers = headers(data);
    let trusted = || ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("a network"));
    let proxies = TrustedProxies::new(trusted().into());
    let stranger = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let alone = ClientAddress::resolve(stranger, &headers, &proxies);
    assert_eq!(alone.address(), stranger, "a stranger's word counts for nothing");
    assert_eq!(sent(&alone), "192.0.2.1");

    let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let behind = ClientAddress::resolve(peer, &headers, &proxies);
    let chain = sent(&behind);
    let chain: Vec<IpAddr> = chain
        .split(", ")
        .map(|hop| hop.parse().expect("an address"))
        .collect();
    let (first, hops) = chain.split_first().expect("the caller");
    assert_eq!(*first, behind.address());
    let is_trusted = |hop: &IpAddr| trusted().iter().any(|net: &ipnet::IpNet| net.contains(hop));
    assert!(hops.iter().all(is_trusted), "{chain:?}");
    assert_eq!(*chain.last().expect("the peer"), peer);
});

fn sent(client: &ClientAddress) -> String {
    let mut written = Vec::new();
    client.write_forwarded_for(&mut written);
    String::from_utf8(written).expect("visible")
}
