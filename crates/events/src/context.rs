//! What must be remembered from earlier events to understand a later one: what descriptors refer to, and which program
//! a process runs.

use std::sync::Arc;

use bytes::Bytes;
use capture_format::{Event, EventKind, NamespacePid};
use foldhash::HashMap;

use crate::basename;
use crate::escape::escaped_to;
use crate::fds::{self, Fd, Fds, NameRole, acts_on_fd, name_role};
use crate::own;

/// How many processes are kept. Beyond that, all are dropped, so that a capture cannot make the table grow without
/// limit.
const MAX_PROCESSES: usize = 1 << 16;
/// How many generations are followed back at once, so that a capture cannot make each event cost a walk over all
/// processes.
const MAX_GENERATIONS: usize = 1 << 10;
/// Longest label, in bytes.
const MAX_LABEL: usize = 64;

/// A process, as far as it is known from earlier events. Fields that are not known are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Its name: the last component of the file that it executes, or its parent's command name.
    pub name: Bytes,
    /// The name for people: escaped, of at most 64 bytes.
    pub label: String,
    /// The file that it executes, as passed to execve(2).
    pub exe: Bytes,
    /// Its arguments, each ended by NUL.
    pub args: Bytes,
    /// The process that forked it.
    pub parent: Option<u32>,
    /// Its pid in its own pid namespace.
    pub namespace_pid: Option<NamespacePid>,
    /// Distinguishes it and its parent from other processes that had the same pid before or after. 0: unknown.
    id: u64,
    parent_id: u64,
}

/// An event with what is known about it from earlier events.
#[derive(Debug)]
pub struct Seen<'e> {
    /// Its number in the capture.
    pub number: u64,
    /// The event.
    pub event: &'e Event,
    /// The process that caused the event.
    pub program: Arc<Program>,
    /// What the event's descriptor referred to when the event happened.
    pub fd: Option<Fd>,
    /// The path that the event names, absolute if that is known; see [`Fds::path`]. Empty if its name is not a path. It
    /// may share memory with the event.
    pub path: Bytes,
}

/// What is kept of one run to understand its events.
#[derive(Clone, Debug, Default)]
pub struct Context {
    fds: Fds,
    programs: HashMap<u32, Arc<Program>>,
    /// The last [`Program::id`] that was used.
    last_id: u64,
    /// The program of a process about which nothing is known.
    unknown: Arc<Program>,
}

/// A part of the context that can be followed without the other part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Which program each process executes.
    Programs,
    /// What each descriptor refers to.
    Descriptors,
}

impl Part {
    /// Both parts.
    pub const ALL: [Self; 2] = [Self::Programs, Self::Descriptors];

    /// Whether an event of this kind may change this part.
    pub fn is_changed_by(self, kind: EventKind) -> bool {
        match self {
            Self::Programs => matches!(kind, EventKind::EXEC | EventKind::FORK | EventKind::EXIT),
            Self::Descriptors => fds::changes(kind),
        }
    }

    /// Whether this part is needed to understand an event.
    pub fn is_needed_by(self, event: &Event) -> bool {
        match self {
            Self::Programs => true,
            Self::Descriptors => {
                acts_on_fd(event.kind) || has_path(event) && !event.name.starts_with(b"/")
            }
        }
    }
}

fn has_path(event: &Event) -> bool {
    name_role(event) == NameRole::Path && !event.name.is_empty()
}

impl Context {
    /// Takes the next event, in the order of the capture.
    pub fn observe<'e>(&mut self, number: u64, event: &'e Event) -> Seen<'e> {
        let path = self.path(event);
        let fd = self.fds.observe(event);
        Seen {
            number,
            event,
            program: self.program(event),
            fd,
            path,
        }
    }

    /// The process that forked this one, in its present state; `None` if it is unknown or has ended.
    #[must_use]
    pub fn parent(&self, program: &Program) -> Option<&Arc<Program>> {
        let parent = self.programs.get(&program.parent?)?;
        (parent.id == program.parent_id).then_some(parent)
    }

    /// Pids and programs of the ancestors of this process, its parent first, as far as they are known and alive; at
    /// most 1024.
    pub fn ancestors<'a>(
        &'a self,
        program: &'a Program,
    ) -> impl Iterator<Item = (u32, &'a Program)> {
        let mut at = program;
        let next = move || {
            let pid = at.parent?;
            at = self.parent(at)?;
            Some((pid, at))
        };
        std::iter::from_fn(next).take(MAX_GENERATIONS)
    }

    /// Takes the next event for one part only.
    pub fn follow(&mut self, part: Part, event: &Event) {
        match part {
            Part::Programs => drop(self.program(event)),
            Part::Descriptors => drop(self.fds.observe(event)),
        }
    }

    /// Takes the next event for the programs only. The event must not need descriptors to be understood.
    pub fn observe_without_descriptors<'e>(&mut self, number: u64, event: &'e Event) -> Seen<'e> {
        Seen {
            number,
            event,
            program: self.program(event),
            fd: None,
            path: self.path(event),
        }
    }

    fn path(&self, event: &Event) -> Bytes {
        if has_path(event) {
            self.fds.path(event)
        } else {
            Bytes::new()
        }
    }

    /// The working directory of a process, if known.
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
                let before = self.programs.get(&event.pid).cloned();
                let before = before.unwrap_or_else(|| Arc::new(self.identified(b"")));
                let program = Program {
                    exe: own(&event.name),
                    args: own(&event.data),
                    parent: before.parent,
                    namespace_pid: namespace_pid(event.args[0]).or(before.namespace_pid),
                    id: before.id,
                    parent_id: before.parent_id,
                    ..named(basename(&event.name))
                };
                self.programs.insert(event.pid, Arc::new(program));
            }
            EventKind::FORK => {
                let parent = match self.programs.get(&event.pid) {
                    Some(parent) => Arc::clone(parent),
                    None => {
                        let parent = Arc::new(self.identified(&event.name));
                        self.programs.insert(event.pid, Arc::clone(&parent));
                        parent
                    }
                };
                let child = Program {
                    parent: Some(event.pid),
                    namespace_pid: namespace_pid(event.args[0]),
                    id: self.next_id(),
                    parent_id: parent.id,
                    ..Program::clone(&parent)
                };
                self.programs.insert(event.ret as u32, Arc::new(child));
            }
            EventKind::EXIT => {
                let known = self.programs.remove(&event.pid);
                return known.unwrap_or_else(|| Arc::new(named(&event.name)));
            }
            _ => {}
        }
        let known = self.programs.get(&event.pid);
        known.unwrap_or(&self.unknown).clone()
    }

    fn identified(&mut self, name: &[u8]) -> Program {
        Program {
            id: self.next_id(),
            ..named(name)
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

/// A pid in a namespace. It is never 0.
fn namespace_pid(number: i64) -> Option<NamespacePid> {
    let pid = u32::try_from(number).ok().filter(|&pid| pid != 0);
    pid.map(NamespacePid)
}

fn named(name: &[u8]) -> Program {
    Program {
        name: own(name),
        label: escaped_to(name, MAX_LABEL).to_string(),
        ..Program::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fixtures::{INIT, Script, nginx};
    use proptest::prelude::*;

    fn follow(script: &Script) -> (Context, Vec<Arc<Program>>) {
        let mut context = Context::default();
        let programs = script
            .numbered()
            .map(|(number, event)| context.observe(number, event).program)
            .collect();
        (context, programs)
    }

    fn ancestors(context: &Context, program: &Program) -> Vec<String> {
        let ancestors = context.ancestors(program);
        ancestors
            .map(|(pid, program)| format!("{pid} {}", program.label))
            .collect()
    }

    #[test]
    fn ancestors_are_followed_over_fork_and_exec() {
        let mut script = Script::new(&["sh"]);
        script
            .fork(INIT, 101)
            .exec(101, &["make"])
            .fork(101, 102)
            .exec(102, &["cc"]);
        let (context, programs) = follow(&script);
        let cc = programs.last().unwrap();
        assert_eq!(ancestors(&context, cc), ["101 make", "100 sh"]);
    }

    #[test]
    fn who_has_the_pid_of_an_ended_parent_is_no_parent() {
        let mut script = Script::new(&["sh"]);
        script.fork(INIT, 101).fork(101, 102).exit(101, 0);
        script
            .fork(INIT, 101)
            .exec(101, &["other"])
            .write(102, 1, "x");
        let (context, programs) = follow(&script);
        let orphan = programs.last().unwrap();
        assert_eq!(orphan.parent, Some(101));
        assert_eq!(context.parent(orphan), None);
    }

    #[test]
    fn a_process_that_forks_itself_is_not_its_own_ancestor_for_ever() {
        let mut script = Script::new(&["sh"]);
        script.fork(INIT, INIT).fork(INIT, INIT);
        let (context, programs) = follow(&script);
        assert!(ancestors(&context, programs.last().unwrap()).len() < 3);
    }

    proptest! {
        /// Events that [`Part::is_changed_by`] excludes change nothing.
        #[test]
        fn events_that_change_nothing_change_nothing(
            kind in prop_oneof![
                prop::sample::select(EventKind::ALL.to_vec()),
                any::<u16>().prop_map(EventKind)
            ],
            ret in -3i64..300,
            args in [-1i64..12, -1i64..2000, 0i64..5],
            name in prop::sample::select(vec![&b"/x"[..], b"y", b"\x02\0\0\x35\x0a\0\0\x01\0\0\0\0"]),
        ) {
            let script = nginx();
            let mut context = Context::default();
            for event in &script.events {
                context.observe(1, event);
            }
            let event = Event {
                kind,
                ret,
                args,
                name: Bytes::from_static(name),
                data: Bytes::from_static(&[1; 48]),
                ..script.events[script.events.len() / 2].clone()
            };
            for part in Part::ALL {
                let state = |context: &Context| match part {
                    Part::Programs => format!("{:?}", context.programs),
                    Part::Descriptors => format!("{:?}", context.fds),
                };
                let before = state(&context);
                context.follow(part, &event);
                if !part.is_changed_by(kind) {
                    prop_assert_eq!(before, state(&context));
                }
            }
        }
    }
}
