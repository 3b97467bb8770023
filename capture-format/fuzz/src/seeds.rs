//! Writes captures into `corpus/read`, from which the fuzzer starts.

use std::{fs, io};

use bytes::Bytes;
use capture_format::{BootTime, Event, EventKind, FdType, Header, Run, Tid, WriteError, Writer};

fn main() -> io::Result<()> {
    fs::create_dir_all("corpus/read")?;
    for (name, runs, events) in [("empty", 0, 0), ("small", 1, 3), ("runs", 3, 20), ("long", 1, 300)] {
        let capture = capture(runs, events).map_err(io::Error::other)?;
        fs::write(format!("corpus/read/{name}"), capture)?;
    }
    Ok(())
}

fn capture(runs: u32, events: u64) -> Result<Vec<u8>, WriteError> {
    let mut writer = Writer::new(Vec::new(), &Header::default())?;
    for number in 1..=runs {
        writer.begin_run(&Run { number, ..Run::default() })?;
        for index in 0..events {
            writer.event(&Event {
                time: BootTime(1000 + index * 77),
                pid: 40 + index as u32 % 3,
                tid: Tid(40 + index as u32 % 4),
                kind: [EventKind::OPENAT, EventKind::READ, EventKind::EXIT][index as usize % 3],
                fd_type: FdType::REGULAR,
                ret: index as i64 - 5,
                args: [3, index as i64 * 1000, 0],
                name: Bytes::from(format!("/path/{}", index % 5)),
                data: Bytes::from(vec![index as u8; index as usize % 50]),
                ..Event::default()
            })?;
        }
    }
    Ok(writer.finish()?.0)
}
