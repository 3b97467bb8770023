//! Events as `.scap`, well enough to compare sizes: exit events with the parameters sysdig's readers expect, no process
//! table. Kinds without an event of their own stand as the nearest one: failed calls with a path as openat, others as close.

use capture_format::{Event, EventKind, Run};

pub(crate) fn encode(runs: &[(Run, Vec<Event>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    section.extend([1, 0, 2, 0]);
    section.extend(u64::MAX.to_le_bytes());
    block(&mut out, 0x0a0d_0d0a, &section);
    block(&mut out, 0x201, &[0; 180]);
    for event in runs.iter().flat_map(|(_, events)| events) {
        let (kind, parameters) = parameters(event);
        let total = 26 + parameters.iter().map(|it| 2 + it.len()).sum::<usize>();
        let mut body = vec![0, 0];
        body.extend(event.time.to_le_bytes());
        body.extend(u64::from(event.tid).to_le_bytes());
        body.extend((total as u32).to_le_bytes());
        body.extend(kind.to_le_bytes());
        body.extend((parameters.len() as u32).to_le_bytes());
        for parameter in &parameters {
            body.extend((parameter.len() as u16).to_le_bytes());
        }
        body.extend(parameters.concat());
        block(&mut out, 0x216, &body);
    }
    out
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let padding = body.len().next_multiple_of(4) - body.len();
    let total = (12 + body.len() + padding) as u32;
    out.extend(kind.to_le_bytes());
    out.extend(total.to_le_bytes());
    out.extend_from_slice(body);
    out.extend(std::iter::repeat_n(0, padding));
    out.extend(total.to_le_bytes());
}

fn parameters(event: &Event) -> (u16, Vec<Vec<u8>>) {
    let long = |value: i64| value.to_le_bytes().to_vec();
    let int = |value: i64| (value as u32).to_le_bytes().to_vec();
    let text = |bytes: &[u8]| [bytes, b"\0"].concat();
    let data = || event.data.to_vec();
    let name = || text(&event.name);
    let tuple = || [&[2u8][..], &event.name, &[0; 6]].concat();
    let [first, second, third] = event.args;
    let result = long(event.ret);
    match event.kind {
        EventKind::EXEC | EventKind::EXECVE | EventKind::EXECVEAT => {
            let mut all = vec![
                long(0),
                name(),
                data(),
                long(event.tid.into()),
                long(event.pid.into()),
                long(0),
            ];
            all.extend([
                name(),
                long(0),
                long(0),
                long(0),
                int(0),
                int(0),
                int(0),
                name(),
                vec![0],
                vec![0],
            ]);
            all.extend([
                int(0),
                long(0),
                int(0),
                int(0),
                long(0),
                long(0),
                long(0),
                long(0),
                long(0),
                long(0),
            ]);
            all.extend([int(0), name()]);
            (293, all)
        }
        EventKind::FORK => {
            let mut all = vec![
                long(0),
                name(),
                vec![0],
                long(event.ret),
                long(event.ret),
                long(event.pid.into()),
            ];
            all.extend([
                name(),
                long(0),
                long(0),
                long(0),
                int(0),
                int(0),
                int(0),
                name(),
                vec![0],
            ]);
            all.extend([int(0), int(0), int(0), long(first), long(first), long(0)]);
            (223, all)
        }
        EventKind::EXIT => (186, vec![result, long(0), vec![0], vec![0], long(0)]),
        EventKind::SIGNAL_GENERATE | EventKind::SIGNAL_DELIVER => (
            232,
            vec![long(second), long(event.pid.into()), vec![event.ret as u8]],
        ),
        EventKind::READ | EventKind::PREAD64 => (7, vec![result, data(), long(first), int(third)]),
        EventKind::WRITE | EventKind::PWRITE64 => {
            (9, vec![result, data(), long(first), int(third)])
        }
        EventKind::READV | EventKind::WRITEV => {
            (119, vec![result, data(), long(first), int(third)])
        }
        EventKind::SOCKET => (19, vec![result, int(first), int(second), int(third)]),
        EventKind::CONNECT => (23, vec![result, tuple(), long(first), event.name.to_vec()]),
        EventKind::SENDTO | EventKind::SENDMSG | EventKind::SENDMMSG => {
            (31, vec![result, data(), long(first), int(third), tuple()])
        }
        EventKind::RECVFROM | EventKind::RECVMSG | EventKind::RECVMMSG => {
            (35, vec![result, data(), tuple(), long(first), int(third)])
        }
        _ if !event.name.is_empty() => (
            307,
            vec![
                result,
                long(first),
                name(),
                int(second),
                int(third),
                int(0),
                long(0),
            ],
        ),
        _ => (5, vec![result, long(first)]),
    }
}
