//! The sockets of a network namespace, from /proc/PID/net (Documentation/networking/proc_net_tcp.rst, unix(7)).

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

/// How many bytes of each table are read: some 20,000 sockets.
const MAX_TABLE: u64 = 4 << 20;
/// `TCP_LISTEN` of include/net/tcp_states.h.
const TCP_LISTEN: u8 = 10;
/// `__SO_ACCEPTCON` of include/linux/net.h: a UNIX socket that listens.
const SO_ACCEPTCON: u32 = 1 << 16;

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    /// `domain` and `type` of socket(2).
    pub(super) domain: i32,
    pub(super) kind: i32,
    pub(super) listens: bool,
    /// The address as `struct sockaddr`; empty if there is none.
    pub(super) local: Vec<u8>,
    pub(super) peer: Vec<u8>,
    /// Whether the connection was accepted by a socket that still listens.
    pub(super) accepted: bool,
}

/// Finds sockets by their inode numbers, as seen by the process whose folder in /proc is `process`.
pub(super) fn find(process: &Path, wanted: &HashSet<u64>) -> HashMap<u64, Socket> {
    let mut found = HashMap::new();
    if wanted.is_empty() {
        return found;
    }
    // If no listening socket is visible, no connection is known to be accepted.
    let mut listening = HashSet::new();
    for (name, domain, kind) in [
        ("tcp", libc::AF_INET, libc::SOCK_STREAM),
        ("tcp6", libc::AF_INET6, libc::SOCK_STREAM),
        ("udp", libc::AF_INET, libc::SOCK_DGRAM),
        ("udp6", libc::AF_INET6, libc::SOCK_DGRAM),
    ] {
        each_line(&process.join("net").join(name), |line| {
            let (inode, socket) = inet(line, domain, kind)?;
            if socket.listens {
                listening.insert(port(&socket.local));
            }
            wanted.contains(&inode).then(|| found.insert(inode, socket));
            Some(())
        });
    }
    each_line(&process.join("net/unix"), |line| {
        let (inode, socket) = unix(line)?;
        wanted.contains(&inode).then(|| found.insert(inode, socket));
        Some(())
    });
    for socket in found.values_mut() {
        socket.accepted = !socket.peer.is_empty()
            && socket.kind == libc::SOCK_STREAM
            && listening.contains(&port(&socket.local));
    }
    found
}

/// Calls `line` for each line except the heading. A line that `line` does not understand is skipped.
fn each_line(file: &Path, mut line: impl FnMut(&str) -> Option<()>) {
    let Ok(file) = File::open(file) else { return };
    for text in BufReader::new(file.take(MAX_TABLE)).split(b'\n').skip(1) {
        let Ok(text) = text else { return };
        line(&String::from_utf8_lossy(&text));
    }
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`
fn inet(line: &str, domain: i32, kind: i32) -> Option<(u64, Socket)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, peer) = (
        address(fields.get(1)?, domain)?,
        address(fields.get(2)?, domain)?,
    );
    let state = u8::from_str_radix(fields.get(3)?, 16).ok()?;
    let has_peer = port(&peer) != 0;
    let socket = Socket {
        domain,
        kind,
        listens: kind == libc::SOCK_STREAM && state == TCP_LISTEN,
        local,
        peer: if has_peer { peer } else { Vec::new() },
        accepted: false,
    };
    Some((fields.get(9)?.parse().ok()?, socket))
}

/// `Num RefCount Protocol Flags Type St Inode Path`; an abstract name starts with `@`.
fn unix(line: &str) -> Option<(u64, Socket)> {
    let mut fields = line.split_whitespace();
    let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    let kind = i32::from_str_radix(fields.next()?, 16).ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    let mut local = Vec::new();
    if let Some(path) = fields.next() {
        local.extend((libc::AF_UNIX as u16).to_ne_bytes());
        match path.strip_prefix('@') {
            Some(name) => {
                local.push(0);
                local.extend(name.as_bytes());
            }
            None => local.extend(path.as_bytes()),
        }
    }
    let socket = Socket {
        domain: libc::AF_UNIX,
        kind,
        listens: flags & SO_ACCEPTCON != 0,
        local,
        peer: Vec::new(),
        accepted: false,
    };
    Some((inode, socket))
}

/// Parses `ADDRESS:PORT` in hexadecimal digits, giving a `struct sockaddr_in` or `struct sockaddr_in6`. The address is
/// printed as numbers of 32 bits in the byte order of this machine, the port as a number.
fn address(text: &str, domain: i32) -> Option<Vec<u8>> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?.to_be_bytes();
    let mut bytes = Vec::new();
    for start in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let family = (domain as u16).to_ne_bytes();
    match (domain, bytes.len()) {
        (libc::AF_INET, 4) => Some([&family[..], &port, &bytes, &[0; 8]].concat()),
        // The flow comes before the address, the scope after it.
        (libc::AF_INET6, 16) => Some([&family[..], &port, &[0; 4], &bytes, &[0; 4]].concat()),
        _ => None,
    }
}

/// The port of an internet address; 0 for other addresses.
pub(super) fn port(address: &[u8]) -> u16 {
    match address {
        [_, _, high, low, ..] if address.len() >= 16 => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1 0 100 0 0 10 0\n   \
        1: 0A00060A:1F90 0B00060A:C350 01 00000000:00000000 00:00000000 00000000     0        0 102 1 0 100 0 0 10 0\n   \
        2: 0A00060A:C351 0A0060A0:1538 01 00000000:00000000 00:00000000 00000000     0        0 103 1 0 100 0 0 10 0\n   \
        3: rubbish\n";

    fn sockets() -> HashMap<u64, Socket> {
        let tree = Tree::new();
        tree.file(10, "net/tcp", TCP).file(
            10,
            "net/tcp6",
            "heading\n 0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 104 1\n",
        );
        tree.file(
            10,
            "net/unix",
            "heading\n0: 00000002 00000000 00010000 0001 01 105 /run/app.sock\n0: 00000003 00000000 00000000 0002 03 106\n\
             0: 00000002 00000000 00000000 0001 01 107 @hidden\n",
        );
        find(&tree.proc().join("10"), &(101..108).collect())
    }

    #[test]
    fn tells_listening_accepted_and_connected_sockets() {
        let sockets = sockets();
        let flags = |inode: u64| {
            let socket = &sockets[&inode];
            (socket.listens, socket.accepted, socket.peer.is_empty())
        };
        assert_eq!(flags(101), (true, false, true));
        assert_eq!(flags(102), (false, true, false));
        assert_eq!(flags(103), (false, false, false));
        let family = (libc::AF_INET as u16).to_ne_bytes();
        let peer = [&family[..], &[0x15, 0x38, 160, 96, 0, 10], &[0; 8]].concat();
        assert_eq!(sockets[&103].peer, peer);
    }

    #[test]
    fn reads_ipv6_and_unix() {
        let sockets = sockets();
        assert_eq!(
            sockets[&104].local[8..24],
            std::net::Ipv6Addr::LOCALHOST.octets()
        );
        let listener = &sockets[&105];
        assert_eq!(
            (&listener.local[2..], listener.listens),
            (&b"/run/app.sock"[..], true)
        );
        assert_eq!(sockets[&106].local, b"");
        assert_eq!(sockets[&107].local[2..], *b"\0hidden");
    }
}
