//! What went through a standard stream, a file or a descriptor, in order: written and read, with gaps where bytes are
//! missing.
//!
//! Pieces are handed on as they are found, so a stream of any length takes no memory. The order is the order of the
//! calls: offsets of positioned reads and writes are not recorded.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read, Seek};
use std::str::FromStr;

use bytes::Bytes;
use capture_format::{EventFlags, EventKind, Reader, Run, RunIndex};
use serde::Serialize;

use super::errors::failed;
use super::{Head, Moment, Subject};
use events::context::{Context, Seen};
use events::fds::{Fd, Stdio};

mod print;

pub use print::{Format, Printer};

/// How many names of existing streams are kept.
const MAX_THERE: usize = 40;

/// Which stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A standard stream, whatever its descriptor.
    Stdio(Stdio),
    /// A descriptor by its number, of one process or of all.
    Descriptor {
        /// The process.
        pid: Option<u32>,
        /// The descriptor.
        fd: i64,
    },
    /// A file, by its path or the path's last components.
    Path(String),
}

impl FromStr for What {
    type Err = std::convert::Infallible;

    /// Parses `stdin`, `stdout`, `stderr`, `FD` or `PID:FD`; everything else is a path, such as `./7`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse::<u32>().ok();
        let descriptor = match text.split_once(':') {
            Some((pid, fd)) => number(pid).zip(number(fd)).map(|(pid, fd)| (Some(pid), fd)),
            None => number(text).map(|fd| (None, fd)),
        };
        Ok(match (text, descriptor) {
            ("stdin", _) => Self::Stdio(Stdio::Stdin),
            ("stdout", _) => Self::Stdio(Stdio::Stdout),
            ("stderr", _) => Self::Stdio(Stdio::Stderr),
            (_, Some((pid, fd))) => Self::Descriptor { pid, fd: fd.into() },
            (path, None) => Self::Path(path.strip_prefix("./").unwrap_or(path).to_owned()),
        })
    }
}

impl What {
    fn is(&self, seen: &Seen<'_>) -> bool {
        let fd = seen.fd.as_ref();
        match self {
            // The descriptor's number counts, too: if the exec was overwritten, nothing else identifies the stream.
            Self::Stdio(stdio) => {
                let is_piped = *stdio == Stdio::Stdout && fd.is_some_and(Fd::is_own_pipe);
                let by_number = seen.event.args[0] == stdio.number() && !is_piped;
                by_number || fd.and_then(|fd| fd.stdio) == Some(*stdio)
            }
            Self::Descriptor { pid, fd } => {
                seen.event.args[0] == *fd && pid.is_none_or(|pid| pid == seen.event.pid)
            }
            Self::Path(wanted) => {
                let path = fd.and_then(Fd::path);
                path.is_some_and(|path| ends_with_components(path, wanted.as_bytes()))
            }
        }
    }
}

/// Whether a path is `wanted`, or ends with it where a component begins.
fn ends_with_components(path: &[u8], wanted: &[u8]) -> bool {
    path.strip_suffix(wanted).is_some_and(|rest| {
        !wanted.is_empty() && (rest.is_empty() || rest.ends_with(b"/") || wanted.starts_with(b"/"))
    })
}

/// In which direction bytes went, as seen by the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Written or sent.
    Written,
    /// Read or received.
    Read,
}

/// The bytes that one call moved.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// When the call returned.
    pub moment: Moment,
    /// The process.
    pub pid: u32,
    /// The name of the process; escaped.
    pub process: String,
    /// The descriptor.
    pub fd: i64,
    /// What the descriptor refers to.
    pub file: Subject,
    /// The direction.
    pub direction: Direction,
    /// The bytes, as far as they were recorded.
    pub data: Bytes,
    /// How many bytes were moved after these and are not recorded.
    pub missing: u64,
    /// Why bytes are missing, or what is doubtful about the recorded ones.
    pub why: Option<&'static str>,
    /// Why the call failed: then the bytes are those that it should have written.
    pub failed: Option<String>,
    /// Whether bytes were masked.
    pub redacted: bool,
}

/// A part of a stream.
#[derive(Clone, Debug)]
pub enum Piece {
    /// The bytes that a call moved.
    Chunk(Box<Chunk>),
    /// Events are missing from the file here, and perhaps bytes with them.
    Damage(String),
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// How many chunks were passed on.
    pub chunks: u64,
    /// Names of the existing streams, the first 40; escaped.
    pub there: BTreeSet<String>,
}

/// Passes on, in order, what went through a stream of a run, which is given by its position in [`Reader::runs`].
///
/// # Errors
/// The error that `each` returned.
pub fn streams<R: Read + Seek>(
    reader: &mut Reader<R>,
    run_index: RunIndex,
    what: &What,
    only: Option<Direction>,
    each: &mut dyn FnMut(Piece) -> io::Result<()>,
) -> io::Result<Found> {
    let run = reader.run(run_index).cloned().unwrap_or_default();
    let mut context = Context::default();
    let mut found = Found {
        chunks: 0,
        there: BTreeSet::new(),
    };
    for item in reader.events(run_index) {
        let numbered = match item {
            Ok(numbered) => numbered,
            Err(damage) => {
                each(Piece::Damage(damage.to_string()))?;
                continue;
            }
        };
        let seen = context.observe(numbered.number, &numbered.event);
        let Some(chunk) = Chunk::of(&seen, &run) else {
            continue;
        };
        if found.there.len() < MAX_THERE && !matches!(chunk.file, Subject::Nothing) {
            found.there.insert(chunk.file.to_string());
        }
        if what.is(&seen) && only.is_none_or(|only| only == chunk.direction) {
            found.chunks += 1;
            each(Piece::Chunk(Box::new(chunk)))?;
        }
    }
    Ok(found)
}

/// The run's number and losses, which are shown before its streams.
pub fn head<R: Read + Seek>(reader: &Reader<R>, run_index: RunIndex) -> Head {
    let run = reader.run(run_index).cloned().unwrap_or_default();
    Head {
        number: run.number,
        start_ns: run.start,
        losses: run.losses,
        ..Head::default()
    }
}

impl Chunk {
    /// The bytes that a call moved; `None` for a call that moves none.
    fn of(seen: &Seen<'_>, run: &Run) -> Option<Self> {
        let event = seen.event;
        let direction = direction(event.kind)?;
        let failed = failed(event);
        if event.ret == 0 || failed.is_some() && event.data.is_empty() {
            return None;
        }
        let has = |flag| event.flags.contains(flag);
        // The result of sendmmsg and recvmmsg counts messages.
        let counts_bytes = !matches!(event.kind, EventKind::SENDMMSG | EventKind::RECVMMSG);
        let moved = u64::try_from(event.ret).unwrap_or_default();
        let missing = moved.saturating_sub(event.data.len() as u64);
        let missing = if counts_bytes && failed.is_none() {
            missing
        } else {
            0
        };
        Some(Self {
            moment: Moment::of(seen.number, event, run),
            pid: event.pid,
            process: seen.program.label.clone(),
            fd: event.args[0],
            file: match &seen.fd {
                Some(fd) => Subject::of_fd(fd),
                None => Subject::of(seen),
            },
            direction,
            data: event.data.clone(),
            missing,
            why: if has(EventFlags::TORN) {
                Some("torn: overwritten while it was written or read")
            } else if has(EventFlags::FAULT) {
                Some("the process's memory could not be read")
            } else if missing > 0 || has(EventFlags::TRUNCATED) {
                Some("longer than what is recorded of one call")
            } else {
                None
            },
            failed: failed.map(|errno| errno.to_string()),
            redacted: has(EventFlags::REDACTED),
        })
    }
}

fn direction(kind: EventKind) -> Option<Direction> {
    if kind.class().gives_out() {
        Some(Direction::Written)
    } else if kind.class().takes_in() {
        Some(Direction::Read)
    } else {
        None
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio(stdio) => stdio.fmt(f),
            Self::Descriptor { pid: Some(pid), fd } => write!(f, "{pid}:{fd}"),
            Self::Descriptor { pid: None, fd } => write!(f, "descriptor {fd}"),
            Self::Path(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capture_format::{Event, FdType};
    use fixtures::{INIT, Script, capture};

    fn printed(scripts: &[Script], what: &str, format: Format) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(format, super::super::Look::default(), &mut out);
        let what = what.parse().unwrap();
        let mut reader = capture(scripts);
        streams(&mut reader, RunIndex(0), &what, None, &mut |piece| {
            printer.piece(&piece)
        })
        .unwrap();
        printer.end().unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    /// A script with everything that makes it hard to reassemble a stream.
    fn script() -> Script {
        let mut s = Script::new(&["app"]);
        s.write(INIT, 1, "hel")
            .write(INIT, 1, "lo\nw")
            .write(INIT, 2, "err\n");
        s.write(INIT, 1, "orld \u{fc}\n")
            .fork(INIT, 200)
            .write(200, 1, "child\n");
        s.write_cut(INIT, 1, "beginning", 5000)
            .write(INIT, 1, "after\n");
        s.call(INIT, EventKind::WRITE, -32, [1, 0, 5], "", "lost\n");
        s.push(Event {
            pid: INIT,
            kind: EventKind::WRITE,
            ret: 7,
            args: [1, 0, 7],
            flags: EventFlags::FAULT,
            fd_type: FdType::FIFO,
            ..Event::default()
        });
        s.write(
            INIT,
            1,
            "> fake\n#1 +0.0 root (pid 1) wrote to stdout\x1b[2J\u{202e}\0\n",
        );
        s
    }

    #[test]
    fn a_stream_is_put_together_with_its_gaps() {
        insta::assert_snapshot!(printed(&[script()], "stdout", Format::Text));
    }

    #[test]
    fn what_went_into_a_pipeline_is_not_stdout() {
        let mut s = Script::new(&["sh", "-c", "app | grep x"]);
        s.call(INIT, EventKind::PIPE, 0, [3, 4, 0], "", "")
            .fork(INIT, 200)
            .call(200, EventKind::DUP2, 1, [4, 0, 0], "", "")
            .exec(200, &["app"])
            .write(200, 1, "to grep\n")
            .write(INIT, 1, "to stdout\n");
        assert_eq!(printed(&[s.clone()], "stdout", Format::Raw), "to stdout\n");
        assert_eq!(printed(&[s], "200:1", Format::Raw), "to grep\n");
    }

    #[test]
    fn as_hex() {
        insta::assert_snapshot!(printed(&[script()], "stdout", Format::Hex));
    }

    #[test]
    fn as_json() {
        let json = printed(&[script()], "stdout", Format::Json);
        json.lines()
            .for_each(|line| drop(serde_json::from_str::<serde_json::Value>(line).unwrap()));
        insta::assert_snapshot!(json);
    }

    #[test]
    fn raw_is_what_went_out_and_nothing_else() {
        let raw = printed(&[script()], "stdout", Format::Raw);
        assert!(
            raw.starts_with("hello\nworld \u{fc}\nchild\nbeginningafter\n> fake"),
            "{raw:?}"
        );
        assert!(!raw.contains("lost"));
    }

    #[test]
    fn a_character_split_between_two_writes_is_one() {
        let mut s = Script::new(&["app"]);
        for bytes in [&b"\xe8\xb5"[..], b"\xb7\n", b"\xff\xe8"] {
            s.call(
                INIT,
                EventKind::WRITE,
                bytes.len() as i64,
                [1, 0, 0],
                "",
                bytes,
            );
        }
        let text = printed(&[s], "stdout", Format::Text);
        assert!(
            text.contains("> 起\n") && text.contains(r"> \xff\xe8"),
            "{text}"
        );
    }

    #[test]
    fn a_file_is_named_by_its_last_components() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/var/log/nginx/error.log", 3)
            .write(INIT, 3, "w\n")
            .read(INIT, 3, "", "r\n");
        for what in [
            "error.log",
            "nginx/error.log",
            "/var/log/nginx/error.log",
            "3",
            "100:3",
        ] {
            let text = printed(&[clone(&s)], what, Format::Text);
            assert!(
                text.contains("> w\n") && text.contains("< r\n"),
                "{what}: {text}"
            );
        }
        for what in ["or.log", "/error.log", "200:3", "4", ""] {
            let text = printed(&[clone(&s)], what, Format::Text);
            assert!(what == "/error.log" || text.is_empty(), "{what}: {text}");
        }
    }

    fn clone(s: &Script) -> Script {
        let mut copy = Script::empty();
        (copy.run, copy.events) = (s.run.clone(), s.events.clone());
        copy
    }

    #[test]
    fn standard_streams_are_known_by_their_number_where_nothing_else_tells() {
        let mut s = Script::empty();
        s.write(INIT, 1, "a\n").write(INIT, 2, "b\n");
        assert!(printed(&[clone(&s)], "stdout", Format::Raw) == "a\n");
        assert!(printed(&[s], "stderr", Format::Raw) == "b\n");
    }

    #[test]
    fn only_one_direction_if_wanted_and_the_streams_are_named() {
        let mut s = script();
        s.open(INIT, "/etc/x\n", 3).read(INIT, 3, "", "r\n");
        let mut reader = capture(&[s]);
        let what = "nothing".parse().unwrap();
        let found = streams(&mut reader, RunIndex(0), &what, None, &mut |_| Ok(())).unwrap();
        assert_eq!(found.chunks, 0);
        let there: Vec<_> = found.there.iter().map(String::as_str).collect();
        assert_eq!(there, ["/etc/x\\n", "stderr", "stdout"]);
        let what = "stdout".parse().unwrap();
        let read = Some(Direction::Read);
        let found = streams(&mut reader, RunIndex(0), &what, read, &mut |_| Ok(())).unwrap();
        assert_eq!(found.chunks, 0);
    }
}
