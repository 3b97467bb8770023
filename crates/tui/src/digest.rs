//! What needs a whole pass over a run: verdicts, processes, and the views behind the tabs.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, Write};

use capture_format::{ExitStatus, Reader, RunIndex};
use events::decode::time::size;
use inspect::views::files::FileUse;
use inspect::views::streams::{Format, Piece, Printer, What, streams};
use inspect::views::{self, Look, Subject, View};
use verdict::explain::{Explanation, explain};

/// How many bytes of a stream's text are kept: its end.
const MAX_STREAM: usize = 1 << 20;

/// A list beside the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tab {
    Events,
    Timeline,
    Streams,
    Dns,
    Errors,
}

impl Tab {
    pub(crate) const ALL: [Self; 5] = [
        Self::Events,
        Self::Timeline,
        Self::Streams,
        Self::Dns,
        Self::Errors,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Events => "Events",
            Self::Timeline => "Timeline",
            Self::Streams => "Streams",
            Self::Dns => "DNS",
            Self::Errors => "Errors",
        }
    }
}

/// A request. Runs are given by their position in the capture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ask {
    Verdicts,
    Processes(RunIndex),
    /// The content of a tab, except the tab of events.
    Tab(RunIndex, Tab),
    Stream(RunIndex, What),
}

/// What comes back.
pub(crate) enum Answer {
    Verdicts(Box<Explanation>),
    Processes(RunIndex, Vec<Process>),
    Tab(RunIndex, Tab, Content),
    Stream(RunIndex, What, Content),
}

/// A process of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// The name, indented by its depth in the tree, and how the process ended; escaped.
    pub(crate) text: String,
    pub(crate) failed: bool,
}

/// Makes rows for a width.
pub(crate) type Rows = Box<dyn Fn(usize) -> Vec<Row> + Send>;

/// The content of a tab.
pub(crate) struct Content {
    pub(crate) rows: Rows,
}

/// A row of a tab.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// Escaped.
    pub(crate) text: String,
    /// The event that the row mentions first.
    pub(crate) event: Option<u64>,
    /// The stream that the row names.
    pub(crate) stream: Option<What>,
}

impl Row {
    fn of_line(line: &str) -> Self {
        Self {
            text: line.to_owned(),
            event: cited(line),
            stream: None,
        }
    }
}

/// The first event number such as `#107` in a line.
fn cited(line: &str) -> Option<u64> {
    line.split_whitespace().find_map(|word| {
        let number = word.trim_start_matches('(').strip_prefix('#')?;
        let end = number
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(number.len());
        number[..end].parse().ok()
    })
}

/// Answers one request.
pub(crate) fn answer<R: Read + Seek>(reader: &mut Reader<R>, ask: Ask) -> Answer {
    match ask {
        Ask::Verdicts => Answer::Verdicts(Box::new(explain(reader))),
        Ask::Processes(run) => Answer::Processes(run, processes(&views::ps(reader, run))),
        Ask::Tab(run, tab) => {
            let content = match tab {
                Tab::Events => Content {
                    rows: Box::new(|_| Vec::new()),
                },
                Tab::Timeline => content(views::timeline(reader, run)),
                Tab::Dns => content(views::dns(reader, run)),
                Tab::Errors => content(views::errors(reader, run)),
                Tab::Streams => there(views::files(reader, run)),
            };
            Answer::Tab(run, tab, content)
        }
        Ask::Stream(run, what) => {
            let content = stream(reader, run, &what);
            Answer::Stream(run, what, content)
        }
    }
}

fn content(view: impl View + Send + 'static) -> Content {
    let rows = move |width| {
        let look = Look {
            width: Some(width),
            colours: false,
        };
        let mut text = Vec::new();
        // Writing to memory cannot fail.
        let _ = view.write_text(look, &mut text);
        let text = String::from_utf8_lossy(&text);
        text.lines().map(Row::of_line).collect()
    };
    Content {
        rows: Box::new(rows),
    }
}

/// The files and standard streams through which bytes went. Those that were written come first.
fn there(files: views::files::Files) -> Content {
    let used = |file: &FileUse| file.reads + file.writes > 0;
    let mut files: Vec<_> = files.files.into_iter().filter(used).collect();
    files.sort_by_key(|file| file.writes == 0);
    let mut rows: Vec<Row> = files.iter().filter_map(stream_row).collect();
    if rows.is_empty() {
        rows.push(Row::of_line(
            "no file or standard stream was read or written",
        ));
    }
    Content {
        rows: Box::new(move |_| rows.clone()),
    }
}

/// `/etc/hosts  read 20 B in 2 calls`; `None` if no stream can be requested by that name.
fn stream_row(file: &FileUse) -> Option<Row> {
    let (name, what) = match &file.file {
        Subject::Path(text) | Subject::Name(text) => {
            let path = std::str::from_utf8(text.as_bytes()).ok()?;
            (text.to_string(), What::Path(path.to_owned()))
        }
        Subject::Stdio(name) => (name.clone(), name.parse().ok()?),
        _ => return None,
    };
    let went = |word: &str, calls: u64, bytes: u64| {
        let plural = if calls == 1 { "" } else { "s" };
        (calls > 0).then(|| format!("{word} {} in {calls} call{plural}", size(bytes)))
    };
    let written = went("written", file.writes, file.bytes_written);
    let read = went("read", file.reads, file.bytes_read);
    let both: Vec<String> = written.into_iter().chain(read).collect();
    Some(Row {
        text: format!("{name}  {}", both.join(", ")),
        event: None,
        stream: Some(what),
    })
}

fn stream<R: Read + Seek>(reader: &mut Reader<R>, run: RunIndex, what: &What) -> Content {
    let mut tail = Tail::default();
    let mut printer = Printer::new(Format::Text, Look::default(), &mut tail);
    // Writing to memory cannot fail.
    let _ = streams(reader, run, what, None, &mut |piece: Piece| {
        printer.piece(&piece)
    });
    let _ = printer.end();
    let rows = tail.rows();
    Content {
        rows: Box::new(move |_| rows.clone()),
    }
}

/// The end of a text.
#[derive(Default)]
struct Tail {
    bytes: VecDeque<u8>,
    dropped: u64,
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend(bytes);
        let surplus = self.bytes.len().saturating_sub(MAX_STREAM);
        self.bytes.drain(..surplus);
        self.dropped += surplus as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tail {
    fn rows(mut self) -> Vec<Row> {
        let bytes = self.bytes.make_contiguous();
        let text = String::from_utf8_lossy(bytes);
        let mut rows = Vec::new();
        let mut lines = text.lines();
        if self.dropped > 0 {
            // The first line has lost its beginning.
            lines.next();
            let dropped = size(self.dropped);
            rows.push(Row::of_line(&format!(
                "[{dropped} before this: `lastword streams` has all]"
            )));
        }
        let is_ours = |line: &str| line.starts_with('#');
        rows.extend(lines.map(|line| Row {
            text: line.to_owned(),
            event: if is_ours(line) { cited(line) } else { None },
            stream: None,
        }));
        rows
    }
}

fn processes(ps: &views::ps::Ps) -> Vec<Process> {
    let line = |process: &views::ps::ProcessLine| {
        let end = match process.status {
            None => "end not seen".to_owned(),
            Some(ExitStatus::Code(code)) => format!("exit {code}"),
            Some(ExitStatus::Signal { signal, .. }) => events::decode::Signal(signal).to_string(),
        };
        let indent = 2 * process.depth.min(6);
        Process {
            pid: process.pid,
            text: format!("{:indent$}{} {} {end}", "", process.pid, process.name),
            failed: process.status.is_some_and(|it| it != ExitStatus::Code(0)),
        }
    };
    ps.processes.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_a_line_tells_of() {
        assert_eq!(cited("+0.01  #107  ! nginx"), Some(107));
        assert_eq!(cited("SIGKILL by x (#9)"), Some(9));
        assert_eq!(cited("run 2: 5 # events #x"), None);
    }

    #[test]
    fn of_a_long_stream_the_end_is_kept() {
        let mut tail = Tail::default();
        for line in 0..200_000 {
            writeln!(tail, "> line {line}").unwrap();
        }
        assert!(tail.bytes.len() <= MAX_STREAM);
        let rows = tail.rows();
        assert!(rows[0].text.contains("before this"));
        assert_eq!(rows.last().unwrap().text, "> line 199999");
    }
}
