//! A capture as JSON, one object a line: the header, then each run and its events.

use serde::Serialize;

use crate::Capture;

#[derive(Serialize)]
struct Line<'a> {
    number: u64,
    run: u32,
    time: u64,
    pid: u32,
    tid: u32,
    kind: &'a str,
    flags: u8,
    fd_type: u8,
    ret: i64,
    args: [i64; 3],
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    data: &'a str,
}

pub(crate) fn encode(capture: &Capture) -> serde_json::Result<Vec<u8>> {
    let mut out = serde_json::to_vec(&capture.header)?;
    out.push(b'\n');
    let mut number = 0;
    for (run, events) in &capture.runs {
        serde_json::to_writer(&mut out, run)?;
        out.push(b'\n');
        for event in events {
            number += 1;
            let line = Line {
                number,
                run: run.number,
                time: event.time.0,
                pid: event.pid,
                tid: event.tid.0,
                kind: event.kind.name().unwrap_or("unknown"),
                flags: event.flags.0,
                fd_type: event.fd_type.0,
                ret: event.ret,
                args: event.args,
                name: &String::from_utf8_lossy(&event.name),
                data: &String::from_utf8_lossy(&event.data),
            };
            serde_json::to_writer(&mut out, &line)?;
            out.push(b'\n');
        }
    }
    Ok(out)
}
