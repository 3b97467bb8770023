//! The files of a run: opened, read, written, with bytes and failures. Standard streams count as files; sockets do not.

use std::io::{self, Read, Seek, Write};

use capture_format::{Class, Event, Reader, RunIndex};
use serde::Serialize;

use super::errors::failed;
use super::{Cell, Column, Head, Look, Moment, Names, Paint, Subject, Table, Tally, View, count};
use events::context::{Context, Seen};
use events::decode::time::size;
use events::fds::has_path;

/// The files, in the order of their first use.
#[derive(Clone, Debug, Serialize)]
pub struct Files {
    /// The run.
    pub run: Head,
    /// The files.
    pub files: Vec<FileUse>,
    /// How many files were left out because there were too many: those whose last use is the oldest.
    pub left_out: u64,
}

/// What was done with one file.
#[derive(Clone, Debug, Serialize)]
pub struct FileUse {
    /// The file.
    pub file: Subject,
    /// Successful opens.
    pub opens: u64,
    /// Successful reads.
    pub reads: u64,
    /// Bytes read, recorded or not.
    pub bytes_read: u64,
    /// Successful writes.
    pub writes: u64,
    /// Bytes written, recorded or not.
    pub bytes_written: u64,
    /// Failed calls of any kind on the file or its path.
    pub failures: u64,
    /// The last error.
    pub errno: Option<String>,
    /// Names of the processes, the first four; escaped.
    pub processes: Names,
    /// The first event.
    pub first: Moment,
    /// The last event.
    pub last: Moment,
}

/// Makes the view of a run, which is given by its position in [`Reader::runs`].
pub fn files<R: Read + Seek>(reader: &mut Reader<R>, run_index: RunIndex) -> Files {
    let mut context = Context::default();
    let mut files: Tally<Subject, FileUse> = Tally::default();
    let (run, _) = Head::pass(reader, run_index, |numbered, run| {
        let (number, event) = (numbered.number, &numbered.event);
        let seen = context.observe(number, event);
        let Some(subject) = concerns_file(&seen) else {
            return;
        };
        let now = Moment::of(number, event, run);
        let file = files.entry(number, subject.clone(), || FileUse::new(subject, now));
        file.last = now;
        file.processes.add(&seen.program.label);
        file.count(event);
    });
    let (groups, left_out) = files.into_groups();
    let mut files: Vec<_> = groups.into_iter().map(|(_, file)| file).collect();
    files.sort_by_key(|file| file.first.event);
    Files {
        run,
        files,
        left_out,
    }
}

/// The file that a call opens, reads or writes, or on which it fails.
fn concerns_file(seen: &Seen<'_>) -> Option<Subject> {
    let kind = seen.event.kind;
    let concerned = matches!(kind.class(), Class::Opens | Class::Reads | Class::Writes);
    let fails = kind.is_syscall() && has_path(kind) && failed(seen.event).is_some();
    if !(concerned || fails) {
        return None;
    }
    let subject = Subject::of(seen);
    let is_file = matches!(
        subject,
        Subject::Path(_) | Subject::Name(_) | Subject::Stdio(_)
    );
    is_file.then_some(subject)
}

impl FileUse {
    fn new(file: Subject, now: Moment) -> Self {
        Self {
            file,
            opens: 0,
            reads: 0,
            bytes_read: 0,
            writes: 0,
            bytes_written: 0,
            failures: 0,
            errno: None,
            processes: Names::default(),
            first: now,
            last: now,
        }
    }

    fn count(&mut self, event: &Event) {
        if let Some(errno) = failed(event) {
            self.failures += 1;
            self.errno = Some(errno.to_string());
            return;
        }
        let bytes = u64::try_from(event.ret).unwrap_or_default();
        if event.kind.class() == Class::Reads {
            self.reads += 1;
            self.bytes_read = self.bytes_read.saturating_add(bytes);
        } else if event.kind.class() == Class::Writes {
            self.writes += 1;
            self.bytes_written = self.bytes_written.saturating_add(bytes);
        } else {
            self.opens += 1;
        }
    }
}

impl View for Files {
    fn write_text(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        self.run.write(look, out)?;
        if self.files.is_empty() {
            return writeln!(out, "no file was opened, read or written");
        }
        let mut table = Table::new([
            Column::right("OPENS"),
            Column::right("READS"),
            Column::right("READ"),
            Column::right("WRITES"),
            Column::right("WRITTEN"),
            Column::right("FAILED"),
            Column::left("ERROR"),
            Column::left("FIRST"),
            Column::left("LAST"),
            Column::text("PROCESSES"),
            Column::path("FILE"),
        ]);
        let some = |number: u64| match number {
            0 => String::new(),
            number => number.to_string(),
        };
        let bytes = |calls: u64, bytes| {
            if calls == 0 {
                String::new()
            } else {
                size(bytes)
            }
        };
        for file in &self.files {
            table.row([
                some(file.opens).into(),
                some(file.reads).into(),
                bytes(file.reads, file.bytes_read).into(),
                some(file.writes).into(),
                bytes(file.writes, file.bytes_written).into(),
                Cell::new(some(file.failures), Paint::Bad),
                Cell::new(file.errno.as_deref().unwrap_or_default(), Paint::Bad),
                Cell::new(file.first.number(), Paint::Dim),
                Cell::new(file.last.number(), Paint::Dim),
                (&file.processes).into(),
                (&file.file).into(),
            ]);
        }
        table.write(look, out)?;
        if self.left_out > 0 {
            let left_out = count(self.left_out, "file");
            writeln!(out, "{left_out} used earlier are left out")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::text_of;
    use capture_format::EventKind as K;
    use fixtures::{INIT, Script, capture, inet};

    #[test]
    fn what_was_opened_read_written_and_failed() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/etc/app\x1b[2J.conf", 3)
            .read(INIT, 3, "", "port = 80\n")
            .read(INIT, 3, "", "")
            .close(INIT, 3);
        s.open(INIT, "/missing", -2).stat(INIT, "/missing", 2);
        s.write(INIT, 2, "error\n").write_cut(INIT, 1, "abc", 5000);
        s.read(INIT, 12, "hosts", "127.0.0.1 localhost\n");
        s.call(INIT, K::SOCKET, 4, [2, 1, 0], "", "");
        s.connect(INIT, 4, &inet([10, 0, 0, 7], 80), 0)
            .write(INIT, 4, "GET /");
        insta::assert_snapshot!(text_of(&files(&mut capture(&[s]), RunIndex(0))));
    }

    #[test]
    fn enormous_counts_do_not_overflow() {
        let mut s = Script::new(&["app"]);
        for _ in 0..3 {
            s.call(INIT, K::WRITE, i64::MAX, [1, 0, 0], "", "");
        }
        let text = text_of(&files(&mut capture(&[s]), RunIndex(0)));
        assert!(text.contains("16 EiB"), "{text}");
    }
}
