//! Messages from the kernel side: the only thing that user space is woken for.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use agent_ebpf::wire::{Control, control};
use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use capture_format::ExitStatus;

use super::pool::RingId;

/// Something that happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Id of the cgroup.
    pub cgroup: u64,
    /// Nanoseconds of CLOCK_BOOTTIME.
    pub time: u64,
    /// What happened.
    pub kind: MessageKind,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// The cgroup was made, and has this ring.
    Assigned(RingId),
    /// The cgroup was made while no ring was free: nothing of it is recorded.
    PoolEmpty,
    /// The cgroup's set of the table is full: nothing of it is recorded.
    TableFull,
    /// The container's first process (pid 1 of its namespace) has ended.
    InitExit {
        /// Its pid in the host's namespace.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
    },
    /// The cgroup was removed; its ring waits to be released.
    Removed(RingId),
}

/// The channel.
pub(super) struct Channel(RingBuf<MapData>);

impl Channel {
    pub(super) fn new(ebpf: &mut Ebpf) -> io::Result<Self> {
        let map = ebpf
            .take_map("CONTROL")
            .ok_or_else(|| io::Error::other("the eBPF object has no map CONTROL"))?;
        Ok(Self(map.try_into().map_err(io::Error::other)?))
    }

    /// The next message, if there is one.
    pub(super) fn next(&mut self) -> Option<Message> {
        loop {
            let item = self.0.next()?;
            if let Some(message) = decode(&item) {
                return Some(message);
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn decode(bytes: &[u8]) -> Option<Message> {
    macro_rules! field {
        ($name:ident: $type:ty) => {{
            const AT: usize = std::mem::offset_of!(Control, $name);
            <$type>::from_ne_bytes(bytes.get(AT..AT + size_of::<$type>())?.try_into().ok()?)
        }};
    }
    let (ring, value) = (RingId(field!(ring: u32)), field!(value: u64));
    let kind = match (field!(kind: u32), value) {
        (control::ASSIGNED, _) => MessageKind::Assigned(ring),
        (control::REFUSED, control::POOL_EMPTY) => MessageKind::PoolEmpty,
        (control::REFUSED, _) => MessageKind::TableFull,
        (control::INIT_EXIT, _) => MessageKind::InitExit {
            pid: value as u32,
            status: ExitStatus::from_wait((value >> 32) as i32),
        },
        (control::REMOVED, _) => MessageKind::Removed(ring),
        _ => return None,
    };
    Some(Message {
        cgroup: field!(cgroup: u64),
        time: field!(time: u64),
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(kind: u32, ring: u32, cgroup: u64, value: u64, time: u64) -> Vec<u8> {
        [
            kind.to_ne_bytes().to_vec(),
            ring.to_ne_bytes().to_vec(),
            cgroup.to_ne_bytes().to_vec(),
            value.to_ne_bytes().to_vec(),
            time.to_ne_bytes().to_vec(),
        ]
        .concat()
    }

    #[test]
    fn decodes_what_the_programs_send() {
        let exit = decode(&bytes(control::INIT_EXIT, 0, 7, 42 | 256 << 32, 9)).unwrap();
        assert_eq!(
            exit,
            Message {
                cgroup: 7,
                time: 9,
                kind: MessageKind::InitExit {
                    pid: 42,
                    status: ExitStatus::Code(1)
                }
            }
        );
        let refused = decode(&bytes(control::REFUSED, 0, 7, control::POOL_EMPTY, 9)).unwrap();
        assert_eq!(refused.kind, MessageKind::PoolEmpty);
        assert_eq!(decode(&bytes(99, 0, 0, 0, 0)), None);
        assert_eq!(decode(&bytes(1, 0, 0, 0, 0)[..20]), None);
    }
}
