//! Sockets: the address of the other end, and whether the socket is used for DNS.

use agent_ebpf::wire::features;

use crate::{
    file::File,
    kernel::{Typed, has, key_zero, read, read_user},
    maps::{SYSCALL_SCRATCH, offset},
};

const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
/// Port 53 as it stands in a `struct sockaddr` and in `skc_dport`: network byte order.
const DNS_PORT: u64 = 53u16.to_be() as u64;

/// The address of one end of a socket, as a `struct sockaddr_in` or `sockaddr_in6` in the scratch memory: there is one at a time.
#[derive(Clone, Copy)]
pub struct Address {
    /// Where its bytes are.
    pub source: u64,
    /// 0: not known.
    pub len: u64,
    /// Whether either end is port 53.
    pub dns: bool,
}

impl Address {
    pub const UNKNOWN: Self = Self {
        source: 0,
        len: 0,
        dns: false,
    };

    #[inline(always)]
    fn store(words: [u64; 4], len: u64, dns: bool) -> Self {
        let Some(scratch) = SYSCALL_SCRATCH.get_ptr_mut(key_zero()) else {
            return Self::UNKNOWN;
        };
        // SAFETY: the verifier checks the access.
        let source = unsafe {
            (*scratch).address = words;
            (&raw const (*scratch).address) as u64
        };
        Self { source, len, dns }
    }

    /// From a `struct sockaddr` in the process's memory; only Internet addresses are kept.
    #[inline(always)]
    pub fn from_user(address: u64) -> Self {
        if address == 0 {
            return Self::UNKNOWN;
        }
        let [low, high]: [u64; 2] = read_user(address);
        let dns = (low >> 16) & 0xffff == DNS_PORT;
        match low & 0xffff {
            AF_INET => Self::store([low, high, 0, 0], 16, dns),
            AF_INET6 => {
                let rest: [u64; 2] = read_user(address + 16);
                Self::store([low, high, rest[0], rest[1] & 0xffff_ffff], 28, dns)
            }
            _ => Self::UNKNOWN,
        }
    }
}

/// A socket (`struct sock`).
#[derive(Clone, Copy)]
pub struct Socket {
    sock: u64,
    /// Peer's port, in network order.
    peer_port: u64,
    /// Own port, in host order.
    own_port: u64,
    family: u64,
}

impl Socket {
    /// The socket behind a descriptor of the current task that is known to be one.
    #[inline(always)]
    pub fn of(task: Typed, descriptor: u32) -> Option<Self> {
        if !has(features::SOCKETS) {
            return None;
        }
        let file = File::of(task, descriptor)?;
        Self::from_file(file)
    }

    /// The socket of an open file description that is known to be one.
    #[inline(always)]
    pub fn from_file(file: File) -> Option<Self> {
        if !has(features::SOCKETS) {
            return None;
        }
        let sock: u64 = read(file.private_data() + u64::from(offset!(socket_sk)));
        if sock == 0 {
            return None;
        }
        // skc_dport, skc_num and skc_family stand in a row: user space has checked that before it set the feature.
        let ports: u64 = read(sock + u64::from(offset!(sock_dport)));
        Some(Self {
            sock,
            peer_port: ports & 0xffff,
            own_port: (ports >> 16) & 0xffff,
            family: (ports >> 32) & 0xffff,
        })
    }

    /// Whether either end is port 53 of an Internet address.
    #[inline(always)]
    pub fn is_dns(&self) -> bool {
        (self.peer_port == DNS_PORT || self.own_port == 53)
            && (self.family == AF_INET || self.family == AF_INET6)
    }

    /// Whether it has a peer.
    #[inline(always)]
    pub fn is_connected(&self) -> bool {
        self.peer_port != 0
    }

    /// The peer, if the socket is connected.
    #[inline(always)]
    pub fn peer(&self) -> Address {
        if !self.is_connected() {
            return Address::UNKNOWN;
        }
        self.stored(true, self.is_dns())
    }

    /// The socket's own address.
    #[inline(always)]
    pub fn own(&self) -> Address {
        self.stored(false, false)
    }

    #[inline(always)]
    fn stored(&self, peer: bool, dns: bool) -> Address {
        match self.words(peer) {
            (_, 0) => Address::UNKNOWN,
            (words, len) => Address::store(words, len, dns),
        }
    }

    /// The address of the peer or the socket's own as a `struct sockaddr_in` or `sockaddr_in6`, and how many bytes it has; 0:
    /// not known.
    #[inline(always)]
    pub fn words(&self, peer: bool) -> ([u64; 4], u64) {
        let (port, v4, v6) = if peer {
            (self.peer_port, offset!(sock_daddr), offset!(sock_v6_daddr))
        } else {
            let port = u64::from((self.own_port as u16).to_be());
            (port, offset!(sock_rcv_saddr), offset!(sock_v6_rcv_saddr))
        };
        match self.family {
            AF_INET => {
                let address: u32 = read(self.sock + u64::from(v4));
                let words = [AF_INET | port << 16 | u64::from(address) << 32, 0, 0, 0];
                (words, 16)
            }
            AF_INET6 => {
                let [high, low]: [u64; 2] = read(self.sock + u64::from(v6));
                // family, port, flow information (4 bytes), address (16), scope (4)
                ([AF_INET6 | port << 16, high, low, 0], 28)
            }
            _ => ([0; 4], 0),
        }
    }
}
