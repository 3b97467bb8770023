//! Messages from the kernel side. Nothing else wakes user space.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use agent_ebpf::wire::{Control, control};
use aya::maps::{Array, Map, MapData, RingBuf};
use capture_format::{BootTime, CgroupId, ExitStatus};

use super::ring::RingId;

/// Something that happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Id of the container's cgroup; where it was refused a ring, too.
    pub cgroup: CgroupId,
    /// Nanoseconds of CLOCK_BOOTTIME.
    pub time: BootTime,
    /// What happened.
    pub kind: MessageKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// The cgroup was made, and has this ring.
    Assigned {
        /// The ring.
        ring: RingId,
        /// Path of the cgroup in its hierarchy, from the kernel: starts with `/`, cut after 511 bytes.
        path: String,
        /// The cgroup of the outermost container that it is inside of.
        inside: Option<CgroupId>,
    },
    /// The cgroup was made while no ring was free: nothing of it is recorded.
    PoolEmpty {
        /// Path of the cgroup, as above.
        path: String,
    },
    /// The cgroup's set of the table is full: nothing of it is recorded.
    TableFull {
        /// Path of the cgroup, as above.
        path: String,
    },
    /// A cgroup inside a container's cgroup found no place: what happens in it is not recorded. This message is sent
    /// for the first one only, and is about the container.
    TurnedAway,
    /// The container's first process has ended: pid 1 of its namespace, started from outside. This message is not sent
    /// for a container whose program could not be executed, nor for one that shares its pid namespace with others or
    /// the host (unless it was adopted). The run of such a container ends with [`Removed`](Self::Removed).
    InitExit {
        /// The container's ring.
        ring: RingId,
        /// The process's pid in the host's namespace.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
    },
    /// The cgroup was removed; its ring waits to be released.
    Removed(RingId),
}

impl MessageKind {
    /// Whether the message says that a container is not recorded.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::PoolEmpty { .. } | Self::TableFull { .. })
    }
}

/// The channel through which the kernel side sends messages.
pub(super) struct Channel {
    messages: RingBuf<MapData>,
    /// A single number: how many messages found no room.
    lost: Array<MapData, u64>,
}

impl Channel {
    /// Where the last reader of these maps stopped, this one goes on: a BPF ring buffer keeps the reader's position in
    /// its own memory.
    pub(super) fn new(take: &mut impl FnMut(&str) -> io::Result<Map>) -> io::Result<Self> {
        Ok(Self {
            messages: take("CONTROL")?.try_into().map_err(io::Error::other)?,
            lost: take("CONTROL_LOST")?.try_into().map_err(io::Error::other)?,
        })
    }

    /// How many messages found no room so far.
    pub(super) fn lost(&self) -> io::Result<u64> {
        self.lost.get(&0, 0).map_err(io::Error::other)
    }

    /// The next message, if there is one.
    pub(super) fn next(&mut self) -> Option<Message> {
        loop {
            let item = self.messages.next()?;
            if let Some(message) = decode(&item) {
                return Some(message);
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.messages.as_fd()
    }
}

fn decode(bytes: &[u8]) -> Option<Message> {
    // The channel adds no padding: an item is as long as the message.
    if bytes.len() < size_of::<Control>() {
        return None;
    }
    macro_rules! field {
        ($name:ident: $type:ty) => {{
            const AT: usize = std::mem::offset_of!(Control, $name);
            <$type>::from_ne_bytes(bytes.get(AT..AT + size_of::<$type>())?.try_into().ok()?)
        }};
    }
    let (ring, value) = (RingId(field!(ring: u32)), field!(value: u64));
    let path = || String::from_utf8_lossy(&bytes[size_of::<Control>()..]).into_owned();
    let kind = match (field!(kind: u32), value) {
        (control::ASSIGNED, outer) => MessageKind::Assigned {
            ring,
            path: path(),
            inside: (outer != 0).then_some(CgroupId(outer)),
        },
        (control::REFUSED, control::POOL_EMPTY) => MessageKind::PoolEmpty { path: path() },
        (control::REFUSED, control::SET_FULL) => MessageKind::TableFull { path: path() },
        (control::REFUSED, _) => MessageKind::TurnedAway,
        (control::INIT_EXIT, _) => MessageKind::InitExit {
            ring,
            pid: value as u32,
            status: ExitStatus::from_wait((value >> 32) as i32),
        },
        (control::REMOVED, _) => MessageKind::Removed(ring),
        _ => return None,
    };
    Some(Message {
        cgroup: CgroupId(field!(cgroup: u64)),
        time: BootTime(field!(time: u64)),
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
        let exit = decode(&bytes(control::INIT_EXIT, 3, 7, 42 | 256 << 32, 9)).unwrap();
        assert_eq!(
            exit,
            Message {
                cgroup: CgroupId(7),
                time: BootTime(9),
                kind: MessageKind::InitExit {
                    ring: RingId(3),
                    pid: 42,
                    status: ExitStatus::Code(1)
                }
            }
        );
        let mut refused = bytes(control::REFUSED, 0, 7, control::POOL_EMPTY, 9);
        refused.extend(b"/kubepods/pod1/\xff");
        let path = "/kubepods/pod1/\u{fffd}".to_owned();
        assert_eq!(
            decode(&refused).unwrap().kind,
            MessageKind::PoolEmpty { path }
        );
        assert_eq!(decode(&bytes(99, 0, 0, 0, 0)), None);
        assert_eq!(decode(&bytes(1, 0, 0, 0, 0)[..20]), None);
    }
}
