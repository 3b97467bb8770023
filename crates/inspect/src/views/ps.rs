//! The processes of a run as a tree: who started them, what they executed, how long they lived, who killed them.

use std::collections::HashSet;
use std::io::{self, Read, Seek, Write};

use capture_format::{EventKind, ExitStatus, Reader, Run, RunIndex};
use serde::Serialize;

use super::text::command_line;
use super::{Cell, Column, Head, Look, Moment, Paint, Table, Text, View, count};
use events::decode::Signal;
use events::decode::interrupted::Doing;
use events::decode::time::duration;
use verdict::facts::{Facts, Process};
use verdict::rules::how;

/// Deepest indentation; deeper processes are indented this far, too.
const MAX_DEPTH: usize = 24;

/// The processes of a run, each followed by its children.
#[derive(Clone, Debug, Serialize)]
pub struct Ps {
    /// The run.
    pub run: Head,
    /// The processes as a tree, from the roots: each before its children, in the order of their starts.
    pub processes: Vec<ProcessLine>,
    /// How many processes with a known start were left out because there were more than 1024: those that ended first.
    pub left_out: u64,
}

/// One process.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessLine {
    /// Process id in the host's namespace.
    pub pid: u32,
    /// The process that forked it, if seen.
    pub parent: Option<u32>,
    /// How many of its ancestors are in the list.
    pub depth: usize,
    /// Its name; escaped.
    pub name: String,
    /// Whether the container runtime executed it besides the application: a probe, a hook, a person's `kubectl exec`.
    pub visitor: bool,
    /// When it was forked, if seen.
    pub start: Option<Moment>,
    /// When it executed its program; `None` if it never did.
    pub exec: Option<Moment>,
    /// The file that it executes; if it executed nothing, the one that its parent executes.
    pub exe: Option<Text>,
    /// The arguments, found in the same way.
    pub argv: Vec<Text>,
    /// When it ended, if seen. If it was sent SIGKILL and its end was not recorded, when SIGKILL was sent.
    pub end: Option<Moment>,
    /// How it ended, if seen. If it was sent SIGKILL and its end was not recorded, by SIGKILL.
    pub status: Option<ExitStatus>,
    /// Who killed it, if a signal killed it and the sender was seen.
    pub killed_by: Option<Killer>,
    /// What its threads were doing when a signal last came that ended it or asked it to end, as far as it was recorded: the
    /// one that says most first.
    pub threads: Vec<Thread>,
}

/// What a thread was doing when a signal came.
#[derive(Clone, Debug, Serialize)]
pub struct Thread {
    /// Number of the event that shows it.
    pub event: u64,
    /// Thread id in the host's namespace.
    pub tid: u32,
    /// `had been waiting for 31 s in recvfrom for 10.0.0.5:5432`; escaped.
    pub text: String,
    /// The call, if it was in one: `recvfrom`.
    pub call: Option<String>,
    /// For how long it had waited at least, if known; in nanoseconds.
    pub waited_ns: Option<u64>,
}

/// Who killed a process.
#[derive(Clone, Debug, Serialize)]
pub struct Killer {
    /// Number of the event that shows the killer.
    pub event: u64,
    /// `the OOM killer`, `containerd-shim (pid 812)`, `itself`; escaped.
    pub by: String,
}

/// Makes the view of a run, which is given by its position in [`Reader::runs`].
pub fn ps<R: Read + Seek>(reader: &mut Reader<R>, run_index: RunIndex) -> Ps {
    let mut facts = reader.run(run_index).map(Facts::new);
    let mut forks = 0u64;
    let (head, run) = Head::pass(reader, run_index, |event, _| {
        forks += u64::from(event.event.kind == EventKind::FORK);
        if let Some(facts) = &mut facts {
            facts.observe(event.number, &event.event);
        }
    });
    let facts = facts.unwrap_or_else(|| Facts::new(&run));
    let arch = reader.header().host.arch.clone();
    let processes = tree(&facts, &run, &arch);
    let forked = processes.iter().filter(|it| it.start.is_some()).count();
    Ps {
        run: head,
        left_out: forks.saturating_sub(forked as u64),
        processes,
    }
}

/// The processes of a run, each before its children.
fn tree(facts: &Facts, run: &Run, arch: &str) -> Vec<ProcessLine> {
    let mut all: Vec<&Process> = facts.processes.iter().collect();
    all.sort_by_key(|process| (first_event(process), process.pid));
    let known: HashSet<u32> = all.iter().map(|process| process.pid).collect();
    let is_root = |process: &&&Process| process.parent.is_none_or(|pid| !known.contains(&pid));
    let mut lines = Vec::new();
    let mut open: Vec<(&Process, usize)> = all.iter().filter(is_root).map(|it| (*it, 0)).collect();
    open.reverse();
    let mut children = std::collections::HashMap::<u32, Vec<&Process>>::new();
    for process in &all {
        if let Some(parent) = process.parent {
            children.entry(parent).or_default().push(process);
        }
    }
    // A process is listed once, whatever a capture says about parents.
    while let Some((process, depth)) = open.pop() {
        lines.push(line(process, depth, facts, run, arch));
        let below = children.remove(&process.pid).unwrap_or_default();
        open.extend(below.into_iter().rev().map(|child| (child, depth + 1)));
    }
    let rest: Vec<_> = all
        .into_iter()
        .filter(|process| {
            process
                .parent
                .is_some_and(|pid| children.contains_key(&pid))
        })
        .collect();
    lines.extend(
        rest.into_iter()
            .map(|process| line(process, 0, facts, run, arch)),
    );
    lines
}

fn first_event(process: &Process) -> u64 {
    let exec = process.exec.as_ref().map(|exec| exec.event);
    let start = process.start.map(|start| start.event);
    let end = process.exit.map(|exit| exit.event);
    start.or(exec).or(end).unwrap_or_default()
}

fn line(process: &Process, depth: usize, facts: &Facts, run: &Run, arch: &str) -> ProcessLine {
    let start = process.start;
    let exec = process.exec.as_ref();
    // An exec before the fork was its parent's, and was inherited.
    let own = exec.filter(|exec| start.is_none_or(|start| exec.event > start.event));
    let argv = exec.map(|exec| exec.argv.iter().map(|it| Text::new(it)).collect());
    let (end, status, killed_by) = end(process, facts, run);
    ProcessLine {
        pid: process.pid,
        parent: process.parent,
        depth,
        name: process.name(),
        visitor: facts.is_visitor(process.pid),
        start: start.map(|start| Moment::new(start.event, start.time, run)),
        exec: own.map(|exec| Moment::new(exec.event, exec.time, run)),
        exe: exec.map(|exec| Text::new(&exec.path)),
        argv: argv.unwrap_or_default(),
        end,
        status,
        killed_by,
        threads: threads(process, facts, arch),
    }
}

fn threads(process: &Process, facts: &Facts, arch: &str) -> Vec<Thread> {
    let mut all = facts.interruptions.last(process.pid);
    all.sort_by_key(|thread| thread.rank(arch));
    all.into_iter()
        .map(|it| Thread {
            event: it.event,
            tid: it.tid.0,
            text: it.predicate(arch),
            call: match it.doing.call {
                Doing::Running => None,
                call => Some(call.in_words(arch)),
            },
            waited_ns: it.doing.waited,
        })
        .collect()
}

/// When and how a process ended, and who killed it. SIGKILL cannot be refused: a process that was sent SIGKILL has
/// ended, whether its end was seen or not.
fn end(
    process: &Process,
    facts: &Facts,
    run: &Run,
) -> (Option<Moment>, Option<ExitStatus>, Option<Killer>) {
    let exit = process.exit;
    let end = exit.map(|exit| Moment::new(exit.event, exit.time, run));
    let signal = match exit.map(|exit| exit.status) {
        Some(ExitStatus::Signal { signal, .. }) => Signal(signal),
        Some(status) => return (end, Some(status), None),
        None => Signal::KILL,
    };
    let mut kills = facts.oom_kills.iter();
    let oom = kills.find(|kill| kill.pid == process.pid);
    let sent = facts.signals.last(process.pid, signal);
    let (event, time, by) = match (oom, sent) {
        (Some(kill), _) => (kill.event, kill.time, "the OOM killer".to_owned()),
        (None, Some(sent)) if sent.sender == process.pid && sent.address.is_none() => {
            (sent.event, sent.time, "itself".to_owned())
        }
        (None, Some(sent)) => (sent.event, sent.time, sent.sender()),
        (None, None) => return (end, exit.map(|exit| exit.status), None),
    };
    let status = exit.map_or(
        ExitStatus::Signal {
            signal: signal.0,
            core: false,
        },
        |exit| exit.status,
    );
    let end = end.unwrap_or_else(|| Moment::new(event, time, run));
    (Some(end), Some(status), Some(Killer { event, by }))
}

impl ProcessLine {
    /// When the process started, as far as was seen.
    #[must_use]
    pub fn began(&self) -> Option<Moment> {
        self.start.or(self.exec)
    }

    /// What the thread was doing that says most, and how many others there were: `was in futex (#107), and 3 other threads`.
    #[must_use]
    pub fn doing(&self) -> Option<String> {
        let first = self.threads.first()?;
        let others = match self.threads.len() - 1 {
            0 => String::new(),
            1 => ", and 1 other thread".to_owned(),
            others => format!(", and {others} other threads"),
        };
        Some(format!("{} (#{}){others}", first.text, first.event))
    }

    fn ended(&self) -> Cell {
        let Some(status) = self.status else {
            return "end not seen".into();
        };
        let good = status == ExitStatus::Code(0);
        let by = self.killed_by.as_ref();
        let by = by.map(|it| format!(" by {} (#{})", it.by, it.event));
        let text = match status {
            ExitStatus::Signal { signal, core } => {
                let core = if core { ", core dumped" } else { "" };
                format!("{}{}{core}", Signal(signal), by.unwrap_or_default())
            }
            ExitStatus::Code(_) => how(status),
        };
        let doing = self.doing().map(|doing| format!("; {doing}"));
        let text = text + &doing.unwrap_or_default();
        Cell::new(text, if good { Paint::Plain } else { Paint::Bad })
    }
}

impl View for Ps {
    fn write_text(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        self.run.write(look, out)?;
        let mut table = Table::new([
            Column::right("PID"),
            Column::left("PROCESS"),
            Column::right("START"),
            Column::right("LIVED"),
            Column::left("END"),
            Column::left("EVENTS"),
            Column::text("COMMAND"),
        ]);
        for process in &self.processes {
            let depth = process.depth.min(MAX_DEPTH);
            let indent = if depth == 0 {
                String::new()
            } else {
                format!("{:1$}└ ", "", 2 * (depth - 1))
            };
            let lived = process.began().zip(process.end);
            let lived = lived.and_then(|(start, end)| end.time_ns.checked_since(start.time_ns));
            let events = [process.start, process.exec, process.end];
            let events: Vec<_> = events.iter().flatten().map(Moment::number).collect();
            let command = command_line(&process.argv);
            let command = match (process.visitor, process.exec) {
                (true, _) => format!("{command} (beside the application)"),
                (false, None) if !command.is_empty() => format!("({command})"),
                _ => command,
            };
            table.row([
                process.pid.into(),
                format!("{indent}{}", process.name).into(),
                process
                    .began()
                    .map(|it| it.offset())
                    .unwrap_or_default()
                    .into(),
                lived.map(duration).unwrap_or_default().into(),
                process.ended(),
                Cell::new(events.join(" "), Paint::Dim),
                command.into(),
            ]);
        }
        table.write(look, out)?;
        if self.left_out > 0 {
            let left_out = count(self.left_out, "process");
            writeln!(out, "{left_out} that ended earlier are left out")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::text_of;
    use capture_format::SignalOrigin;
    use fixtures::{INIT, Script, capture};

    #[test]
    fn a_tree_with_who_killed_whom() {
        let mut s = Script::new(&["/bin/sh", "-c", "a; b \x1b[2J"]);
        s.fork(INIT, 200).exec(200, &["python3", "app.py"]);
        s.fork(200, 201).fork(INIT, 202);
        s.call(201, EventKind::OOM_KILL, 0, [0; 3], "python3", "");
        s.exit_status(201, 9);
        s.signal(200, 15, 0, (812, "evil\nshim"), SignalOrigin::Outside);
        s.exit_status(200, 15).exit(202, 0).exit(INIT, 143);
        insta::assert_snapshot!(text_of(&ps(&mut capture(&[s]), RunIndex(0))));
    }

    #[test]
    fn what_a_killed_process_was_doing_stands_beside_its_end() {
        const SECOND: i64 = 1_000_000_000;
        let mut s = Script::new(&["app"]);
        s.fork(INIT, 200).fork(INIT, 201).wait(40_000);
        s.signal(200, 15, 0, (812, "bash"), SignalOrigin::Outside);
        s.call(
            200,
            EventKind::INTERRUPTED,
            202,
            [-1, 3 * SECOND, 15],
            "",
            "",
        );
        s.events.last_mut().unwrap().tid.0 = 207;
        s.call(
            200,
            EventKind::INTERRUPTED,
            61,
            [-1, 31 * SECOND, 15],
            "",
            "",
        );
        s.exit_status(200, 15).exit(201, 0);
        let ps = ps(&mut capture(&[s]), RunIndex(0));
        let [_, killed, well] = &ps.processes[..] else {
            panic!("{ps:#?}");
        };
        assert_eq!(
            killed.doing().unwrap(),
            "had been waiting for 31 s in wait4 (#7), and 1 other thread"
        );
        assert_eq!(killed.threads[1].call.as_deref(), Some("futex"));
        assert!(well.threads.is_empty());
        assert!(text_of(&ps).contains("; had been waiting for 31 s in wait4"));
    }

    #[test]
    fn who_was_sent_sigkill_has_ended() {
        let mut s = Script::new(&["sh"]);
        s.fork(INIT, 200).fork(INIT, 201).fork(INIT, 202);
        s.call(200, EventKind::OOM_KILL, 0, [2, 64 << 20, 7], "sh", "");
        s.signal(201, 9, 0x80, (0, ""), SignalOrigin::Kernel);
        s.signal(202, 15, 0, (812, "bash"), SignalOrigin::Outside);
        let ps = ps(&mut capture(&[s]), RunIndex(0));
        let line = |pid| ps.processes.iter().find(|it| it.pid == pid).unwrap();
        let killed = Some(ExitStatus::Signal {
            signal: 9,
            core: false,
        });
        for (pid, by) in [(200, "the OOM killer"), (201, "the kernel")] {
            let line = line(pid);
            assert_eq!((line.status, line.end.is_some()), (killed, true));
            assert_eq!(line.killed_by.as_ref().unwrap().by, by);
        }
        assert!(line(202).status.is_none() && line(202).killed_by.is_none());
    }

    #[test]
    fn processes_that_are_each_others_parent_stand_once() {
        let mut s = Script::empty();
        s.fork(1, 2).fork(2, 1).fork(3, 3);
        let ps = ps(&mut capture(&[s]), RunIndex(0));
        let mut pids: Vec<u32> = ps.processes.iter().map(|it| it.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [1, 2, 3]);
    }

    #[test]
    fn more_processes_than_are_kept_are_counted() {
        let mut s = Script::new(&["sh"]);
        for child in 1000..3000 {
            s.fork(INIT, child).exit(child, 0);
        }
        let ps = ps(&mut capture(&[s]), RunIndex(0));
        assert_eq!(ps.processes.len() as u64 + ps.left_out, 2001);
        assert!(ps.left_out > 900);
    }
}
