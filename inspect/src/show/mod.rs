//! Events as a person reads them, and as programs do.

use std::io::{self, Read, Seek, Write};

use capture_format::{Damage, NumberedEvent, Reader};

mod args;
pub(crate) mod json;
pub(crate) mod text;

/// How events are shown.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// One JSON object a line instead of text.
    pub json: bool,
    /// Text: the time of day (UTC) instead of the time since the run's start.
    pub time_of_day: bool,
    /// Text: bytes of a payload that are shown.
    pub payload: usize,
    /// Only the run with this number.
    pub run: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            json: false,
            time_of_day: false,
            payload: 200,
            run: None,
        }
    }
}

/// Writes all events of a capture, one a line, in their order, and what is missing where it is missing.
///
/// # Errors
/// When `out` fails. Damage to the capture is shown, not returned.
pub fn show<R: Read + Seek>(
    reader: &mut Reader<R>,
    out: &mut impl Write,
    options: Options,
) -> io::Result<()> {
    let (host, runs) = (reader.header().host.clone(), reader.runs().to_vec());
    for (index, run) in runs
        .iter()
        .enumerate()
        .filter(|(_, run)| options.run.is_none_or(|number| run.number == number))
    {
        let events = reader.events(index);
        if options.json {
            json::Printer::new(&host, run).all(events, out)?;
        } else {
            text::Printer::new(&host, run, options).all(events, out)?;
        }
    }
    Ok(())
}

/// An event, or what is missing in its place.
type Item = Result<NumberedEvent, Damage>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, capture, inet, nginx};
    use bytes::Bytes;
    use capture_format::{Event, EventFlags, EventKind as K, FdType, SignalOrigin};

    fn shown(script: Script, options: Options) -> String {
        let mut out = Vec::new();
        show(&mut capture(&[script]), &mut out, options).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// One of everything that is written in a way of its own.
    fn variety() -> Script {
        let mut s = Script::new(&["/bin/sh", "-c", "x \x1b[2J"]);
        s.fork(INIT, 200).exec(200, &["app", "--port", "80"]);
        s.call(200, K::CHDIR, 0, [0; 3], "/srv", "").call(
            200,
            K::OPENAT,
            3,
            [-100, 0o2_000_101, 0o644],
            "data.bin",
            "",
        );
        s.write_cut(200, 3, "caf\u{e9} \x07 and more", 70_000);
        s.push(Event {
            pid: 200,
            tid: 201,
            kind: K::WRITE,
            ret: 3,
            args: [3, 77, 3],
            data: Bytes::from_static(b"\xff\0a"),
            flags: EventFlags::TORN,
            ..Event::default()
        });
        s.push(Event {
            pid: 200,
            tid: 200,
            kind: K::READ,
            ret: -11,
            args: [9, 0, 512],
            fd_type: FdType::FIFO,
            flags: EventFlags::FAULT,
            ..Event::default()
        });
        s.read(200, 12, "hosts", "127.0.0.1 localhost\n");
        s.call(200, K::SOCKET, 4, [10, 0o2_004_001, 0], "", "")
            .connect(200, 4, &inet([10, 0, 0, 7], 80), -115);
        s.call(200, K::GETSOCKOPT, 0, [4, 111, 0], "", "").call(
            200,
            K::ACCESS,
            -13,
            [0, 6, 0],
            "/secret",
            "",
        );
        s.call(200, K::EXECVE, -2, [0; 3], "/nope", "/nope\0-x\0")
            .call(200, K::RENAME, -30, [0; 3], "/a", "/b");
        s.push(Event {
            pid: 200,
            tid: 200,
            kind: K(4000),
            ret: 5,
            args: [1, 2, 3],
            ..Event::default()
        });
        s.signal(200, 15, 0, (812, "containerd-shim"), SignalOrigin::Outside);
        s.call(200, K::SIGNAL_DELIVER, 15, [0, 812, 0], "", "")
            .exit_status(200, 15)
            .exit(INIT, 143);
        s
    }

    #[test]
    fn text_of_one_of_everything() {
        insta::assert_snapshot!(shown(variety(), Options::default()));
    }

    #[test]
    fn json_of_one_of_everything() {
        let text = shown(
            variety(),
            Options {
                json: true,
                ..Options::default()
            },
        );
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(
                value["number"].is_u64() && value["event"].is_string(),
                "{line}"
            );
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn text_of_nginx_by_time_of_day() {
        insta::assert_snapshot!(shown(
            nginx(),
            Options {
                time_of_day: true,
                payload: 40,
                ..Options::default()
            }
        ));
    }

    #[test]
    fn nothing_a_terminal_acts_on_is_written() {
        for json in [false, true] {
            let text = shown(
                variety(),
                Options {
                    json,
                    ..Options::default()
                },
            );
            assert!(
                text.chars()
                    .all(|c| c == '\n' || !crate::escape::is_harmful(c)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_run_can_be_chosen() {
        let mut out = Vec::new();
        let options = Options {
            run: Some(2),
            ..Options::default()
        };
        show(&mut capture(&[nginx(), variety()]), &mut out, options).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("run 2\n") && !text.contains("nginx"),
            "{text}"
        );
    }
}
