//! A reader in another language, `docs/lwcap.py`, was written from docs/format.md. It reads the same.

use std::process::Command;

use capture_format::{BootTime, Tid};
use serde_json::{Value, json};

use crate::captures::{header, numbered, runs, write};

#[test]
fn a_python_reader_reads_the_same() {
    let mut runs = runs(2, 9000);
    let extremes = &mut runs[0].1[17];
    (extremes.time, extremes.pid, Tid(extremes.tid.0).0) = (BootTime(u64::MAX), 1, u32::MAX);
    (extremes.ret, extremes.args) = (i64::MIN, [i64::MAX, -1, 0]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), write(&header(), &runs).0).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/lwcap.py");
    let Ok(output) = Command::new("python3")
        .arg(script)
        .arg(file.path())
        .output()
    else {
        eprintln!("not run: there is no python3");
        return;
    };
    if output.status.code() == Some(77) {
        eprintln!("not run: python3 finds no zstd");
        return;
    }
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let mut expected = vec![json!({ "header": header() })];
    for (ordinal, ((run, _), events)) in runs.iter().zip(numbered(&runs)).enumerate() {
        expected.push(json!({ "run": run }));
        expected.extend(events.iter().map(|it| {
            let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
            let event = &it.event;
            json!({
                "run": ordinal, "number": it.number, "time": event.time, "pid": event.pid, "tid": event.tid,
                "kind": event.kind.0, "flags": event.flags.0, "fd_type": event.fd_type.0, "ret": event.ret,
                "args": event.args, "name": hex(&event.name), "data": hex(&event.data),
            })
        }));
    }
    let lines = String::from_utf8(output.stdout).unwrap();
    let found: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
}
