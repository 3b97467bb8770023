//! `.scap`, the format of sysdig, Falco and Stratoshark.
//!
//! `userspace/libscap/scap_savefile.c` of falcosecurity/libs describes the blocks, and `driver/event_table.c` the
//! events. lastword writes two flavours of the format. In each flavour an event has exactly as many parameters as
//! readers of that time know, because more parameters make some readers abort.

use std::collections::HashSet;
use std::io::{self, Read, Seek, Write};

use capture_format::{EventKind as K, Host, Reader, Run, RunIndex, Tid, WallTime};

use self::calls::{Call, call};
use self::lives::{Newborn, ended, execve, parent, signal};
use super::{Sink, tell, time_of_day};
use crate::select::Selection;
use crate::show::text;
use events::context::{Context, Program, Seen};
use verdict::explain::{Explanation, explain};

mod address;
mod block;
mod calls;
mod lives;
mod state;
mod tables;

/// How many threads that were introduced to the reader are remembered. If there are more, all are forgotten and
/// introduced again.
const MAX_KNOWN: usize = 1 << 16;
/// Thread id of events that no thread caused.
const NOBODY: u64 = u64::MAX;

/// The readers that the file is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavour {
    /// Exit events have the arguments, and the file's comment has the verdict: sysdig 0.41, Stratoshark 0.9.
    #[default]
    Modern,
    /// Enter events have the arguments, and there is no comment: sysdig 0.29. In Stratoshark payloads are shifted.
    Classic,
}

/// Writes the selected events as `.scap`.
///
/// # Errors
/// If `out` fails. Damage to the capture is written as notifications.
pub fn write<R: Read + Seek>(
    reader: &mut Reader<R>,
    select: &Selection,
    flavour: Flavour,
    out: &mut impl Write,
) -> io::Result<()> {
    let explanation = explain(reader);
    let cgroups = state::cgroups(reader.header());
    state::write(reader, select, flavour, &explanation, &cgroups, out)?;
    let container = state::container(reader.header());
    let mut scap = Scap {
        host: reader.header().host.clone(),
        flavour,
        container,
        cgroups,
        explanation,
        init: 0,
        known: HashSet::new(),
        now: WallTime::default(),
        out,
    };
    tell(reader, select, &mut scap)
}

struct Scap<W> {
    host: Host,
    flavour: Flavour,
    /// The description of the container for the reader, as JSON; `None` outside of a container.
    container: Option<String>,
    cgroups: Vec<u8>,
    explanation: Explanation,
    /// The run's first process. It is in the table of processes, so the runtime's fork of it is left out: that fork
    /// would make the reader forget the descriptors of the process.
    init: u32,
    /// Threads that the reader knows.
    known: HashSet<Tid>,
    /// Time of the last event. Readers expect that times never decrease.
    now: WallTime,
    out: W,
}

impl<W: Write> Sink for Scap<W> {
    fn begin_run(&mut self, run: &Run) -> io::Result<()> {
        self.init = run.init_pid;
        self.known = HashSet::from([Tid::first_of(run.init_pid)]);
        self.now = self.now.max(time_of_day(run.start, &self.host));
        if let Some(json) = self.container.take() {
            let json = block::Parameters::new().bytes(&[json.as_bytes(), b"\0"].concat());
            self.write(NOBODY, &Call::alone(tables::CONTAINER, json))?;
        }
        self.write(NOBODY, &Call::notification("run", &run.number.to_string()))
    }

    fn event(&mut self, seen: &Seen<'_>, context: &Context) -> io::Result<()> {
        let event = seen.event;
        self.now = self.now.max(time_of_day(event.time, &self.host));
        if event.kind == K::GAP {
            let text = text::call(seen, &self.host);
            return self.write(NOBODY, &Call::notification("gap", &text));
        }
        self.introduce(seen, context)?;
        let cwd = context.cwd(event.pid).map_or(&b""[..], |cwd| cwd);
        let told = match event.kind {
            K::EXEC | K::EXECVE | K::EXECVEAT => Some(execve(seen, cwd, &self.cgroups)),
            K::FORK => return self.forked(seen, context),
            K::EXIT => Some(ended(event)),
            K::SIGNAL_GENERATE | K::SIGNAL_DELIVER => signal(event),
            // The reader gets descriptors 0 to 2 from the table of descriptors.
            K::STDIO => None,
            K::OOM_KILL | K::INTERRUPTED => {
                let text = text::call(seen, &self.host);
                let name = event.kind.name().unwrap_or_default();
                Some(Call::notification(name, &text))
            }
            _ => Some(call(seen, self.flavour, &self.host)),
        };
        if let Some(call) = told {
            self.write(event.tid.0.into(), &call)?;
        }
        if event.kind == K::EXIT {
            self.known.remove(&Tid::first_of(event.pid));
        }
        Ok(())
    }

    fn missing(&mut self, damage: &str) -> io::Result<()> {
        self.write(NOBODY, &Call::notification("damage", damage))
    }

    fn end_run(&mut self, index: RunIndex, run: &Run) -> io::Result<()> {
        if let Some(end) = run.end {
            self.now = self.now.max(time_of_day(end, &self.host));
        }
        let verdict = self.explanation.runs.get(index.0);
        let sentence = verdict.map_or("", |run| &run.verdict.sentence);
        let notification = Call::notification("verdict", sentence);
        self.write(NOBODY, &notification)
    }
}

impl<W: Write> Scap<W> {
    /// Introduces a process or thread that the reader does not know: it lived before the recording, or it was cloned as
    /// a thread, which is not recorded.
    fn introduce(&mut self, seen: &Seen<'_>, context: &Context) -> io::Result<()> {
        let event = seen.event;
        for tid in [Tid::first_of(event.pid), event.tid] {
            if self.knows(tid) {
                continue;
            }
            let parent = parent(&seen.program);
            self.born(&seen.program, context, (event.pid, tid), (parent, None))?;
        }
        Ok(())
    }

    fn forked(&mut self, seen: &Seen<'_>, context: &Context) -> io::Result<()> {
        let Ok(child) = u32::try_from(seen.event.ret) else {
            return Ok(());
        };
        if child == self.init {
            return Ok(());
        }
        self.knows(Tid::first_of(child));
        let inside = Some(seen.event.args[0]);
        let parent = i64::from(seen.event.pid);
        self.born(
            &seen.program,
            context,
            (child, Tid::first_of(child)),
            (parent, inside),
        )
    }

    fn born(
        &mut self,
        program: &Program,
        context: &Context,
        (pid, tid): (u32, Tid),
        (parent, pid_inside): (i64, Option<i64>),
    ) -> io::Result<()> {
        let cwd = context.cwd(pid).cloned().unwrap_or_default();
        let clone = Newborn {
            pid,
            tid,
            pid_inside,
            parent,
            program,
            cwd: &cwd,
            cgroups: &self.cgroups,
        }
        .clone();
        self.write(tid.0.into(), &clone)
    }

    /// Whether the reader knows a thread; afterwards it counts as known.
    fn knows(&mut self, tid: Tid) -> bool {
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        !self.known.insert(tid)
    }

    fn write(&mut self, tid: u64, call: &Call) -> io::Result<()> {
        let Call {
            kind,
            enter,
            exit,
            classic,
        } = call;
        let mut out = &mut self.out;
        let Some(enter) = enter else {
            return exit.write(&mut out, (self.now, tid, *kind));
        };
        let at = |kind| (self.now, tid, kind);
        match self.flavour {
            Flavour::Modern => exit.write(&mut out, at(kind + 1)),
            Flavour::Classic => {
                enter.write(&mut out, at(*kind))?;
                exit.clone().first(*classic).write(&mut out, at(kind + 1))
            }
        }
    }
}
