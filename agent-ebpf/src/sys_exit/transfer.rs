//! read, write and their vector forms: how much of the payload is kept, and in which lane.

use agent_ebpf::wire::{LANE_STRIDE, LANES, Lane, flags};
use aya_ebpf::helpers::generated::bpf_probe_read_user;

use super::Call;
use crate::{
    cgroups::ring,
    file::{File, Inode, Name, file_type},
    kernel::{opaque, read_user},
    maps::config,
    remember::{Limit, Memory, Place},
    ring::{Head, Open},
    socket::{Address, Socket},
};

/// How a transfer is recorded.
struct Plan {
    lane: Lane,
    limit: Limit,
    fd_type: u8,
    inode: u64,
    name: Name,
    peer: Address,
}

impl Plan {
    /// As everything that is nothing special.
    #[inline(always)]
    fn bulk() -> Self {
        Self {
            lane: Lane::Bulk,
            limit: Limit::Other,
            fd_type: file_type::UNKNOWN,
            inode: 0,
            name: Name::NONE,
            peer: Address::UNKNOWN,
        }
    }

    /// Of what somebody may have typed, only how much it was.
    #[inline(always)]
    fn typed(mut self) -> Self {
        self.limit = Limit::Nothing;
        self
    }

    #[inline(always)]
    fn text(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self.limit = Limit::Text;
        self
    }

    #[inline(always)]
    fn look(&mut self, inode: Inode) {
        self.fd_type = inode.file_type();
        self.inode = inode.number();
    }

    /// A socket's bytes are not kept, but for DNS.
    #[inline(always)]
    fn socket(mut self, file: File) -> Self {
        match Socket::from_file(file) {
            Some(socket) if socket.is_dns() => {
                self.peer = socket.peer();
                self.text(Lane::Network)
            }
            _ => {
                self.limit = Limit::Nothing;
                self
            }
        }
    }

    #[inline(always)]
    fn write(call: &Call) -> Self {
        let descriptor = call.arg::<0>() as u32;
        let mut plan = Self::bulk();
        let file = File::of(call.task, descriptor);
        if let Some(file) = file {
            let inode = file.inode();
            plan.look(inode);
            if inode.is_terminal_master() {
                return plan.typed();
            }
        }
        if call.failed() {
            plan.lane = Lane::Errors;
            return match file {
                Some(file) if plan.fd_type == file_type::SOCKET && descriptor > 2 => {
                    plan.socket(file)
                }
                _ => plan.text(Lane::Errors),
            };
        }
        // SAFETY: the verifier checks the accesses.
        let (stdout, stderr) = unsafe { ((*call.ring).stdout, (*call.ring).stderr) };
        // Where both are one terminal or pipe, the descriptor tells; elsewhere the inode does, so that a duplicate counts
        // and the inside of a pipeline does not.
        let is_stream = plan.inode != 0 && stdout != stderr;
        if descriptor == 2 || (is_stream && plan.inode == stderr) {
            return plan.text(Lane::Errors);
        }
        if (is_stream && plan.inode == stdout) || (!is_stream && descriptor == 1) {
            return plan.text(Lane::Output);
        }
        let Some(file) = file else { return plan };
        if plan.fd_type == file_type::SOCKET {
            return plan.socket(file);
        }
        if plan.fd_type == file_type::REGULAR {
            let name = file.name();
            if name.is_log() {
                plan.name = name;
                return plan.text(Lane::Errors);
            }
        }
        plan
    }

    #[inline(always)]
    fn read(call: &Call, first: u64) -> Self {
        let mut plan = Self::bulk();
        if call.failed() {
            plan.lane = Lane::Failures;
        }
        let Some(file) = File::of(call.task, call.arg::<0>() as u32) else {
            // It may be a terminal.
            return plan.typed();
        };
        let inode = file.inode();
        plan.look(inode);
        if plan.fd_type == file_type::SOCKET {
            return plan.socket(file);
        }
        // Terminals and sources of random numbers: what is read from a device is a secret or nothing.
        if plan.fd_type == file_type::CHARACTER {
            return plan.typed();
        }
        if plan.fd_type != file_type::REGULAR || call.ret <= 0 {
            return plan;
        }
        let size = inode.size();
        if size > 0 && size <= config!(config_file_max) && is_text(first, call.ret as u64) {
            plan.name = file.name();
            return plan.text(Lane::Config);
        }
        plan
    }

    /// Remembers what was found out, unless it depends on more than the descriptor: a file has a name and a size, DNS a peer.
    #[inline(always)]
    fn remember(&self, call: &Call, place: Option<Place>) {
        let Some(place) = place else { return };
        if self.fd_type == file_type::UNKNOWN
            || self.fd_type == file_type::REGULAR
            || self.lane as u64 == Lane::Network as u64
        {
            return;
        }
        place.remember(call.ring, self.lane, self.limit, self.fd_type, self.inode);
    }

    /// Reserves the record for a transfer of `total` bytes, with the name in place; gives it with the payload's length.
    #[inline(always)]
    fn begin(&self, call: &Call, asked: u64, total: u64) -> (Open, u64) {
        let kept = at_most(self.limit as u64, total);
        let mut head: Head = call.head();
        head.fd_type = self.fd_type;
        head.arg1 = self.inode;
        head.arg2 = asked;
        if total > kept {
            head.flags |= flags::TRUNCATED;
        }
        if self.peer.len != 0 {
            let open = Open::begin(call.ring, self.lane as u64, &head, self.peer.len, kept);
            open.name_from_kernel(self.peer.source);
            return (open, kept);
        }
        let name_len = self.name.kept();
        if name_len < self.name.len {
            head.flags |= flags::NAME_TRUNCATED;
        }
        let open = Open::begin(call.ring, self.lane as u64, &head, name_len, kept);
        if name_len > 0 {
            open.name_from_kernel(self.name.source);
        }
        (open, kept)
    }
}

/// How many of a payload's bytes a limit lets through.
#[inline(always)]
fn at_most(limit: u64, total: u64) -> u64 {
    let most = if limit == Limit::Text as u64 {
        u64::from(config!(text_max))
    } else if limit == Limit::Other as u64 {
        u64::from(config!(other_max))
    } else {
        0
    };
    if total > most { most } else { total }
}

/// Records a transfer through a descriptor that is remembered.
#[inline(always)]
fn remembered(call: &Call, memory: Memory, asked: u64, buffer: u64) {
    let total = call.ret as u64;
    let kept = at_most(memory.limit, total);
    let mut head: Head = call.head();
    head.fd_type = memory.fd_type;
    head.arg1 = memory.inode;
    head.arg2 = asked;
    if total > kept {
        head.flags |= flags::TRUNCATED;
    }
    let open = Open::begin(call.ring, memory.lane, &head, 0, kept);
    if kept > 0 {
        open.data_from_user(0, buffer, kept);
    }
    open.commit();
}

/// Whether the first bytes read look like text: no NUL among them. Keeps libraries and byte code out of the lane of
/// configuration files.
#[inline(always)]
fn is_text(buffer: u64, length: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut first: u64 = read_user(buffer);
    if length < 8 {
        // Bytes behind the end are not the file's.
        first |= u64::MAX << ((length & 7) * 8);
    }
    (first.wrapping_sub(ONES) & !first & (ONES << 7)) == 0
}

/// Where a descriptor is remembered; failed calls are looked at anew.
#[inline(always)]
fn place(call: &Call, writes: bool) -> Option<Place> {
    if call.failed() {
        return None;
    }
    let descriptor = call.arg::<0>() & 0xffff_ffff;
    Place::of(call.ring, call.pid_tgid >> 32, descriptor, writes)
}

#[inline(always)]
fn moved(call: &Call, asked: u64) -> u64 {
    if call.failed() {
        asked
    } else {
        call.ret as u64
    }
}

#[inline(always)]
pub fn write(call: &Call) {
    if call.failed() && call.only_waits() {
        return;
    }
    let asked = call.arg::<2>();
    let place = place(call, true);
    if let Some(memory) = place.and_then(|place| place.recall(call.ring)) {
        return remembered(call, memory, asked, call.arg::<1>());
    }
    let plan = Plan::write(call);
    plan.remember(call, place);
    let (open, length) = plan.begin(call, asked, moved(call, asked));
    if length > 0 {
        open.data_from_user(0, call.arg::<1>(), length);
    }
    open.commit();
}

#[inline(always)]
pub fn read(call: &Call) {
    if call.failed() && call.only_waits() {
        return;
    }
    let buffer = call.arg::<1>();
    let place = place(call, false);
    if let Some(memory) = place.and_then(|place| place.recall(call.ring)) {
        return remembered(call, memory, call.arg::<2>(), buffer);
    }
    let plan = Plan::read(call, buffer);
    plan.remember(call, place);
    let moved = if call.failed() { 0 } else { call.ret as u64 };
    let (open, length) = plan.begin(call, call.arg::<2>(), moved);
    if length > 0 {
        open.data_from_user(0, buffer, length);
    }
    open.commit();
}

#[inline(always)]
pub fn writev(call: &Call) {
    if call.failed() && call.only_waits() {
        return;
    }
    let vector = call.arg::<1>();
    // How much a failed call would have written is not known without adding up; its first buffer says enough.
    let first: [u64; 2] = read_user(vector);
    let (open, length) = Plan::write(call).begin(call, call.arg::<2>(), moved(call, first[1]));
    gather(call, &open, vector, call.arg::<2>(), length);
    open.commit();
}

#[inline(always)]
pub fn readv(call: &Call) {
    if call.failed() && call.only_waits() {
        return;
    }
    let vector = call.arg::<1>();
    let first: [u64; 2] = read_user(vector);
    let moved = if call.failed() { 0 } else { call.ret as u64 };
    let (open, length) = Plan::read(call, first[0]).begin(call, call.arg::<2>(), moved);
    gather(call, &open, vector, call.arg::<2>(), length);
    open.commit();
}

/// Copies the payload from the first buffers of an iovec.
#[inline(always)]
pub fn gather(call: &Call, open: &Open, vector: u64, count: u64, length: u64) {
    let result = gather_apart(call.ring_number, open.data_offset(), vector, count, length);
    let done = result & 0xffff_ffff;
    if result != done {
        open.flag(flags::FAULT);
    }
    if done < length {
        open.shorten_data(done);
    }
}

/// Copies buffers to an offset in a ring's lanes: how many bytes, and in the upper half whether some could not be read.
/// The verifier checks it on its own: with a loop inlined it would be checked anew for every way that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gather_apart(
    ring_number: u32,
    offset: u64,
    vector: u64,
    count: u64,
    length: u64,
) -> u64 {
    /// glibc writes its last words (`*** stack smashing detected ***`) in up to nine pieces.
    const BUFFERS: u64 = 12;
    let Some(ring) = ring(ring_number) else {
        return 0;
    };
    let (mut done, mut fault) = (0u64, 0u64);
    let mut index = 0;
    while index < BUFFERS {
        if index >= count || done >= length {
            break;
        }
        // struct iovec { void *iov_base; size_t iov_len; }
        let [base, available]: [u64; 2] = read_user(vector + index * 16);
        let left = length - done;
        let piece = if available < left { available } else { left };
        // SAFETY: the verifier checks destination and length; the caller has reserved `length` bytes at `offset`.
        let result = unsafe {
            let start = opaque(offset + done);
            let start = if start > LAST_DATA { LAST_DATA } else { start };
            let target = (&raw mut (*ring).data).cast::<u8>().add(start as usize);
            bpf_probe_read_user(
                target.cast(),
                (opaque(piece) & 0x1fff) as u32,
                base as *const _,
            )
        };
        if result != 0 {
            fault = 1 << 32;
        }
        done += piece;
        index += 1;
    }
    opaque(done) & 0xffff_ffff | opaque(fault)
}

/// No payload starts behind this offset.
const LAST_DATA: u64 = (LANES * LANE_STRIDE) as u64;
