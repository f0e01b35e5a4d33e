//! IPv4 addresses as 32-bit numbers.

use std::fmt::Write as _;

/// `192.0.2.1` as a number, the first octet in its highest byte.
pub fn parse_ipv4(text: &str) -> Option<u32> {
    let bytes = text.as_bytes();
    if !(7..=15).contains(&bytes.len()) {
        return None;
    }
    let (mut address, mut octet, mut digits, mut dots) = (0_u32, 0_u32, 0, 0);
    for byte in bytes {
        match byte {
            b'0'..=b'9' if digits < 3 => {
                octet = octet * 10 + u32::from(byte - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && octet < 256 && dots < 3 => {
                address = address << 8 | octet;
                (octet, digits) = (0, 0);
                dots += 1;
            }
            _ => return None,
        }
    }
    (dots == 3 && digits > 0 && octet < 256).then_some(address << 8 | octet)
}

/// First and last address of `192.0.2.0/24`, or of a single address.
pub fn parse_cidr(text: &str) -> Option<(u32, u32)> {
    let Some((address, bits)) = text.split_once('/') else {
        return parse_ipv4(text).map(|address| (address, address));
    };
    let bits = u8::try_from(super::number::parse_u64(bits)?).ok()?;
    let mask = (bits <= 32).then(|| mask(bits))?;
    let address = parse_ipv4(address)?;
    Some((address & mask, address | !mask))
}

/// The mask of a network's leading bits, 24 → `0xffff_ff00`; more than 32 are 32.
pub fn mask(bits: u8) -> u32 {
    let host_bits = 32_u32.saturating_sub(bits.into());
    u32::MAX.checked_shl(host_bits).unwrap_or(0)
}

/// Appends an address as `192.0.2.1`.
pub fn write_ipv4(address: u32, out: &mut String) {
    let [a, b, c, d] = address.to_be_bytes();
    write!(out, "{a}.{b}.{c}.{d}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read() {
        assert_eq!(parse_ipv4("127.0.0.1"), Some(0x7f00_0001));
        assert_eq!(parse_ipv4("001.002.003.004"), Some(0x0102_0304));
        for text in [
            "",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.",
            ".1.2.3",
            "1..2.3",
            "1.2.3.4 ",
            "1.2.3.0004",
            "a.b.c.d",
            "999.1.1.1",
        ] {
            assert_eq!(parse_ipv4(text), None, "{text}");
        }
    }

    #[test]
    fn networks_are_ranges() {
        assert_eq!(parse_cidr("127.0.0.0/8"), Some((0x7f00_0000, 0x7fff_ffff)));
        assert_eq!(parse_cidr("1.2.3.4"), Some((0x0102_0304, 0x0102_0304)));
        assert_eq!(parse_cidr("1.2.3.4/0"), Some((0, u32::MAX)));
        assert_eq!(parse_cidr("1.2.3.4/32"), Some((0x0102_0304, 0x0102_0304)));
        for text in ["1.2.3.4/33", "1.2.3.4/", "1.2.3/8", "x"] {
            assert_eq!(parse_cidr(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn printed_addresses_are_read_back(address: u32) {
            let mut text = String::new();
            write_ipv4(address, &mut text);
            prop_assert_eq!(parse_ipv4(&text), Some(address));
        }

        #[test]
        fn addresses_are_those_of_the_standard_library(text in "[0-9.]{5,16}") {
            let standard = text.parse::<std::net::Ipv4Addr>().ok().map(u32::from);
            if standard.is_some() {
                prop_assert_eq!(parse_ipv4(&text), standard);
            }
        }
    }
}
