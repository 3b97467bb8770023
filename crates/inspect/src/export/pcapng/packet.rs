//! IP and UDP headers around a payload.

use std::net::{IpAddr, SocketAddr};

const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
/// Time to live (IPv4) and hop limit (IPv6).
const HOPS: u8 = 64;
/// The largest length that a packet's header can express.
const MAX_LENGTH: usize = 0xffff;

/// A packet, as far as its bytes are known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    /// The full length of the packet.
    pub(super) length: usize,
}

impl Packet {
    /// A datagram with `length` bytes of payload, of which `payload` is known. Both addresses belong to the same
    /// family.
    pub(super) fn udp(
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
        length: usize,
    ) -> Self {
        let header = match source.ip() {
            IpAddr::V4(_) => 20,
            IpAddr::V6(_) => 40,
        };
        let length = length.clamp(payload.len(), MAX_LENGTH.max(payload.len()));
        let udp_length = (UDP_HEADER + length).min(MAX_LENGTH) as u16;
        let mut udp = Vec::with_capacity(UDP_HEADER + payload.len());
        udp.extend(source.port().to_be_bytes());
        udp.extend(destination.port().to_be_bytes());
        udp.extend(udp_length.to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(payload);
        let mut bytes = match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                v4(source.octets(), destination.octets(), udp_length)
            }
            (source, destination) => {
                let (source, destination) = (octets(source), octets(destination));
                // The checksum of a payload that was cut is not known.
                if payload.len() == length {
                    let sum = checksum(&[
                        &source,
                        &destination,
                        &[0, UDP],
                        &udp_length.to_be_bytes(),
                        &udp,
                    ]);
                    // 0 means that there is no checksum, so a checksum of 0 is written in its other form.
                    let sum = if sum == 0 { 0xffff } else { sum };
                    udp[6..8].copy_from_slice(&sum.to_be_bytes());
                }
                v6(source, destination, udp_length)
            }
        };
        bytes.extend(udp);
        Self {
            bytes,
            length: header + UDP_HEADER + length,
        }
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn v4(source: [u8; 4], destination: [u8; 4], udp_length: u16) -> Vec<u8> {
    let total = udp_length.saturating_add(20);
    let mut header = vec![0x45, 0];
    header.extend(total.to_be_bytes());
    header.extend([0, 0, 0, 0, HOPS, UDP, 0, 0]);
    header.extend(source);
    header.extend(destination);
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn v6(source: [u8; 16], destination: [u8; 16], udp_length: u16) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(udp_length.to_be_bytes());
    header.extend([UDP, HOPS]);
    header.extend(source);
    header.extend(destination);
    header
}

/// The internet checksum (RFC 1071) of several parts. Only the last part may have an odd length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let word = |it: &[u8]| u32::from(it[0]) << 8 | it.get(1).map_or(0, |&low| u32::from(low));
    let mut sum: u32 = words.map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_adds_up() {
        let (source, destination) = ("10.0.0.1:49152", "10.96.0.10:53");
        let packet = Packet::udp(
            source.parse().unwrap(),
            destination.parse().unwrap(),
            b"abc",
            3,
        );
        assert_eq!(packet.bytes.len(), 31);
        assert_eq!(packet.length, 31);
        // The checksum of a header that includes its checksum is 0.
        assert_eq!(checksum(&[&packet.bytes[..20]]), 0);
        assert_eq!(packet.bytes[2..4], [0, 31]);
    }

    #[test]
    fn an_ipv6_packet_has_a_checksum() {
        let (source, destination) = ("[::]:49152", "[fd00::a]:53");
        let packet = Packet::udp(
            source.parse().unwrap(),
            destination.parse().unwrap(),
            b"abc",
            3,
        );
        let (header, udp) = packet.bytes.split_at(40);
        assert_eq!(checksum(&[&header[8..], &[0, UDP, 0, 11], udp]), 0);
    }

    #[test]
    fn of_a_cut_payload_the_headers_tell_the_length() {
        let (source, destination) = ("10.0.0.1:49152", "10.96.0.10:53");
        let packet = Packet::udp(
            source.parse().unwrap(),
            destination.parse().unwrap(),
            b"abc",
            300,
        );
        assert_eq!((packet.bytes.len(), packet.length), (31, 328));
        assert_eq!(packet.bytes[24..26], 308u16.to_be_bytes());
    }
}
