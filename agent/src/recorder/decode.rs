//! From a record of the ring to an event of the capture.

use agent_ebpf::wire::LANES;
use bytes::Bytes;
use capture_format::{BootTime, Event, EventFlags, EventKind, FdType, Tid, lane};

use events::decode::system_call;

use super::{
    ring::RawRecord,
    syscalls::{self, Arg},
};

/// What lanes are called in a capture, in the order of [`Lane`](agent_ebpf::wire::Lane).
pub(super) const LANE_NAMES: [&str; LANES] = [
    lane::LIFE,
    lane::FAILURES,
    lane::NETWORK,
    lane::FILES,
    lane::CONFIG,
    lane::ERRORS,
    lane::OUTPUT,
    lane::BULK,
];

/// The event of a record; `None` for a kind that this program did not ask for.
pub(super) fn event(record: &RawRecord<'_>) -> Option<Event> {
    let head = &record.head;
    let (kind, args) = syscalls::kind(head.kind)?;
    let torn = if record.open {
        EventFlags::TORN
    } else {
        EventFlags::default()
    };
    let [second, third] =
        [(head.arg1, args[0]), (head.arg2, args[1])].map(|(value, arg)| match arg {
            Arg::Drop => 0,
            Arg::Int => i64::from(value as i32),
            Arg::Word => value as i64,
            Arg::Mode if may_create(kind, head.arg1) => i64::from(value as u16),
            Arg::Mode => 0,
        });
    let mut event = Event {
        time: BootTime(head.time),
        pid: head.tgid,
        tid: Tid(head.tid),
        kind,
        flags: EventFlags(head.flags) | torn,
        fd_type: FdType(head.fd_type),
        ret: head.ret,
        args: [head.arg0.into(), second, third],
        name: Bytes::copy_from_slice(trim(kind, record.name)),
        data: Bytes::copy_from_slice(record.data),
    };
    if kind == EventKind::INTERRUPTED && !acts_on_descriptor(head.ret) {
        // The kernel side looks at the first argument of every call as if it were a descriptor.
        (event.args[0], event.fd_type, event.name) = (-1, FdType::UNKNOWN, Bytes::new());
    }
    Some(event)
}

/// Whether the first argument of this machine's system call is a descriptor.
fn acts_on_descriptor(number: i64) -> bool {
    system_call::name(std::env::consts::ARCH, number).is_some_and(system_call::acts_on_descriptor)
}

/// Says that records of the lane before this one were overwritten; how many is not filled in yet.
pub(super) fn gap(next: &RawRecord<'_>, lane: &'static str) -> Event {
    Event {
        time: BootTime(next.head.time),
        pid: 0,
        tid: Tid(0),
        kind: EventKind::GAP,
        flags: EventFlags::default(),
        fd_type: FdType(0),
        ret: 0,
        args: [0; 3],
        name: Bytes::from_static(lane.as_bytes()),
        data: Bytes::new(),
    }
}

/// Whether an open may create a file. Only then does open(2) look at the mode.
fn may_create(kind: EventKind, flags: u64) -> bool {
    const O_CREAT: u64 = libc::O_CREAT as u64;
    // O_TMPFILE includes O_DIRECTORY.
    const O_TMPFILE: u64 = libc::O_TMPFILE as u64;
    kind == EventKind::OPENAT2 || flags & O_CREAT != 0 || flags & O_TMPFILE == O_TMPFILE
}

/// The name without what follows it: the path of a UNIX socket ends at its first NUL, whatever length the caller gave.
/// An abstract name starts with NUL and keeps its length.
fn trim(kind: EventKind, name: &[u8]) -> &[u8] {
    const AF_UNIX: [u8; 2] = (libc::AF_UNIX as u16).to_ne_bytes();
    if matches!(kind, EventKind::CONNECT | EventKind::BIND)
        && name.starts_with(&AF_UNIX)
        && name.get(2).is_some_and(|first| *first != 0)
    {
        let end = name[2..]
            .iter()
            .position(|byte| *byte == 0)
            .map_or(name.len(), |end| end + 2);
        return &name[..end];
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_ebpf::wire::{Record, flags};

    #[test]
    fn lanes_are_named_in_their_order() {
        use agent_ebpf::wire::Lane;
        for (lane, name) in [
            (Lane::Life, lane::LIFE),
            (Lane::Failures, lane::FAILURES),
            (Lane::Network, lane::NETWORK),
            (Lane::Files, lane::FILES),
            (Lane::Config, lane::CONFIG),
            (Lane::Errors, lane::ERRORS),
            (Lane::Output, lane::OUTPUT),
            (Lane::Bulk, lane::BULK),
        ] {
            assert_eq!(LANE_NAMES[lane as usize], name);
        }
    }

    fn record(kind: u16, arg0: i32, arg1: u64, arg2: u64) -> Record {
        Record {
            stamp: 0,
            units: 4,
            kind,
            name_len: 0,
            data_len: 0,
            time: 5,
            tgid: 10,
            tid: 11,
            ret: 3,
            arg0,
            flags: 0,
            fd_type: 8,
            reserved: 0,
            arg1,
            arg2,
        }
    }

    fn decode(head: Record, name: &[u8]) -> Event {
        event(&RawRecord {
            head,
            name,
            data: b"",
            open: false,
            after_gap: false,
        })
        .unwrap()
    }

    #[test]
    fn what_the_call_did_not_pass_is_not_kept() {
        // The register of the mode holds an arbitrary value.
        let plain = decode(
            record(libc::SYS_openat as u16, -100, 0, 0xdead_beef),
            b"/etc/hosts",
        );
        assert_eq!(plain.args, [-100, 0, 0]);
        let creating = decode(
            record(libc::SYS_openat as u16, -100, libc::O_CREAT as u64, 0o644),
            b"x",
        );
        assert_eq!(creating.args[2], 0o644);
        // close(2) has one argument.
        assert_eq!(
            decode(record(libc::SYS_close as u16, 7, 0xdead, 0xbeef), b"").args,
            [7, 0, 0]
        );
    }

    #[test]
    fn flags_of_the_wire_are_those_of_the_format() {
        assert_eq!(EventFlags(flags::FAULT), EventFlags::FAULT);
        assert_eq!(EventFlags(flags::TRUNCATED), EventFlags::TRUNCATED);
        assert_eq!(
            EventFlags(flags::NAME_TRUNCATED),
            EventFlags::NAME_TRUNCATED
        );
    }

    #[test]
    fn unix_paths_end_at_nul_and_abstract_names_do_not() {
        let path = decode(
            record(libc::SYS_connect as u16, 3, 0, 0),
            b"\x01\x00/run/x\0\0\0",
        );
        assert_eq!(&path.name[..], b"\x01\x00/run/x");
        let hidden = decode(
            record(libc::SYS_connect as u16, 3, 0, 0),
            b"\x01\x00\0abc\0d",
        );
        assert_eq!(&hidden.name[..], b"\x01\x00\0abc\0d");
    }

    #[test]
    fn an_unfinished_record_is_torn() {
        let event = event(&RawRecord {
            head: record(libc::SYS_write as u16, 1, 0, 3),
            name: b"",
            data: b"abc",
            open: true,
            after_gap: false,
        });
        assert!(event.unwrap().flags.contains(EventFlags::TORN));
    }
}
