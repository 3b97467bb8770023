//! The calls of a run that failed: by error, and by what they were about.
//!
//! The text leaves out the calls that fail in nearly every program's life ([`verdict::facts::is_noise`]); as JSON they
//! are marked.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io::{self, Read, Seek, Write};

use capture_format::{Event, EventKind, Reader, RunIndex};
use serde::Serialize;

use super::{Cell, Column, Head, Look, Moment, Names, Paint, Subject, Table, Tally, View, count};
use events::context::Context;
use events::decode::Errno;
use verdict::facts::{Facts, fails_anyway};

/// What the noise is, for people.
pub(crate) const NOISE: &str = "that a later one made good (searches of loaders, shells and imports), or that fail in nearly every program's life";

/// How many failures of each group are asked whether they are noise: the last ones.
const MAX_ASKED: usize = 8;

/// The failed calls.
#[derive(Clone, Debug, Serialize)]
pub struct Errors {
    /// The run.
    pub run: Head,
    /// How many calls failed.
    pub total: u64,
    /// The number of failures by error, most frequent first.
    pub by_errno: Vec<ByErrno>,
    /// The failures by call, error and subject; the most recent one is last.
    pub calls: Vec<FailedCall>,
    /// How many groups were left out of `calls` because there were too many: those whose last failure is the oldest.
    pub left_out: u64,
}

/// One error.
#[derive(Clone, Debug, Serialize)]
pub struct ByErrno {
    /// Its name: `ENOENT`.
    pub errno: String,
    /// What it means: `No such file or directory`.
    pub text: &'static str,
    /// How many calls failed with it.
    pub count: u64,
}

/// Calls that failed in the same way.
#[derive(Clone, Debug, Serialize)]
pub struct FailedCall {
    /// The call.
    pub call: String,
    /// The error.
    pub errno: String,
    /// What the call was about.
    pub subject: Subject,
    /// How often it failed.
    pub count: u64,
    /// Whether such calls fail in nearly every program's life, or a later call made up for it.
    pub noise: bool,
    /// Names of the processes, the first four; escaped.
    pub processes: Names,
    /// The first failure.
    pub first: Moment,
    /// The last failure.
    pub last: Moment,
    /// The numbers of the last failures, except those that are noise whatever follows.
    #[serde(skip)]
    asked: VecDeque<u64>,
}

/// Makes the view of a run, which is given by its position in [`Reader::runs`].
pub fn errors<R: Read + Seek>(reader: &mut Reader<R>, run_index: RunIndex) -> Errors {
    let mut context = Context::default();
    let mut calls: Tally<(EventKind, Errno, Subject), FailedCall> = Tally::default();
    let mut by_errno: BTreeMap<u16, u64> = BTreeMap::new();
    let mut facts = reader.run(run_index).map(Facts::new);
    let (run, _) = Head::pass(reader, run_index, |numbered, run| {
        let (number, event) = (numbered.number, &numbered.event);
        if let Some(facts) = &mut facts {
            facts.observe(number, event);
        }
        let seen = context.observe(number, event);
        let Some(errno) = failed(event) else {
            return;
        };
        *by_errno.entry(errno.0).or_default() += 1;
        let subject = Subject::of(&seen);
        let now = Moment::of(number, event, run);
        let key = (event.kind, errno, subject.clone());
        let call = calls.entry(number, key, || FailedCall {
            call: call_name(event.kind),
            errno: errno.to_string(),
            subject,
            count: 0,
            noise: true,
            processes: Names::default(),
            first: now,
            last: now,
            asked: VecDeque::new(),
        });
        call.count += 1;
        if !fails_anyway(event.kind, errno, &event.name) {
            call.asked.push_back(number);
            if call.asked.len() > MAX_ASKED {
                call.asked.pop_front();
            }
        }
        call.last = now;
        call.processes.add(&seen.program.label);
    });
    let (groups, left_out) = calls.into_groups();
    let noise: HashSet<u64> = facts.iter().flat_map(Facts::noise).collect();
    let mut calls: Vec<_> = groups.into_iter().map(|(_, call)| call).collect();
    for call in &mut calls {
        call.noise = call.asked.iter().all(|event| noise.contains(event));
    }
    calls.sort_by_key(|call| call.last.event);
    let by_errno = by_errno.into_iter().map(|(errno, count)| ByErrno {
        errno: Errno(errno).to_string(),
        text: Errno(errno).text(),
        count,
    });
    let mut by_errno: Vec<_> = by_errno.collect();
    by_errno.sort_by_key(|it| std::cmp::Reverse(it.count));
    Errors {
        run,
        total: by_errno.iter().map(|it| it.count).sum(),
        by_errno,
        calls,
        left_out,
    }
}

/// Why the call failed. A connect that goes on in the background has not failed; if it fails later, SO_ERROR reports
/// that.
pub(crate) fn failed(event: &Event) -> Option<Errno> {
    if !event.kind.is_syscall() {
        return None;
    }
    if event.kind == EventKind::GETSOCKOPT && event.ret == 0 {
        let errno = u16::try_from(event.args[1]).ok()?;
        return (errno != 0).then_some(Errno(errno));
    }
    let errno = Errno::from_ret(event.ret)?;
    (event.kind != EventKind::CONNECT || errno != Errno::EINPROGRESS).then_some(errno)
}

/// Name of a call; `kind_N` for a kind that this version does not know.
pub(crate) fn call_name(kind: EventKind) -> String {
    kind.name()
        .map_or_else(|| format!("kind_{}", kind.0), str::to_owned)
}

impl Errors {
    /// The groups that a reader wants to see: those that are no noise.
    pub(crate) fn told(&self) -> impl DoubleEndedIterator<Item = &FailedCall> {
        self.calls.iter().filter(|call| !call.noise)
    }

    /// How many of the failed calls are noise.
    pub(crate) fn noise(&self) -> u64 {
        let noise = self.calls.iter().filter(|call| call.noise);
        noise.map(|call| call.count).sum()
    }
}

impl View for Errors {
    fn write_text(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        self.run.write(look, out)?;
        if self.total == 0 {
            return writeln!(out, "no call failed");
        }
        let mut table = Table::new([
            Column::right("COUNT"),
            Column::left("ERROR"),
            Column::text("MEANING"),
        ]);
        for errno in &self.by_errno {
            let name = Cell::new(&errno.errno, Paint::Bad);
            table.row([errno.count.into(), name, errno.text.into()]);
        }
        table.write(look, out)?;
        writeln!(out)?;
        let mut table = Table::new([
            Column::right("COUNT"),
            Column::left("CALL"),
            Column::left("ERROR"),
            Column::left("FIRST"),
            Column::left("LAST"),
            Column::right("AT"),
            Column::text("PROCESSES"),
            Column::path("WHAT"),
        ]);
        for call in self.told() {
            table.row([
                call.count.into(),
                (&call.call).into(),
                Cell::new(&call.errno, Paint::Bad),
                Cell::new(call.first.number(), Paint::Dim),
                Cell::new(call.last.number(), Paint::Dim),
                Cell::new(call.last.offset(), Paint::Dim),
                (&call.processes).into(),
                (&call.subject).into(),
            ]);
        }
        table.write(look, out)?;
        if self.noise() > 0 {
            let noise = count(self.noise(), "call");
            writeln!(out, "not listed: {noise} {NOISE}; --json has them")?;
        }
        if self.left_out > 0 {
            let left_out = count(self.left_out, "line");
            writeln!(
                out,
                "{left_out} of earlier failures are left out; all are counted above"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::text_of;
    use EventKind as K;
    use fixtures::{INIT, Script, capture, inet};

    fn script() -> Script {
        let mut s = Script::new(&["app"]);
        for _ in 0..37 {
            s.open(INIT, "/etc/app.conf", -2);
        }
        s.call(INIT, K::SOCKET, 4, [2, 1, 0], "", "");
        s.connect(INIT, 4, &inet([10, 0, 0, 7], 80), -115);
        s.call(INIT, K::GETSOCKOPT, 0, [4, 111, 0], "", "");
        s.call(INIT, K::ACCESS, -13, [0; 3], "/a\n\x1b[2J", "");
        s.call(INIT, K::WRITE, -9, [7, 0, 3], "", "abc");
        s
    }

    #[test]
    fn failures_alike_are_one_line() {
        insta::assert_snapshot!(text_of(&errors(&mut capture(&[script()]), RunIndex(0))));
    }

    #[test]
    fn a_connect_in_progress_has_not_failed() {
        let errors = errors(&mut capture(&[script()]), RunIndex(0));
        assert_eq!(errors.total, 40);
        assert!(errors.calls.iter().all(|call| call.errno != "EINPROGRESS"));
        let refused = errors
            .calls
            .iter()
            .find(|call| call.errno == "ECONNREFUSED");
        let address = Subject::Address("10.0.0.7:80".to_owned());
        assert_eq!(refused.unwrap().subject, address);
    }
}
