//! Target `forwarded`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName, HeaderValue};
use ipnet::IpNet;
use parlor_hub::entrance::client_address;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const CLIENTS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Each line is what a client sends as a header. Whatever it is, a trusted proxy that adds the
/// client's address is believed, and nobody else is.
pub fn forwarding(bytes: &[u8]) {
    let network = IpNet::new(PROXY, 8).expect("8 of 32 bits");
    let proxies = [network];
    let lines = bytes.split(|&byte| byte == b'\n').take(20);
    let values: Vec<HeaderValue> = lines
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .collect();
    for name in [X_FORWARDED_FOR, FORWARDED] {
        let sent = headers(&name, values.iter().cloned());
        assert_eq!(client_address(STRANGER, &sent, &proxies), STRANGER);
        assert_eq!(client_address(PROXY, &sent, &[]), PROXY);
        // It may say what it likes, and its own address counts if that is none.
        let _ = client_address(PROXY, &sent, &proxies);
        for client in CLIENTS {
            for added in additions(&name, client) {
                let added = added.as_bytes();
                let line = headers(&name, values.iter().cloned().chain([value(added)]));
                assert_eq!(client_address(PROXY, &line, &proxies), client);
                let Some((last, before)) = values.split_last() else {
                    continue;
                };
                let last = value(&[last.as_bytes(), b", ", added].concat());
                let list = headers(&name, before.iter().cloned().chain([last]));
                assert_eq!(client_address(PROXY, &list, &proxies), client, "{list:?}");
            }
        }
    }
}

/// What proxies add for `client`, one or two of them.
fn additions(name: &HeaderName, client: IpAddr) -> [String; 3] {
    let (quoted, port) = match client {
        IpAddr::V4(client) => (client.to_string(), format!("{client}:4711")),
        IpAddr::V6(client) => (format!("\"[{client}]\""), format!("[{client}]:4711")),
    };
    if *name == FORWARDED {
        [
            format!("for={quoted}"),
            format!("for=\"{port}\";proto=https;by=_hidden"),
            format!("proto=http;for={quoted}, for=10.1.2.3"),
        ]
    } else {
        [client.to_string(), port, format!("{client}, 10.1.2.3")]
    }
}

fn headers(name: &HeaderName, values: impl Iterator<Item = HeaderValue>) -> HeaderMap {
    values.map(|value| (name.clone(), value)).collect()
}

fn value(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(bytes).expect("values stay values when joined")
}
