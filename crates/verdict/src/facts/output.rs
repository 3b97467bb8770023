//! What a process printed: lines of standard error, standard output and log files, put together again from the
//! process's writes.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;
use capture_format::{BootTime, Event, EventFlags, FdType};

use memchr::{memchr, memrchr};

use super::Recent;
use crate::message::Message;
use events::basename;
use events::decode::Errno;
use events::escape::escaped;
use events::fds::{Fd, Stdio};

/// How many lines of a process are kept.
const MAX_LINES: usize = 64;
/// How many bytes of a line are kept.
const MAX_LINE: usize = 1024;
/// How many descriptors may have an unfinished line.
const MAX_PARTIAL: usize = 64;

/// Where a line went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The standard output of the run: descriptor 1 or a duplicate of it.
    Stdout,
    /// A pipe to another process of the run, as descriptor 1: `app | grep x`, `$(app)`, or a supervisor that reads it.
    Pipe,
    /// Descriptor 2 or a duplicate of it.
    Stderr,
    /// A file `*.log`, or a file that stderr was redirected to; named by the last component of its path.
    Log(Bytes),
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Pipe => f.write_str("a pipe"),
            Self::Stderr => f.write_str("stderr"),
            Self::Log(name) => escaped(name).fmt(f),
        }
    }
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Number of the event that wrote the end of the line.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds of that event.
    pub time: BootTime,
    /// The process that wrote the line.
    pub pid: u32,
    /// Where the line went.
    pub stream: Stream,
    /// The text without the line end. Bytes that are not UTF-8 are replaced. The text is not escaped.
    pub text: String,
    /// Whether bytes of the line are missing: the line was longer than what is kept, or not all of the write was
    /// recorded.
    pub cut: bool,
    /// What became of the line.
    pub fate: Fate,
    /// Inode number of what the line was written to; 0 if unknown.
    pub(super) inode: u64,
    message: OnceLock<Message>,
}

impl Line {
    /// The line without what a logger put around the message.
    #[must_use]
    pub fn message(&self) -> &Message {
        self.message.get_or_init(|| Message::of(&self.text))
    }
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was written.
    Written,
    /// The write failed: the program wanted to say this, but nobody could read it.
    Failed,
    /// It went to a /dev/null that the container opened: nobody wanted to read it.
    Discarded,
}

/// Inode numbers of the standard streams of the run's first process; 0 if unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standard {
    stdout: u64,
    stderr: u64,
}

impl Standard {
    /// The streams that an event [`EventKind::STDIO`] of the first process describes.
    pub(super) fn of(event: &Event) -> Self {
        let inode = |at: usize| {
            let entry = event
                .data
                .get(16 * at..)
                .and_then(|data| data.first_chunk());
            entry.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        Self {
            stdout: inode(1),
            stderr: inode(2),
        }
    }

    /// Whether `inode` is one of the streams.
    pub(super) fn has(&self, inode: u64) -> bool {
        [self.stdout, self.stderr].contains(&inode)
    }

    /// Which stream a write went to. If stdout and stderr are the same file, the answer is stdout.
    fn of_write(&self, event: &Event) -> Option<Stdio> {
        match event.args[1] as u64 {
            0 => None,
            inode if inode == self.stdout => Some(Stdio::Stdout),
            inode if inode == self.stderr => Some(Stdio::Stderr),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Partial {
    stream: Stream,
    event: u64,
    time: BootTime,
    pid: u32,
    bytes: Vec<u8>,
    cut: bool,
    fate: Fate,
    inode: u64,
}

impl Partial {
    fn line(self) -> Line {
        let text = String::from_utf8_lossy(self.bytes.strip_suffix(b"\r").unwrap_or(&self.bytes))
            .into_owned();
        Line {
            event: self.event,
            time: self.time,
            pid: self.pid,
            stream: self.stream,
            text,
            cut: self.cut,
            fate: self.fate,
            inode: self.inode,
            message: OnceLock::new(),
        }
    }
}

/// The last lines of a process.
#[derive(Debug)]
pub struct Output {
    lines: Recent<Line>,
    partial: HashMap<i64, Partial>,
}

impl Default for Output {
    fn default() -> Self {
        Self {
            lines: Recent::new(MAX_LINES),
            partial: HashMap::new(),
        }
    }
}

impl Output {
    /// The last lines that are not blank, oldest first (at most 64).
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &Line> + ExactSizeIterator {
        self.lines.iter()
    }

    /// Takes a write to a descriptor; `stderr` is what descriptor 2 of its process refers to. If a write to stderr
    /// failed for good, its data is what would have been said.
    pub(super) fn observe(
        &mut self,
        number: u64,
        event: &Event,
        fd: Option<&Fd>,
        stderr: Option<&Fd>,
        standard: &Standard,
    ) {
        let Some(stream) = stream(event, fd, stderr, standard) else {
            return;
        };
        let failed = Errno::from_ret(event.ret);
        if event.ret == 0
            || failed.is_some_and(|errno| stream != Stream::Stderr || !is_final(errno))
        {
            return;
        }
        let is_null = fd
            .and_then(Fd::path)
            .is_some_and(|path| path == "/dev/null");
        let start = || Partial {
            stream: stream.clone(),
            event: number,
            time: event.time,
            pid: event.pid,
            bytes: Vec::new(),
            cut: false,
            fate: match (is_null, failed) {
                (true, _) => Fate::Discarded,
                (false, Some(_)) => Fate::Failed,
                (false, None) => Fate::Written,
            },
            inode: event.args[1] as u64,
        };
        let fd = event.args[0];
        // Bytes that could not be read are recorded as zeros.
        let unreadable = event.flags.contains(EventFlags::FAULT);
        let data = if unreadable { &[][..] } else { &event.data };
        let (lines, rest) = match memrchr(b'\n', data) {
            Some(end) => (&data[..end], &data[end + 1..]),
            None => (&[][..], data),
        };
        if rest.len() < data.len() {
            let (first, others) = match memchr(b'\n', lines) {
                Some(end) => (&lines[..end], &lines[end + 1..]),
                None => (lines, &[][..]),
            };
            self.append(fd, start(), first);
            self.end_line(fd);
            for line in newest_lines(others) {
                self.append(fd, start(), line);
                self.end_line(fd);
            }
        }
        if !rest.is_empty() {
            self.append(fd, start(), rest);
        }
        if failed.is_none() && (data.len() as i64) < event.ret {
            if let Some(partial) = self.partial.get_mut(&fd) {
                partial.cut = true;
            }
            self.end_line(fd);
        }
    }

    /// What the process wrote later, to stdout or elsewhere, is missing: what it wrote there before is none of its last
    /// lines, and continues in none that follows.
    pub(super) fn gap(&mut self, to_stdout: bool) {
        self.end();
        self.lines
            .retain(|line| matches!(line.stream, Stream::Stdout | Stream::Pipe) != to_stdout);
    }

    /// The process ended: text without a line end counts as a line, too.
    pub(super) fn end(&mut self) {
        let mut rest: Vec<Partial> = self.partial.drain().map(|(_, partial)| partial).collect();
        rest.sort_by_key(|partial| partial.event);
        rest.into_iter()
            .for_each(|partial| self.push(partial.line()));
    }

    /// Continues the line of a descriptor, or begins one with `start`.
    fn append(&mut self, fd: i64, start: Partial, bytes: &[u8]) {
        let other =
            |partial: &Partial| (&partial.stream, partial.fate) != (&start.stream, start.fate);
        if self.partial.get(&fd).is_some_and(other) {
            self.end_line(fd);
        }
        if self.partial.len() >= MAX_PARTIAL && !self.partial.contains_key(&fd) {
            self.end();
        }
        let (event, time) = (start.event, start.time);
        let partial = self.partial.entry(fd).or_insert(start);
        (partial.event, partial.time) = (event, time);
        let room = MAX_LINE - partial.bytes.len();
        partial.cut |= bytes.len() > room;
        partial
            .bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self, fd: i64) {
        if let Some(partial) = self.partial.remove(&fd) {
            self.push(partial.line());
        }
    }

    fn push(&mut self, line: Line) {
        if !line.text.trim().is_empty() {
            self.lines.push(line);
        }
    }
}

/// The last lines that are not blank, oldest first: as many as are kept beside the first line of a write and what follows
/// its last line break. So millions of lines in a small file cost little, and a message with a long trace keeps its
/// beginning.
fn newest_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.rsplit(|&b| b == b'\n');
    let spoken = lines.filter(|line| !String::from_utf8_lossy(line).trim().is_empty());
    let newest: Vec<&[u8]> = spoken.take(MAX_LINES - 2).collect();
    newest.into_iter().rev()
}

/// Whether a write that failed with this error is not tried again.
fn is_final(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EBADF | Errno::EPIPE | Errno::EIO | Errno::ENOSPC
    )
}

/// Which stream a write went to, if a program speaks on it. What a program writes into a file is not something that it
/// says, whatever descriptor the file has. The exceptions are files that stderr was redirected to, and files with the
/// name of a log.
fn stream(
    event: &Event,
    fd: Option<&Fd>,
    stderr: Option<&Fd>,
    standard: &Standard,
) -> Option<Stream> {
    let own = standard.of_write(event);
    let by_number = match (event.args[0], fd.and_then(|fd| fd.stdio)) {
        (2, _) | (_, Some(Stdio::Stderr)) => Some(Stdio::Stderr),
        (1, _) | (_, Some(Stdio::Stdout)) => Some(Stdio::Stdout),
        _ => own,
    };
    let inode = event.args[1] as u64;
    let known_elsewhere = event.fd_type == FdType::FIFO && inode != 0 && standard.stdout != 0;
    let is_piped = own.is_none()
        && by_number == Some(Stdio::Stdout)
        && (known_elsewhere || fd.is_some_and(Fd::is_own_pipe));
    let path = fd.and_then(Fd::path);
    let is_log = |path: &Bytes| path.ends_with(b".log");
    let file = path.filter(|path| is_log(path) || own.is_none() && is_file(event, path));
    let of_stdio = |stdio| match stdio {
        Stdio::Stderr => Stream::Stderr,
        _ if is_piped => Stream::Pipe,
        _ => Stream::Stdout,
    };
    let Some(path) = file else {
        return by_number.map(of_stdio);
    };
    let as_stderr = by_number == Some(Stdio::Stderr) || stderr.and_then(Fd::path) == Some(path);
    (as_stderr || is_log(path)).then(|| Stream::Log(path.slice_ref(basename(path))))
}

/// Whether a path that was opened is a file, and not a terminal, pipe or device.
fn is_file(event: &Event, path: &[u8]) -> bool {
    match event.fd_type {
        FdType::REGULAR => true,
        FdType::UNKNOWN => !path.starts_with(b"/dev/") && !path.starts_with(b"/proc/"),
        _ => false,
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::testing::{INIT, Script};
    use capture_format::EventKind;

    fn lines(script: &mut Script) -> Vec<String> {
        let facts = Facts::of(&script.run, script.numbered());
        let lines = facts.processes.get(INIT).unwrap().output.lines();
        lines
            .map(|line| {
                format!(
                    "{}: {}{}",
                    line.stream,
                    line.text,
                    if line.cut { "…" } else { "" }
                )
            })
            .collect()
    }

    #[test]
    fn many_lines_in_one_write_are_its_first_and_those_that_one_write_each_would_leave() {
        let text = |range: std::ops::Range<u32>| {
            let lines = range.map(|n| format!("line {n}\n{}", "\n \u{a0}\t\n".repeat(40)));
            lines.collect::<String>()
        };
        let (mut whole, mut single) = (Script::new(&["sh"]), Script::new(&["sh"]));
        let written = format!(" went on\n{}and", text(0..100));
        whole.write(INIT, 2, "this").write(INIT, 2, &written);
        single.write(INIT, 2, "this");
        for line in written.split_inclusive('\n') {
            single.write(INIT, 2, line);
        }
        let kept = lines(whole.exit(INIT, 1));
        assert_eq!(kept[0], "stderr: this went on");
        assert_eq!(kept[1..], lines(single.exit(INIT, 1))[1..]);
        assert_eq!(kept.len(), MAX_LINES);
        assert_eq!(kept[MAX_LINES - 2..], ["stderr: line 99", "stderr: and"]);
    }

    #[test]
    fn a_line_written_piece_by_piece_is_one_line() {
        let mut s = Script::new(&["sh"]);
        s.write(INIT, 2, "sh: 1: ")
            .write(INIT, 1, "hello ")
            .write(INIT, 2, "foo: not found")
            .write(INIT, 2, "\n\n");
        s.write(INIT, 1, "world\nand").exit(INIT, 127);
        assert_eq!(
            lines(&mut s),
            [
                "stderr: sh: 1: foo: not found",
                "stdout: hello world",
                "stdout: and"
            ]
        );
    }

    #[test]
    fn a_log_is_known_by_its_name_and_a_duplicate_by_its_origin() {
        let mut s = Script::new(&["nginx"]);
        s.open(INIT, "/var/log/nginx/error.log", 3)
            .open(INIT, "/data", 5);
        s.call(INIT, EventKind::DUP, 4, [2, 0, 0], "", "");
        s.write(INIT, 3, "a\n")
            .write(INIT, 4, "b\n")
            .write(INIT, 5, "c\n");
        assert_eq!(lines(&mut s), ["error.log: a", "stderr: b"]);
    }

    #[test]
    fn missing_bytes_are_told() {
        let mut s = Script::new(&["java"]);
        s.write_cut(INIT, 2, "first\nsec", 5000)
            .write(INIT, 2, "third\n")
            .write(INIT, 2, &"x".repeat(2000))
            .exit(INIT, 1);
        let lines = lines(&mut s);
        assert_eq!(
            lines[..3],
            ["stderr: first", "stderr: sec…", "stderr: third"]
        );
        assert_eq!(lines[3].chars().count(), "stderr: ".len() + MAX_LINE + 1);
    }

    #[test]
    fn a_failed_write_printed_nothing_but_says_what_stderr_would_have_said() {
        let mut s = Script::new(&["sh"]);
        s.call(INIT, EventKind::WRITE, -28, [1, 0, 3], "", "abc\n")
            .call(INIT, EventKind::WRITE, -11, [2, 0, 3], "", "abc\n");
        assert!(lines(&mut s).is_empty());
        s.call(INIT, EventKind::WRITE, -9, [2, 0, 5], "", "cat: ")
            .call(INIT, EventKind::WRITE, -9, [2, 0, 5], "", "x: no\n");
        assert_eq!(lines(&mut s), ["stderr: cat: x: no"]);
    }

    #[test]
    fn what_goes_to_another_process_of_the_run_is_no_standard_output() {
        let write = |pid, inode| Event {
            pid,
            kind: EventKind::WRITE,
            ret: 4,
            args: [1, inode, 4],
            fd_type: FdType::FIFO,
            data: "one\n".into(),
            ..Event::default()
        };
        // The run's own stdout has the inode 9002.
        let mut s = Script::new(&["sh", "-c", "app | tee /data/x"]);
        s.push(write(INIT, 77)).push(write(INIT, 9002));
        assert_eq!(lines(&mut s), ["a pipe: one", "stdout: one"]);
        // Without inodes, a pipe is known by the call that made it.
        let mut s = Script::new(&["sh"]);
        s.call(INIT, EventKind::PIPE, 0, [3, 4, 0], "", "")
            .call(INIT, EventKind::DUP2, 1, [4, 0, 0], "", "")
            .write(INIT, 1, "two\n")
            .write(INIT, 2, "three\n");
        assert_eq!(lines(&mut s), ["a pipe: two", "stderr: three"]);
    }

    #[test]
    fn what_is_redirected_into_a_file_is_the_files() {
        let redirect = |path: &str, fds: &[i64]| {
            let mut s = Script::new(&["bash"]);
            s.open(INIT, path, 3);
            for &fd in fds {
                s.call(INIT, EventKind::DUP2, fd, [3, 0, 0], "", "");
            }
            s.write(INIT, 1, "one\n").write(INIT, 2, "two\n");
            lines(&mut s)
        };
        assert_eq!(redirect("/etc/app.conf", &[1]), ["stderr: two"]);
        assert_eq!(redirect("/run/why", &[2]), ["stdout: one", "why: two"]);
        assert_eq!(redirect("/run/why", &[1, 2]), ["why: one", "why: two"]);
        assert_eq!(
            redirect("/srv/app.log", &[1]),
            ["app.log: one", "stderr: two"]
        );
        assert_eq!(
            redirect("/proc/1/fd/1", &[1]),
            ["stdout: one", "stderr: two"]
        );
        assert_eq!(
            redirect("/dev/stderr", &[1, 2]),
            ["stdout: one", "stderr: two"]
        );
    }

    #[test]
    fn the_runs_own_streams_are_known_by_their_inodes() {
        let mut s = Script::new(&["app"]);
        let write = |fd: i64, inode: i64| Event {
            pid: INIT,
            kind: EventKind::WRITE,
            ret: 2,
            args: [fd, inode, 2],
            fd_type: FdType::REGULAR,
            data: "x\n".into(),
            ..Event::default()
        };
        s.open(INIT, "/srv/errors", 7)
            .push(write(7, 9003))
            .push(write(7, 77));
        s.open(INIT, "/srv/out", 1).push(write(1, 9002));
        assert_eq!(lines(&mut s), ["stderr: x", "stdout: x"]);
    }

    #[test]
    fn what_goes_to_dev_null_is_discarded() {
        let mut s = Script::new(&["cat"]);
        s.open(INIT, "/dev/null", 1)
            .call(INIT, EventKind::DUP2, 2, [1, 0, 0], "", "")
            .write(INIT, 2, "cat: x: no\n");
        let facts = Facts::of(&s.run, s.numbered());
        let process = facts.processes.get(INIT).unwrap();
        assert!(
            process
                .output
                .lines()
                .all(|line| line.fate == Fate::Discarded)
        );
    }
}
