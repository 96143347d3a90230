//! Which addresses may be dialled (DESIGN.md §7). Strangers tell us where to connect.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    pin::Pin,
};

use ipnet::IpNet;
use url::Host;

/// The operator's settings; the default allows private addresses, because gateways live there.
#[derive(Debug, Clone)]
pub struct AddressPolicy {
    /// Whether loopback, RFC 1918, `fc00::/7` and `100.64.0.0/10` may be dialled.
    pub allow_private: bool,
    /// Never dialled, whatever else says so.
    pub deny: Vec<IpNet>,
    /// Where not empty, nothing else is dialled, and no name but `localhost` is resolved.
    pub allow: Vec<IpNet>,
    /// Where this installation listens itself.
    pub own_listeners: Vec<SocketAddr>,
}

impl Default for AddressPolicy {
    fn default() -> Self {
        Self { allow_private: true, deny: Vec::new(), allow: Vec::new(), own_listeners: Vec::new() }
    }
}

/// Why an address is not dialled. `Display` completes "the address policy forbids it: ".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// `0.0.0.0/8` and `::`.
    #[error("it is an unspecified address")]
    Unspecified,
    /// `169.254.0.0/16` and `fe80::/10`.
    #[error("it is a link-local address")]
    LinkLocal,
    /// Multicast or broadcast.
    #[error("it is a multicast or broadcast address")]
    Multicast,
    /// A cloud's metadata service.
    #[error("it is a cloud metadata service")]
    Metadata,
    /// One of our own listeners.
    #[error("it is a listener of Mission Control itself")]
    OwnListener,
    /// Private, while `ALLOW_PRIVATE_ADDRESSES=false`.
    #[error("it is a private address, and ALLOW_PRIVATE_ADDRESSES is false")]
    Private,
    /// In `DENY_ADDRESSES`.
    #[error("it is in DENY_ADDRESSES")]
    Denied,
    /// Not in `ALLOW_ADDRESSES`.
    #[error("it is not in ALLOW_ADDRESSES")]
    NotAllowed,
    /// A name, while `ALLOW_ADDRESSES` is set.
    #[error("it is a name, and with ALLOW_ADDRESSES set only literal addresses and localhost are dialled")]
    NameNotAllowed,
}

const METADATA_NAMES: [&str; 5] =
    ["metadata.google.internal", "metadata.goog", "metadata", "instance-data", "instance-data.ec2.internal"];

const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(100, 100, 100, 200)];

const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

impl AddressPolicy {
    /// Whether this host may be resolved at all.
    ///
    /// # Errors
    /// A metadata name, or a name while `allow` is set.
    pub fn check_host(&self, host: &Host<&str>) -> Result<(), Why> {
        let Host::Domain(name) = host else { return Ok(()) };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if METADATA_NAMES.contains(&name.as_str()) {
            return Err(Why::Metadata);
        }
        if !self.allow.is_empty() && name != "localhost" {
            return Err(Why::NameNotAllowed);
        }
        Ok(())
    }

    /// Whether this address may be dialled. An address that embeds another is judged by both.
    ///
    /// # Errors
    /// The first rule that forbids it.
    pub fn check(&self, address: SocketAddr) -> Result<(), Why> {
        let outer = address.ip();
        let inner = unwrap(outer);
        check_never(outer)?;
        check_never(inner)?;
        if self.is_own_listener(SocketAddr::new(inner, address.port())) {
            return Err(Why::OwnListener);
        }
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&outer) || net.contains(&inner));
        if within(&self.deny) {
            return Err(Why::Denied);
        }
        if !self.allow.is_empty() {
            return if self.allow.iter().any(|net| net.contains(&inner)) {
                Ok(())
            } else {
                Err(Why::NotAllowed)
            };
        }
        if !self.allow_private && (is_private(inner) || is_private(outer)) {
            return Err(Why::Private);
        }
        Ok(())
    }

    fn is_own_listener(&self, address: SocketAddr) -> bool {
        self.own_listeners.iter().any(|own| {
            let own_ip = unwrap(own.ip());
            own.port() == address.port()
                && (own_ip == address.ip()
                    || own_ip.is_loopback() && address.ip().is_loopback()
                    || own_ip.is_unspecified() && is_local(address.ip()))
        })
    }
}

/// Only an address of this host can be bound; asking the kernel needs no list of interfaces.
fn is_local(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

fn check_never(address: IpAddr) -> Result<(), Why> {
    let is_metadata = match address {
        IpAddr::V4(v4) => METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => v6 == METADATA_V6,
    };
    let (is_unspecified, is_link_local, is_broadcast) = match address {
        IpAddr::V4(v4) => (v4.octets()[0] == 0, v4.is_link_local(), v4.is_broadcast()),
        IpAddr::V6(v6) => (v6.is_unspecified(), v6.is_unicast_link_local(), false),
    };
    match () {
        () if is_metadata => Err(Why::Metadata),
        () if is_unspecified => Err(Why::Unspecified),
        () if is_link_local => Err(Why::LinkLocal),
        () if is_broadcast || address.is_multicast() => Err(Why::Multicast),
        () => Ok(()),
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            v4.is_loopback() || v4.is_private() || first == 100 && (64..128).contains(&second)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

/// The IPv4 address inside an IPv4-mapped or -compatible, NAT64 (`64:ff9b::/96`) or 6to4 (`2002::/16`) address.
fn unwrap(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        _ => address,
    }
}

/// What [`Resolver::resolve`] returns.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Turns a name into addresses. Asked once per dial: what was checked is what is dialled.
pub trait Resolver: Send + Sync {
    /// All addresses of the name, with the port filled in.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// The operating system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: &AddressPolicy, text: &str) -> Result<(), Why> {
        policy.check(text.parse().unwrap())
    }

    #[test]
    fn what_is_never_dialled_is_refused_in_every_wrapping() {
        let policy = AddressPolicy::default();
        for (address, why) in [
            ("0.0.0.0:1", Why::Unspecified),
            ("0.1.2.3:1", Why::Unspecified),
            ("[::]:1", Why::Unspecified),
            ("169.254.1.1:1", Why::LinkLocal),
            ("[fe80::1]:1", Why::LinkLocal),
            ("224.0.0.1:1", Why::Multicast),
            ("[ff02::1]:1", Why::Multicast),
            ("255.255.255.255:1", Why::Multicast),
            ("169.254.169.254:80", Why::Metadata),
            ("100.100.100.200:80", Why::Metadata),
            ("[fd00:ec2::254]:80", Why::Metadata),
            ("[::ffff:169.254.169.254]:80", Why::Metadata),
            ("[64:ff9b::169.254.169.254]:80", Why::Metadata),
            ("[2002:a9fe:a9fe::1]:80", Why::Metadata),
            ("[::169.254.169.254]:80", Why::Metadata),
        ] {
            assert_eq!(check(&policy, address), Err(why), "{address}");
        }
        for address in ["127.0.0.1:1", "[::1]:1", "10.0.0.1:1", "8.8.8.8:1", "[2001:4860::1]:1"] {
            assert_eq!(check(&policy, address), Ok(()), "{address}");
        }
    }

    #[test]
    fn private_addresses_can_be_denied() {
        let policy = AddressPolicy { allow_private: false, ..AddressPolicy::default() };
        for address in [
            "127.0.0.1:1",
            "10.1.1.1:1",
            "172.16.0.1:1",
            "192.168.0.1:1",
            "100.64.0.1:1",
            "[::1]:1",
            "[fc00::1]:1",
            "[::ffff:127.0.0.1]:1",
            "[64:ff9b::10.0.0.1]:1",
            "[2002:7f00:1::]:1",
        ] {
            assert_eq!(check(&policy, address), Err(Why::Private), "{address}");
        }
        assert_eq!(check(&policy, "8.8.8.8:1"), Ok(()));
    }

    #[test]
    fn lists_decide_before_the_private_rule() {
        let policy = AddressPolicy {
            allow_private: false,
            deny: vec!["10.0.0.2/32".parse().unwrap()],
            allow: vec!["10.0.0.0/24".parse().unwrap()],
            own_listeners: Vec::new(),
        };
        assert_eq!(check(&policy, "10.0.0.1:1"), Ok(()));
        assert_eq!(check(&policy, "10.0.0.2:1"), Err(Why::Denied));
        assert_eq!(check(&policy, "8.8.8.8:1"), Err(Why::NotAllowed));
        assert_eq!(policy.check_host(&Host::Domain("example.com")), Err(Why::NameNotAllowed));
        assert_eq!(policy.check_host(&Host::Domain("LocalHost.")), Ok(()));
        assert_eq!(policy.check_host(&Host::Ipv4(Ipv4Addr::LOCALHOST)), Ok(()));
    }

    #[test]
    fn our_own_listeners_and_metadata_names_are_refused() {
        let own = |text: &str| AddressPolicy {
            own_listeners: vec![text.parse().unwrap()],
            ..AddressPolicy::default()
        };
        assert_eq!(check(&own("127.0.0.1:8000"), "127.0.0.1:8000"), Err(Why::OwnListener));
        assert_eq!(check(&own("127.0.0.1:8000"), "[::1]:8000"), Err(Why::OwnListener));
        assert_eq!(check(&own("0.0.0.0:8000"), "127.0.0.9:8000"), Err(Why::OwnListener));
        assert_eq!(check(&own("[::]:8000"), "[::ffff:127.0.0.1]:8000"), Err(Why::OwnListener));
        assert_eq!(check(&own("127.0.0.1:8000"), "127.0.0.1:8001"), Ok(()));
        let policy = AddressPolicy::default();
        assert_eq!(policy.check_host(&Host::Domain("Metadata.Google.Internal.")), Err(Why::Metadata));
    }
}
