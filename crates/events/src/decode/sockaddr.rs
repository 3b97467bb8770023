//! Socket addresses: the bytes of `struct sockaddr`. The family comes first, in little-endian as on all machines that
//! are recorded.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::escape::escaped;

/// A decoded socket address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SockAddr {
    /// AF_INET and AF_INET6.
    Inet(SocketAddr),
    /// AF_UNIX with a path, as passed.
    Unix(Vec<u8>),
    /// AF_UNIX in the abstract namespace: the name without its leading NUL.
    Abstract(Vec<u8>),
    /// AF_UNIX without a name.
    Unnamed,
    /// Another family, by number.
    Other(u16),
}

impl SockAddr {
    /// Decodes the bytes; `None` if they are too few for their family.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (family, rest) = bytes.split_first_chunk::<2>()?;
        Some(match u16::from_le_bytes(*family) {
            1 => match rest {
                [] => Self::Unnamed,
                [0, name @ ..] => Self::Abstract(name.to_vec()),
                path => Self::Unix(path.split(|&b| b == 0).next().unwrap_or_default().to_vec()),
            },
            2 => {
                let (port, rest) = rest.split_first_chunk::<2>()?;
                let (address, _) = rest.split_first_chunk::<4>()?;
                Self::Inet(
                    SocketAddrV4::new(Ipv4Addr::from(*address), u16::from_be_bytes(*port)).into(),
                )
            }
            10 => {
                let (port, rest) = rest.split_first_chunk::<2>()?;
                let (_flow, rest) = rest.split_first_chunk::<4>()?;
                let (address, rest) = rest.split_first_chunk::<16>()?;
                let scope = rest
                    .first_chunk::<4>()
                    .map_or(0, |scope| u32::from_le_bytes(*scope));
                let address = Ipv6Addr::from(*address);
                Self::Inet(SocketAddrV6::new(address, u16::from_be_bytes(*port), 0, scope).into())
            }
            family => Self::Other(family),
        })
    }

    /// Appends the address for people: the same text as [`ToString`], but faster for the most common family.
    pub fn push_to(&self, out: &mut String) {
        match self {
            Self::Inet(SocketAddr::V4(address)) => {
                let mut separator = "";
                for octet in address.ip().octets() {
                    out.push_str(separator);
                    out.push_str(itoa::Buffer::new().format(octet));
                    separator = ".";
                }
                out.push(':');
                out.push_str(itoa::Buffer::new().format(address.port()));
            }
            // Writing to a String cannot fail.
            other => drop(write!(out, "{other}")),
        }
    }

    /// The same address; an IPv4 address that is mapped into IPv6 becomes IPv4.
    #[must_use]
    pub fn canonical(self) -> Self {
        self.inet().map_or(self, Self::Inet)
    }

    /// The internet address and port; an IPv4 address that is mapped into IPv6 becomes IPv4.
    #[must_use]
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => {
                Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
            }
            _ => None,
        }
    }
}

/// `10.96.0.10:53`, `[::1]:80`, `/run/nscd/socket`, `@abstract`; escaped.
impl fmt::Display for SockAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => escaped(path).fmt(f),
            Self::Abstract(name) => write!(f, "@{}", escaped(name)),
            Self::Unnamed => f.write_str("unnamed Unix socket"),
            Self::Other(family) => match family_name(*family) {
                Some(name) => f.write_str(name),
                None => write!(f, "address family {family}"),
            },
        }
    }
}

/// Name of an address family: the `domain` of socket(2).
#[must_use]
pub fn family_name(family: u16) -> Option<&'static str> {
    Some(match family {
        0 => "AF_UNSPEC",
        1 => "AF_UNIX",
        2 => "AF_INET",
        10 => "AF_INET6",
        16 => "AF_NETLINK",
        17 => "AF_PACKET",
        38 => "AF_ALG",
        40 => "AF_VSOCK",
        44 => "AF_XDP",
        _ => return None,
    })
}

/// The type of socket(2) with its flags, such as `SOCK_DGRAM|SOCK_CLOEXEC`.
#[must_use]
pub fn socket_type(value: i64) -> String {
    let mut text = match value & 0xf {
        1 => "SOCK_STREAM".to_owned(),
        2 => "SOCK_DGRAM".to_owned(),
        3 => "SOCK_RAW".to_owned(),
        5 => "SOCK_SEQPACKET".to_owned(),
        other => other.to_string(),
    };
    if value & 0o4000 != 0 {
        text.push_str("|SOCK_NONBLOCK");
    }
    if value & super::open_flags::O_CLOEXEC != 0 {
        text.push_str("|SOCK_CLOEXEC");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internet_addresses() {
        let v4 = SockAddr::parse(&[2, 0, 0, 53, 10, 96, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(v4.to_string(), "10.96.0.10:53");
        let mut pushed = "to ".to_owned();
        v4.push_to(&mut pushed);
        assert_eq!(pushed, "to 10.96.0.10:53");
        let mut v6 = vec![10, 0, 0x1f, 0x90, 0, 0, 0, 0];
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        assert_eq!(SockAddr::parse(&v6).unwrap().to_string(), "[::1]:8080");
        let mut mapped = vec![10, 0, 0, 80, 0, 0, 0, 0];
        mapped.extend(Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets());
        assert_eq!(
            SockAddr::parse(&mapped)
                .unwrap()
                .inet()
                .unwrap()
                .to_string(),
            "127.0.0.1:80"
        );
    }

    #[test]
    fn unix_addresses() {
        assert_eq!(
            SockAddr::parse(b"\x01\0/run/x.sock\0\0")
                .unwrap()
                .to_string(),
            "/run/x.sock"
        );
        assert_eq!(
            SockAddr::parse(b"\x01\0\0name\x1b").unwrap().to_string(),
            r"@name\x1b"
        );
        assert_eq!(SockAddr::parse(b"\x01\0"), Some(SockAddr::Unnamed));
    }

    #[test]
    fn short_and_foreign_bytes_are_no_address() {
        for length in 0..8 {
            let short = &[2, 0, 0, 53, 10, 96, 0, 10][..length];
            assert_eq!(SockAddr::parse(short), None, "{length}");
        }
        assert_eq!(SockAddr::parse(&[16, 0]).unwrap().to_string(), "AF_NETLINK");
        assert_eq!(
            SockAddr::parse(&[200, 1]).unwrap().to_string(),
            "address family 456"
        );
    }
}
