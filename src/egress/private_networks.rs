//! Which addresses are nobody's business from outside, and a resolver that never answers with one of them.
//!
//! The address is looked at after the name is resolved, for every connection, so a name cannot change its mind later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Networks that are this machine, its neighbours, its platform or nobody (RFC 6890 and the registries it began).
const CLOSED_V4: [(Ipv4Addr, u32); 13] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),        // this network, unspecified
    (Ipv4Addr::new(10, 0, 0, 0), 8),       // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),    // shared by carriers (CGNAT)
    (Ipv4Addr::new(127, 0, 0, 0), 8),      // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32), // Azure's platform channel (learn.microsoft.com, "What is IP address 168.63.129.16")
    (Ipv4Addr::new(169, 254, 0, 0), 16),   // link-local, cloud metadata
    (Ipv4Addr::new(172, 16, 0, 0), 12),    // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),     // protocol assignments, further metadata endpoints
    (Ipv4Addr::new(192, 168, 0, 0), 16),   // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarks
    (Ipv4Addr::new(224, 0, 0, 0), 4),      // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),      // reserved, broadcast
    (Ipv4Addr::new(192, 88, 99, 0), 24),   // the retired 6to4 relay
];

const CLOSED_V6: [(Ipv6Addr, u32); 6] = [
    (Ipv6Addr::LOCALHOST, 128),                          // loopback
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48), // local translation
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),     // unique local, cloud metadata
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),    // link-local
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),    // site-local, retired
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),     // multicast
];

/// Whether the address is loopback, private, link-local, a cloud's metadata, multicast or unspecified, in any dress.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => CLOSED_V4.iter().any(|(network, bits)| {
            let mask = u32::MAX << (32 - bits);
            it.to_bits() & mask == network.to_bits()
        }),
        IpAddr::V6(it) => {
            CLOSED_V6.iter().any(|(network, bits)| {
                let mask = u128::MAX << (128 - bits);
                it.to_bits() & mask == network.to_bits()
            }) || disguised(it).is_some_and(|inner| is_private(inner.into()))
        }
    }
}

/// The IPv4 address an IPv6 address stands for: mapped or compatible (::/96, ::ffff:0:0/96), translated
/// (64:ff9b::/96) or tunnelled (2002::/16).
fn disguised(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let last_32 = Ipv4Addr::from_bits((bits & u128::from(u32::MAX)) as u32);
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(last_32),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low))),
        _ => None,
    }
}

/// A name that leads to private addresses and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name resolves to private addresses only")]
pub struct PrivateOnly;

/// Resolves names as the system does and leaves the private addresses out.
#[derive(Debug, Clone)]
pub struct PublicOnly {
    vouched: Arc<[String]>,
}

impl PublicOnly {
    /// Answers for these names as they are; they are the proxies the operator chose.
    pub fn except(names: impl Into<Arc<[String]>>) -> Self {
        Self { vouched: names.into() }
    }
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let vouched = self.vouched.iter().any(|it| it.eq_ignore_ascii_case(name.as_str()));
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let open: Vec<SocketAddr> = found.into_iter().filter(|it| vouched || !is_private(it.ip())).collect();
            match open.is_empty() {
                true => Err(PrivateOnly.into()),
                false => Ok(Box::new(open.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_known_in_every_dress() {
        let private = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "168.63.129.16",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "::",
            "::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
        ];
        for text in private {
            assert!(is_private(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn public_addresses_are_let_through() {
        let public = [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "168.63.129.17",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "223.255.255.255",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::1",
        ];
        for text in public {
            assert!(!is_private(text.parse().unwrap()), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused_unless_it_is_the_proxys() {
        let name = || "localhost".parse::<Name>().unwrap();
        let error = PublicOnly::except([]).resolve(name()).await.err().unwrap();
        assert!(error.is::<PrivateOnly>());
        let vouched = PublicOnly::except(["LocalHost".to_owned()]).resolve(name()).await;
        assert!(vouched.is_ok_and(|mut it| it.next().is_some()));
    }
}
