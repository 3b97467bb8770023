//! What must be remembered from earlier events to understand one: descriptors, and who its process is.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use capture_format::{Event, EventKind};

use crate::escape::escaped_to;
use crate::facts::naming::basename;
use crate::fds::{Fd, Fds};
use crate::own;

/// Processes kept at once: beyond it all are forgotten, so that a capture cannot grow the table without end.
const MAX_PROCESSES: usize = 1 << 16;
/// Longest label, in bytes.
const MAX_LABEL: usize = 64;

/// A process, as far as earlier events tell; what is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Its name: the last component of the file it executes, or the command name that its parent had.
    pub name: Bytes,
    /// The name for people: escaped, at most 64 bytes of it.
    pub label: String,
    /// The file it executes, as passed to execve(2).
    pub exe: Bytes,
    /// Its arguments, each ended by NUL.
    pub args: Bytes,
    /// The process that forked it.
    pub parent: Option<u32>,
}

/// An event with what earlier ones tell of it.
#[derive(Debug)]
pub struct Seen<'e> {
    /// Its number in the capture.
    pub number: u64,
    /// The event.
    pub event: &'e Event,
    /// Who did it.
    pub program: Arc<Program>,
    /// What its descriptor referred to when it happened.
    pub fd: Option<Fd>,
    /// Its path, absolute where that is known; see [`Fds::path`].
    pub path: Bytes,
}

/// What is remembered of one run.
#[derive(Debug, Default)]
pub struct Context {
    fds: Fds,
    programs: HashMap<u32, Arc<Program>>,
}

impl Context {
    /// Takes the next event, in the order of the capture.
    pub fn observe<'e>(&mut self, number: u64, event: &'e Event) -> Seen<'e> {
        let path = self.fds.path(event);
        let fd = self.fds.observe(event);
        Seen {
            number,
            event,
            program: self.program(event),
            fd,
            path,
        }
    }

    /// A process that lives, as far as earlier events tell.
    #[must_use]
    pub fn of(&self, pid: u32) -> Option<&Arc<Program>> {
        self.programs.get(&pid)
    }

    /// The working directory of a process, where known.
    #[must_use]
    pub fn cwd(&self, pid: u32) -> Option<&Bytes> {
        self.fds.cwd(pid)
    }

    fn program(&mut self, event: &Event) -> Arc<Program> {
        if self.programs.len() > MAX_PROCESSES {
            self.programs.clear();
        }
        match event.kind {
            EventKind::EXEC => {
                let parent = self.programs.get(&event.pid).and_then(|it| it.parent);
                let program = Program {
                    exe: own(&event.name),
                    args: own(&event.data),
                    parent,
                    ..named(basename(&event.name))
                };
                self.programs.insert(event.pid, Arc::new(program));
            }
            EventKind::FORK => {
                let parent = self
                    .programs
                    .entry(event.pid)
                    .or_insert_with(|| Arc::new(named(&event.name)));
                let child = Program {
                    parent: Some(event.pid),
                    ..Program::clone(parent)
                };
                self.programs.insert(event.ret as u32, Arc::new(child));
            }
            EventKind::EXIT => {
                let known = self.programs.remove(&event.pid);
                return known.unwrap_or_else(|| Arc::new(named(&event.name)));
            }
            _ => {}
        }
        self.programs.get(&event.pid).cloned().unwrap_or_default()
    }
}

fn named(name: &[u8]) -> Program {
    Program {
        name: own(name),
        label: escaped_to(name, MAX_LABEL).to_string(),
        ..Program::default()
    }
}
