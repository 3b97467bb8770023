//! Socket addresses and tuples: family, address, and port in the host's byte order.

use std::net::SocketAddr;

use events::decode::SockAddr;
use events::fds::{Fd, Target};

const UNIX: u8 = 1;
const V4: u8 = 2;
const V6: u8 = 10;

/// A single address; empty for families that the reader does not know.
pub(super) fn address(address: Option<&SockAddr>) -> Vec<u8> {
    match address {
        Some(SockAddr::Inet(inet)) => [&[family(*inet)][..], &inet_bytes(*inet)].concat(),
        Some(SockAddr::Other(_)) | None => Vec::new(),
        Some(local) => [&[UNIX][..], &unix_name(local)].concat(),
    }
}

/// Both ends of a connection. What is not known of one end is 0; empty if neither end is known.
pub(super) fn tuple(source: Option<&SockAddr>, destination: Option<&SockAddr>) -> Vec<u8> {
    let Some(known) = destination.or(source) else {
        return Vec::new();
    };
    match known {
        SockAddr::Inet(known) => {
            let family = family(*known);
            let end = |end: Option<&SockAddr>| match end {
                Some(SockAddr::Inet(inet)) if self::family(*inet) == family => inet_bytes(*inet),
                _ => vec![0; inet_bytes(*known).len()],
            };
            [&[family][..], &end(source), &end(destination)].concat()
        }
        SockAddr::Other(_) => Vec::new(),
        // First the kernel's addresses of both sockets, which are not recorded, then the path.
        local => [&[UNIX][..], &[0; 16], &unix_name(local)].concat(),
    }
}

/// The address that a socket is bound to, if known.
pub(super) fn local(fd: Option<&Fd>) -> Option<&SockAddr> {
    match &fd?.target {
        Target::Socket { local, .. } => local.as_ref(),
        _ => None,
    }
}

fn family(address: SocketAddr) -> u8 {
    if address.is_ipv4() { V4 } else { V6 }
}

fn inet_bytes(address: SocketAddr) -> Vec<u8> {
    let mut bytes = match address {
        SocketAddr::V4(v4) => v4.ip().octets().to_vec(),
        SocketAddr::V6(v6) => v6.ip().octets().to_vec(),
    };
    bytes.extend(address.port().to_le_bytes());
    bytes
}

/// The path with its NUL; an abstract name follows `@`.
fn unix_name(address: &SockAddr) -> Vec<u8> {
    let mut name = match address {
        SockAddr::Unix(path) => path.clone(),
        SockAddr::Abstract(name) => [b"@", &name[..]].concat(),
        SockAddr::Unnamed | SockAddr::Inet(_) | SockAddr::Other(_) => Vec::new(),
    };
    name.retain(|&byte| byte != 0);
    name.push(0);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_not_known_is_zero() {
        let server = SockAddr::Inet("10.96.0.10:53".parse().unwrap());
        assert_eq!(
            tuple(None, Some(&server)),
            [2, 0, 0, 0, 0, 0, 0, 10, 96, 0, 10, 53, 0]
        );
        assert_eq!(
            tuple(Some(&server), None),
            [2, 10, 96, 0, 10, 53, 0, 0, 0, 0, 0, 0, 0]
        );
        let v6 = SockAddr::Inet("[::1]:80".parse().unwrap());
        assert_eq!(tuple(Some(&server), Some(&v6)).len(), 37);
        assert!(tuple(None, None).is_empty());
    }

    #[test]
    fn unix_sockets_have_their_name() {
        assert_eq!(
            address(Some(&SockAddr::Unix(b"/run/x".to_vec()))),
            b"\x01/run/x\0"
        );
        let path = tuple(None, Some(&SockAddr::Abstract(b"a\0b".to_vec())));
        assert_eq!(path[17..], *b"@ab\0");
    }
}
