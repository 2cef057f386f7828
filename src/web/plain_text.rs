//! Numbers and addresses as text, for what every request writes: the machinery of `fmt` takes ten times as
//! long.

use std::net::IpAddr;

/// Writes a number in decimal.
pub fn push_number(into: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        first = at;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    into.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// Writes an address as its `Display` does.
pub fn push_address(into: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            push_number(into, first.into());
            for octet in rest {
                into.push(b'.');
                push_number(into, octet.into());
            }
        }
        // That of few calls.
        IpAddr::V6(address) => into.extend_from_slice(address.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_number_is_written_as_everybody_writes_it() {
        for number in [0, 9, 10, 99, 100, 65_535, u64::MAX - 1, u64::MAX] {
            let mut written = Vec::new();
            push_number(&mut written, number);
            assert_eq!(written, number.to_string().as_bytes());
        }
    }

    #[test]
    fn an_address_is_written_as_everybody_writes_it() {
        let some = (0..=u32::MAX).step_by(0x0011_1309);
        let some = some.map(|number| Ipv4Addr::from(number).into());
        let others = ["::", "2001:db8::1"].map(|address| address.parse().unwrap());
        for address in some.chain(others) {
            let mut written = Vec::new();
            push_address(&mut written, address);
            assert_eq!(written, address.to_string().as_bytes());
        }
    }
}
