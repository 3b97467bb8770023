//! send, recv and their message forms. The call is recorded; its bytes are recorded only for DNS.

use agent_ebpf::wire::{Lane, flags};

use super::{Call, transfer::gather};
use crate::{
    file::file_type,
    kernel::read_user,
    maps::config,
    ring::Open,
    socket::{Address, Socket},
};

/// The other end: the address that the call names, else the one that the socket is connected to.
#[inline(always)]
fn peer(call: &Call, named: u64) -> Address {
    let named = Address::from_user(named);
    if named.len != 0 && named.dns {
        return named;
    }
    match Socket::of(call.task, call.arg::<0>() as u32) {
        // A server's own port is 53: its peer is whom the call names.
        Some(socket) if socket.is_dns() && named.len != 0 => Address { dns: true, ..named },
        Some(socket) if socket.is_dns() => {
            let mut address = socket.peer();
            address.dns = true;
            address
        }
        _ => Address {
            dns: false,
            ..named
        },
    }
}

/// One message: who it went to or came from, where its bytes are, how many they are.
struct Message {
    peer: Address,
    asked: u64,
    moved: u64,
    index: u64,
}

impl Message {
    #[inline(always)]
    fn begin(&self, call: &Call) -> (Open, u64) {
        let limit = if self.peer.dns {
            u64::from(config!(text_max))
        } else {
            0
        };
        let kept = if self.moved > limit {
            limit
        } else {
            self.moved
        };
        let mut head = call.head();
        head.fd_type = file_type::SOCKET;
        head.arg1 = self.index;
        head.arg2 = self.asked;
        if self.moved > kept {
            head.flags |= flags::TRUNCATED;
        }
        let lane = if self.peer.dns {
            Lane::Network
        } else {
            call.lane(Lane::Bulk)
        };
        let open = Open::begin(call.ring, lane as u64, &head, self.peer.len, kept);
        if self.peer.len > 0 {
            open.name_from_kernel(self.peer.source);
        }
        (open, kept)
    }

    #[inline(always)]
    fn buffer(&self, call: &Call, buffer: u64) {
        let (open, length) = self.begin(call);
        if length > 0 {
            open.data_from_user(0, buffer, length);
        }
        open.commit();
    }

    #[inline(always)]
    fn vector(&self, call: &Call, header: &Header) {
        let (open, length) = self.begin(call);
        if length > 0 {
            gather(call, &open, header.vector, header.count, length);
        }
        open.commit();
    }
}

/// `struct msghdr`, as far as it is needed.
struct Header {
    name: u64,
    vector: u64,
    count: u64,
}

impl Header {
    #[inline(always)]
    fn read(address: u64) -> Self {
        // void *msg_name; socklen_t msg_namelen; struct iovec *msg_iov; size_t msg_iovlen; …
        let [name, _, vector, count]: [u64; 4] = read_user(address);
        Self {
            name,
            vector,
            count,
        }
    }
}

#[inline(always)]
fn moved(call: &Call) -> u64 {
    if call.failed() { 0 } else { call.ret as u64 }
}

#[inline(always)]
pub fn sendto(call: &Call) {
    if call.failed() && call.only_waits() {
        return;
    }
    let asked = call.arg::<2>();
    let message = Message {
        peer: peer(call, call.arg::<4>()),
        asked,
        moved: if call.failed() {
            asked
        } else {
            call.ret as u64
        },
        index: 0,
    };
    message.buffer(call, call.arg::<1>());
}

#[inline(always)]
pub fn recvfrom(call: &Call) {
    if call.failed() && call.only_waits() {
        return;
    }
    // The kernel has filled in the sender's address, unless the call failed.
    let named = if call.failed() { 0 } else { call.arg::<4>() };
    let message = Message {
        peer: peer(call, named),
        asked: call.arg::<2>(),
        moved: moved(call),
        index: 0,
    };
    message.buffer(call, call.arg::<1>());
}

/// sendmsg and recvmsg; and a failed sendmmsg or recvmmsg, by its first message.
#[inline(always)]
pub fn one(call: &Call) {
    if call.failed() && call.only_waits() {
        return;
    }
    let header = Header::read(call.arg::<1>());
    let message = Message {
        peer: peer(call, header.name),
        asked: 0,
        moved: moved(call),
        index: 0,
    };
    message.vector(call, &header);
}

/// One of the messages of sendmmsg or recvmmsg.
#[inline(always)]
pub fn part(call: &Call, index: u64) {
    /// `struct mmsghdr`: a `struct msghdr` of 56 bytes, `unsigned int msg_len`, padding.
    const STRIDE: u64 = 64;
    const LENGTH: u64 = 56;
    let address = call.arg::<1>() + index * STRIDE;
    let header = Header::read(address);
    let length = u64::from(read_user::<u32>(address + LENGTH));
    let message = Message {
        peer: peer(call, header.name),
        asked: 0,
        moved: length,
        index,
    };
    message.vector(call, &header);
}
