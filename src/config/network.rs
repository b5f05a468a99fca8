//! A network written as people write it: an address, or an address and the length of its prefix.
//!
//! Bits beyond the prefix are an error: whoever wrote them meant another network.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IP network such as `52.159.23.209/32` or `2603:1000::/25`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

const EXPECTED: &str = "expected a network such as 52.159.23.209/32 or 2603:1000::/25";

impl Network {
    /// Whether the address lies in this network. An IPv4 address seen through an IPv6 socket counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                ours.to_bits() & mask == theirs.to_bits() & mask
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                ours.to_bits() & mask == theirs.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| EXPECTED)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |text| text.parse::<u8>().map_err(|_| EXPECTED))?;
        if prefix > longest {
            return Err(EXPECTED);
        }
        match address {
            IpAddr::V4(it) if it.to_bits().checked_shl(prefix.into()).unwrap_or(0) != 0 => Err(BITS_BEYOND),
            IpAddr::V6(it) if it.to_bits().checked_shl(prefix.into()).unwrap_or(0) != 0 => Err(BITS_BEYOND),
            address => Ok(Self { address, prefix }),
        }
    }
}

const BITS_BEYOND: &str = "the address has bits beyond the prefix; write the network's first address";

impl TryFrom<String> for Network {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_network_and_in_no_other() {
        for (network, address, expected) in [
            ("52.159.23.209/32", "52.159.23.209", true),
            ("52.159.23.209", "52.159.23.209", true),
            ("52.159.23.209", "52.159.23.208", false),
            ("20.20.32.0/19", "20.20.63.255", true),
            ("20.20.32.0/19", "20.20.64.0", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("20.20.32.0/19", "::ffff:20.20.33.1", true),
            ("2603:1000::/25", "2603:107f::1", true),
            ("2603:1000::/25", "2603:1080::1", false),
            ("::/0", "2001:db8::1", true),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{address} in {network}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in ["", "graph.microsoft.com", "1.2.3.4/33", "::/129", "1.2.3.4/", "1.2.3.4/x", "1.2.3.4/24"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_network_reads_back_as_written(bits: u32, prefix in 0u8..=32) {
            let first = bits & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            let text = format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(first));
            let network: Network = text.parse().unwrap();
            proptest::prop_assert_eq!(network.to_string(), text);
            proptest::prop_assert!(network.contains(std::net::Ipv4Addr::from_bits(bits).into()));
        }
    }
}
