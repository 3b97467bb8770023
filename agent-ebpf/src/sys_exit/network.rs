//! Connections: the address that was asked for, and how the attempt ended.

use agent_ebpf::wire::Lane;

use super::Call;
use crate::{
    file::file_type,
    kernel::read_user,
    remember::forget,
    ring::{Head, Open},
    socket::{Address, Socket},
};

/// Writes a record with an address as its name.
#[inline(always)]
fn write(call: &Call, head: &Head, address: &Address) {
    let open = Open::begin(call.ring, Lane::Network as u64, head, address.len, 0);
    if address.len > 0 {
        open.name_from_kernel(address.source);
    }
    open.commit();
}

/// connect and bind: (fd, sockaddr, length), of any family.
#[inline(always)]
pub fn sockaddr(call: &Call) {
    /// `struct sockaddr_un`
    const LONGEST: u64 = 110;
    forget(call.ring);
    let length = call.arg::<2>() & 0xffff_ffff;
    let length = if length > LONGEST { LONGEST } else { length };
    let mut head = call.head();
    head.fd_type = file_type::SOCKET;
    let open = Open::begin(call.ring, Lane::Network as u64, &head, length, 0);
    open.name_from_user(call.arg::<1>());
    open.commit();
}

#[inline(always)]
pub fn listen(call: &Call) {
    let mut head = call.head();
    head.fd_type = file_type::SOCKET;
    head.arg1 = call.arg::<1>();
    let own = match Socket::of(call.task, call.arg::<0>() as u32) {
        Some(socket) => socket.own(),
        None => Address::UNKNOWN,
    };
    write(call, &head, &own);
}

#[inline(always)]
pub fn accept(call: &Call) {
    if call.failed() && call.only_waits() {
        return;
    }
    forget(call.ring);
    let mut head = call.head();
    head.fd_type = file_type::SOCKET;
    let peer = match Socket::of(call.task, call.ret as u32) {
        Some(socket) => socket.peer(),
        None => Address::UNKNOWN,
    };
    write(call, &head, &peer);
}

/// Only SO_ERROR: what became of a connect that was in progress.
#[inline(always)]
pub fn getsockopt(call: &Call) {
    const SOL_SOCKET: u64 = 1;
    const SO_ERROR: u64 = 4;
    if call.failed() || call.arg::<1>() != SOL_SOCKET || call.arg::<2>() != SO_ERROR {
        return;
    }
    let mut head = call.head();
    head.fd_type = file_type::SOCKET;
    head.arg1 = u64::from(read_user::<u32>(call.arg::<3>()));
    let peer = match Socket::of(call.task, call.arg::<0>() as u32) {
        Some(socket) => socket.peer(),
        None => Address::UNKNOWN,
    };
    write(call, &head, &peer);
}
