//! Where a request comes from.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::{
    extract::{ConnectInfo, Request},
    http::HeaderMap,
};
use ipnet::IpNet;

/// Who is counted as one: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer gets at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                Ipv6Addr::from(network).into()
            }
        })
    }
}

/// The client's address; `None` where the request came over no socket.
#[must_use]
pub fn of(request: &Request, trusted: &[IpNet]) -> Option<Source> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(client(peer.ip(), request.headers(), trusted).into())
}

/// Goes back from the peer through `X-Forwarded-For`, from its end, for as long as who wrote it is trusted.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| {
        let address = address.to_canonical();
        trusted.iter().any(|net| net.contains(&address))
    };
    let mut client = peer;
    let lines: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().map(|line| line.to_str().unwrap_or_default()).collect();
    let mut written = lines.iter().rev().flat_map(|line| line.rsplit(','));
    while is_trusted(client) {
        let Some(address) = written.next().and_then(|text| parse(text.trim())) else { return client };
        client = address;
    }
    client
}

/// An address, with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn seen(peer: &str, forwarded: &[&'static str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn the_header_counts_only_where_a_trusted_proxy_wrote_it() {
        let proxies = ["10.0.0.0/8", "::1/128"];
        assert_eq!(seen("192.0.2.1", &["203.0.113.7"], &[]), "192.0.2.1");
        assert_eq!(seen("192.0.2.1", &["203.0.113.7"], &proxies), "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &[], &proxies), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["203.0.113.7"], &proxies), "203.0.113.7");
        assert_eq!(seen("::ffff:10.0.0.1", &["203.0.113.7"], &proxies), "203.0.113.7");
        // What the client wrote itself stands before what the proxies wrote.
        assert_eq!(seen("10.0.0.1", &["1.2.3.4, 203.0.113.7, 10.0.0.2"], &proxies), "203.0.113.7");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4", "203.0.113.7,10.0.0.2"], &proxies), "203.0.113.7");
        assert_eq!(seen("::1", &["[2001:db8::7]:4711"], &proxies), "2001:db8::7");
        assert_eq!(seen("::1", &["203.0.113.7:4711"], &proxies), "203.0.113.7");
        for unreadable in ["unknown", "", "203.0.113.7,"] {
            assert_eq!(seen("10.0.0.1", &[unreadable], &proxies), "10.0.0.1", "{unreadable}");
        }
    }

    #[test]
    fn a_network_of_a_customer_is_one_source() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.2"), source("192.0.2.1"));
    }
}
