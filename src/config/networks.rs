//! Networks, as they are configured: addresses in CIDR notation.

use std::net::IpAddr;
use std::str::FromStr;

/// Some networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// How many of its first bits all addresses of the network share.
    prefix: u32,
}

impl Networks {
    /// Whether one of them has this address. An IPv4 address that came over IPv6 is one of IPv4.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

/// Separated by commas; an address without a length is a network of one.
impl FromStr for Networks {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.split(',').map(|network| network.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let (ours, theirs, length) = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits().into(), theirs.to_bits().into(), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        // The bits of the host fall out; all of them, where the prefix is empty.
        let network = |bits: u128| bits.checked_shr(length - self.prefix).unwrap_or(0);
        network(ours) == network(theirs)
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = text.split_once('/').unzip();
        let address: IpAddr = address.unwrap_or(text).parse().map_err(|_| ())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse().map_err(|_| ()))?;
        if prefix > longest { Err(()) } else { Ok(Self { address, prefix }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_their_own_addresses_and_no_others() {
        for (networks, within, without) in [
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..], "11.0.0.0"),
            ("192.168.1.7", &["192.168.1.7"], "192.168.1.8"),
            ("10.0.0.9/31, ::1", &["10.0.0.8", "::1"], "10.0.0.10"),
            ("2001:db8::/32", &["2001:db8:ffff::1"], "2001:db9::"),
            ("0.0.0.0/0", &["1.2.3.4"], "::1"),
            ("::/0", &["2001:db8::1"], "1.2.3.4"),
        ] {
            let parsed: Networks = networks.parse().unwrap();
            for address in within {
                assert!(parsed.contain(address.parse().unwrap()), "{address} in {networks}");
            }
            assert!(!parsed.contain(without.parse().unwrap()), "{without} in {networks}");
        }
        assert!(!Networks::default().contain("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "proxy", "10.0.0.0/8,", "1.2.3.4/-1"]
        {
            assert_eq!(text.parse::<Networks>(), Err(()), "{text}");
        }
    }
}
