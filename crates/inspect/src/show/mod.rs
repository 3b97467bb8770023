//! Events as text for people, and as JSON for programs.

use std::io::{self, Read, Seek, Write};

use capture_format::{Damage, Host, Reader, Run, RunIndex};

use crate::scan::{Found, Select, scan};
use crate::select::{Chosen, Selection};
use events::context::Seen;

pub(crate) mod args;
mod clock;
mod json;
mod number;
pub(crate) mod text;

/// How many bytes are written at once.
const CHUNK: usize = 64 << 10;

/// How events are shown.
#[derive(Clone, Debug)]
pub struct Options {
    /// One JSON object a line instead of text.
    pub json: bool,
    /// For text: the time of day (UTC) instead of the time since the run's start.
    pub time_of_day: bool,
    /// For text: how many bytes of a payload are shown.
    pub payload: usize,
    /// Which events are shown.
    pub select: Selection,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            json: false,
            time_of_day: false,
            payload: 200,
            select: Selection::default(),
        }
    }
}

/// One event as a line of text, without its end.
#[must_use]
pub fn line(host: &Host, run: &Run, options: &Options, seen: &Seen<'_>) -> String {
    let mut line = String::new();
    text::Printer::new(host, run, options).line(&mut line, seen);
    line
}

/// Writes the selected events of a capture in their order, one a line, and damage at the place where events are
/// missing. Returns the number of events.
///
/// # Errors
/// When `out` fails. Damage to what was read of the capture is shown, not returned.
pub fn show<R: Read + Seek>(
    reader: &mut Reader<R>,
    out: &mut impl Write,
    options: &Options,
) -> io::Result<u64> {
    let (header, runs) = (reader.header().clone(), reader.runs().to_vec());
    let select = &options.select;
    let mut left = select.limit.unwrap_or(u64::MAX);
    let most = left;
    for (index, run) in reader.indexes().zip(&runs) {
        if !select.takes_run(run) || left == 0 {
            continue;
        }
        let chosen = Chosen::new(select.in_run(reader, index), &header, run);
        let lines = &mut Chunks::new(out);
        left = if options.json {
            let printer = json::Printer::new(&header.host, run);
            print(reader, index, &chosen, printer, lines, left)?
        } else {
            let mut printer = text::Printer::new(&header.host, run, options);
            if select.is_all() {
                printer.begin(&mut lines.text);
            }
            print(reader, index, &chosen, printer, lines, left)?
        };
    }
    Ok(most - left)
}

/// Writes the events of a run, each as a line that includes the end of the line.
trait Lines {
    /// Writes what comes before the events, once.
    fn begin(&mut self, out: &mut String);
    fn event(&mut self, out: &mut String, seen: &Seen<'_>);
    fn missing(&mut self, out: &mut String, damage: &Damage);
}

/// Buffers text, so that large pieces are written at once.
struct Chunks<'o, W> {
    text: String,
    out: &'o mut W,
}

impl<'o, W: Write> Chunks<'o, W> {
    fn new(out: &'o mut W) -> Self {
        Self {
            text: String::with_capacity(2 * CHUNK),
            out,
        }
    }

    fn write(&mut self, at_least: usize) -> io::Result<()> {
        if self.text.len() >= at_least {
            self.out.write_all(self.text.as_bytes())?;
            self.text.clear();
        }
        Ok(())
    }
}

/// Why a scan ends early.
enum End {
    /// The requested number of events was shown.
    Limit,
    Failed(io::Error),
}

/// Prints up to `left` events of a run. Returns how many may still be printed.
fn print<R: Read + Seek, W: Write>(
    reader: &mut Reader<R>,
    run_index: RunIndex,
    select: &impl Select,
    mut printer: impl Lines,
    lines: &mut Chunks<'_, W>,
    mut left: u64,
) -> io::Result<u64> {
    let scanned = scan(reader, run_index, select, |found| {
        match found {
            Found::Event(candidate) => {
                printer.begin(&mut lines.text);
                printer.event(&mut lines.text, candidate.look().0);
                left -= 1;
            }
            Found::Missing(damage) => printer.missing(&mut lines.text, &damage),
        }
        lines.write(CHUNK).map_err(End::Failed)?;
        if left == 0 { Err(End::Limit) } else { Ok(()) }
    });
    if let Err(End::Failed(error)) = scanned {
        return Err(error);
    }
    lines.write(0)?;
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use capture_format::{Event, EventFlags, EventKind as K, FdType, SignalOrigin, Tid};
    use fixtures::{INIT, Script, capture, inet, nginx};

    fn shown(script: Script, options: Options) -> String {
        let mut out = Vec::new();
        show(&mut capture(&[script]), &mut out, &options).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn threads_of_a_process_that_ends_are_not_shown_as_killed() {
        let mut s = Script::new(&["app"]);
        s.call(INIT, K::SIGNAL_DELIVER, 9, [0; 3], "", "")
            .exit(INIT, 0);
        let text = shown(s.clone(), Options::default());
        let line = text.lines().find(|line| line.contains("SIGKILL")).unwrap();
        assert!(
            line.ends_with(
                "signal_deliver(signal=SIGKILL) [group exit: the whole process ends, and this thread with it]"
            ),
            "{line}"
        );
        let options = Options {
            json: true,
            ..Options::default()
        };
        assert!(shown(s, options).contains("\"group_exit\":true"));
    }

    /// A script with an event of each form that is written differently.
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
            tid: Tid(201),
            kind: K::WRITE,
            ret: 3,
            args: [3, 77, 3],
            data: Bytes::from_static(b"\xff\0a"),
            flags: EventFlags::TORN,
            ..Event::default()
        });
        s.push(Event {
            pid: 200,
            tid: Tid(200),
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
            tid: Tid(200),
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
                    .all(|c| c == '\n' || !events::escape::is_harmful(c)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_run_can_be_chosen() {
        let mut out = Vec::new();
        let options = Options {
            select: Selection {
                run: Some(2),
                ..Selection::default()
            },
            ..Options::default()
        };
        show(&mut capture(&[nginx(), variety()]), &mut out, &options).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("run 2\n") && !text.contains("nginx"),
            "{text}"
        );
    }

    #[test]
    fn a_limit_is_one_of_all_runs() {
        let limited = |limit| {
            let mut out = Vec::new();
            let options = Options {
                select: Selection {
                    limit: Some(limit),
                    ..Selection::default()
                },
                ..Options::default()
            };
            let shown = show(&mut capture(&[nginx(), variety()]), &mut out, &options).unwrap();
            (shown, String::from_utf8(out).unwrap())
        };
        assert_eq!(limited(0), (0, String::new()));
        let (shown, text) = limited(2);
        assert_eq!((shown, text.lines().count()), (2, 3), "{text}");
        let all_of_first = nginx().events.len() as u64;
        assert!(!limited(all_of_first).1.contains("run 2"));
        assert!(limited(all_of_first + 1).1.contains("run 2"));
    }

    /// If the summary of a damaged block shows that none of its events is asked for, nothing is missing.
    #[test]
    fn damage_is_shown_where_what_is_asked_for_may_be_missing() {
        let mut script = Script::new(&["sh"]);
        // There are several blocks, and one in the middle is lost.
        for line in 0..40_000 {
            script.write(INIT, 1, &format!("line {line} {}", line * 7919));
        }
        let mut bytes = fixtures::capture_bytes(&[script]);
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].fill(0xa5);
        for json in [false, true] {
            let options = Options {
                json,
                select: Selection {
                    filter: Some("evt.type = write and evt.failed = true".parse().unwrap()),
                    ..Selection::default()
                },
                ..Options::default()
            };
            let mut reader = Reader::open(std::io::Cursor::new(bytes.clone())).unwrap();
            let mut out = Vec::new();
            assert_eq!(show(&mut reader, &mut out, &options).unwrap(), 0);
            let text = String::from_utf8(out).unwrap();
            assert!(
                text.contains(if json { "\"damage\"" } else { "  ---- " }),
                "{text}"
            );
            assert!(!reader.damage().is_empty());
        }
    }
}
