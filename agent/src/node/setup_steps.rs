//! Removing what the container runtime does inside the container's cgroup before the container's program runs there.
//!
//! Runtimes enter the cgroup first, and execute the program (or that of an exec probe) last. In between they read its
//! configuration, environment and all, from a socket, and look into files of the node. That is not the container's
//! life, and holds what must not be kept.

use std::collections::HashSet;

use capture_format::{Event, EventFlags, EventKind};
use verdict::runtimes;

/// Removes the runtime's steps. Two things of them stay: where the program's working directory was set, and, if the
/// program was never executed, the calls that failed, without payloads. Returns the container's first process, if it
/// is known.
///
/// `complete`: no event of this run was overwritten. Only then does a process belong to the runtime that never
/// executed anything and that nobody forked.
pub(super) fn remove(events: &mut Vec<Event>, complete: bool) -> Option<u32> {
    let never_started = never_started(events, complete);
    let Steps {
        adopted: Adopted {
            mut inside,
            mut runtime,
        },
        executed,
        first,
    } = Steps::of(events, complete);
    if executed.is_empty() && inside.is_empty() && !complete && runtime.is_empty() {
        return first;
    }
    let mut directories: Vec<(u32, usize)> = Vec::new();
    let mut keep = vec![false; events.len()];
    let mut tried = None;
    for (index, event) in events.iter_mut().enumerate() {
        let is_inside = inside.contains(&event.pid);
        let is_runtime = runtime.contains(&event.pid);
        if never_started && !is_inside && event.kind != EventKind::EXEC {
            event.data = Default::default();
        }
        keep[index] = match event.kind {
            EventKind::EXEC if !is_inside && is_of_runtime(event) => false,
            EventKind::EXEC => {
                inside.insert(event.pid);
                runtime.remove(&event.pid);
                // The last directory that was set before the first exec is the program's directory.
                if let Some(&(_, set)) = directories
                    .iter()
                    .rev()
                    .find(|(pid, _)| *pid == event.pid && !is_inside)
                {
                    keep[set] = true;
                }
                true
            }
            EventKind::FORK => {
                if is_inside {
                    inside.insert(event.ret as u32);
                }
                if is_runtime {
                    runtime.insert(event.ret as u32);
                }
                // Who forked a process distinguishes a probe's process from the container's own.
                !(is_runtime && event.flags.contains(EventFlags::ADOPTED))
            }
            EventKind::OOM_KILL => true,
            // An exec kills the other threads of the runtime.
            EventKind::EXIT | EventKind::SIGNAL_GENERATE | EventKind::SIGNAL_DELIVER => {
                is_inside || never_started || !complete && !is_runtime
            }
            _ if is_inside => true,
            EventKind::CHDIR if event.ret == 0 => {
                directories.push((event.pid, index));
                false
            }
            EventKind::EXECVE | EventKind::EXECVEAT if never_started => {
                tried = Some(event.pid);
                true
            }
            _ if never_started => event.ret < 0,
            _ => !complete && !is_runtime && !executed.contains(&event.pid),
        };
    }
    let mut kept = keep.iter();
    events.retain(|_| kept.next().copied().unwrap_or(true));
    // In a pid namespace that is shared with another container, no process is the container's first; but one tried to
    // execute the program.
    first.or(tried)
}

/// Whether the container's program was never executed. `complete` as in [`remove`].
pub(super) fn never_started(events: &[Event], complete: bool) -> bool {
    let steps = Steps::of(events, complete);
    let started = match steps.first {
        // A hook may have been executed before.
        Some(first) => steps.executed.contains(&first),
        None => !steps.executed.is_empty(),
    };
    complete && steps.adopted.inside.is_empty() && !started
}

/// What is known of a run before anything is removed from it.
struct Steps {
    adopted: Adopted,
    /// Processes that executed something of the container's, not of the runtime's.
    executed: HashSet<u32>,
    /// The process that became the container's program, or was to become it: the runtime makes it pid 1 of a
    /// namespace. Known only if no event of the run was overwritten.
    first: Option<u32>,
}

impl Steps {
    fn of(events: &[Event], complete: bool) -> Self {
        let adopted = Adopted::of(events);
        let mut inside = adopted.inside.clone();
        let mut executed = HashSet::new();
        let mut first = None;
        for event in events {
            let is_inside = inside.contains(&event.pid);
            let begins = |pid: u32| (complete && !is_inside && event.args[0] == 1).then_some(pid);
            match event.kind {
                EventKind::EXEC if is_inside || !is_of_runtime(event) => {
                    first = first.or(begins(event.pid));
                    inside.insert(event.pid);
                    executed.insert(event.pid);
                }
                EventKind::EXEC | EventKind::EXIT => first = first.or(begins(event.pid)),
                EventKind::FORK if is_inside => {
                    inside.insert(event.ret as u32);
                }
                EventKind::FORK => first = first.or(begins(event.ret as u32)),
                _ => {}
            }
        }
        Self {
            adopted,
            executed,
            first,
        }
    }
}

/// The processes that existed when the recorder came.
#[derive(Default)]
struct Adopted {
    /// The container's.
    inside: HashSet<u32>,
    /// The runtime's, which was setting up the container or what it executes there.
    runtime: HashSet<u32>,
}

impl Adopted {
    fn of(events: &[Event]) -> Self {
        let mut found = Self::default();
        let adopted = events
            .iter()
            .filter(|event| event.flags.contains(EventFlags::ADOPTED));
        for event in adopted {
            let is_inside = found.inside.contains(&event.pid);
            if event.kind == EventKind::EXEC && !is_inside && is_of_runtime(event) {
                found.runtime.insert(event.pid);
            }
            let side = if found.runtime.contains(&event.pid) {
                &mut found.runtime
            } else {
                &mut found.inside
            };
            side.insert(event.pid);
            if event.kind == EventKind::FORK {
                side.insert(event.ret as u32);
            }
        }
        found
    }
}

/// Whether a runtime executes itself anew, from a copy of its program. It makes the copy so that a container cannot
/// overwrite the node's program (runc, libcontainer/nsenter/cloned_binary.c). By then it may have been moved into the
/// container's cgroup. Or it was setting something up when the recorder came: how /proc names the copy depends on how
/// the copy was made.
fn is_of_runtime(exec: &Event) -> bool {
    const COPIES: [&[u8]; 3] = [b"/dev/fd/", b"/proc/self/fd/", b"/proc/self/exe"];
    let is_copy = COPIES.iter().any(|copy| exec.name.starts_with(copy));
    (is_copy || exec.flags.contains(EventFlags::ADOPTED)) && runtimes::sets_up(&exec.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, pid: u32, ret: i64, name: &'static str) -> Event {
        Event {
            kind,
            pid,
            ret,
            name: name.as_bytes().into(),
            data: b"SECRET=1".as_slice().into(),
            ..Event::default()
        }
    }

    fn left(mut events: Vec<Event>, complete: bool) -> Vec<(EventKind, u32)> {
        remove(&mut events, complete);
        events.iter().map(|event| (event.kind, event.pid)).collect()
    }

    /// runc create (10) forks 11 forks 12, which becomes the program and forks 13; a probe (20 → 21) comes later.
    fn life() -> Vec<Event> {
        vec![
            event(EventKind::READ, 10, 9, ""),
            event(EventKind::FORK, 10, 11, ""),
            event(EventKind::FORK, 11, 12, ""),
            event(EventKind::CHDIR, 12, 0, "/run/containerd/rootfs"),
            event(EventKind::READ, 12, 2429, ""),
            event(EventKind::CHDIR, 12, 0, "/app"),
            event(EventKind::OPENAT, 12, -2, "/sys/fs/selinux"),
            event(EventKind::EXIT, 10, 0, ""),
            event(EventKind::SIGNAL_DELIVER, 12, 9, ""),
            event(EventKind::EXEC, 12, 12, "/bin/app"),
            event(EventKind::OPENAT, 12, -2, "/etc/app.conf"),
            event(EventKind::FORK, 12, 13, ""),
            event(EventKind::WRITE, 13, 5, ""),
            event(EventKind::FORK, 20, 21, ""),
            event(EventKind::READ, 21, 2429, ""),
            event(EventKind::EXEC, 21, 21, "/bin/cat"),
            event(EventKind::OPENAT, 21, -2, "/run/healthy"),
            event(EventKind::EXIT, 21, 256, ""),
            event(EventKind::SIGNAL_GENERATE, 12, 9, ""),
            event(EventKind::EXIT, 12, 9, ""),
        ]
    }

    #[test]
    fn the_programs_own_life_stays() {
        let of = |kind, pid| (kind, pid);
        assert_eq!(
            left(life(), true),
            [
                of(EventKind::FORK, 10),
                of(EventKind::FORK, 11),
                of(EventKind::CHDIR, 12),
                of(EventKind::EXEC, 12),
                of(EventKind::OPENAT, 12),
                of(EventKind::FORK, 12),
                of(EventKind::WRITE, 13),
                of(EventKind::FORK, 20),
                of(EventKind::EXEC, 21),
                of(EventKind::OPENAT, 21),
                of(EventKind::EXIT, 21),
                of(EventKind::SIGNAL_GENERATE, 12),
                of(EventKind::EXIT, 12),
            ]
        );
        let mut events = life();
        remove(&mut events, true);
        assert_eq!(&events[2].name[..], b"/app");
    }

    #[test]
    fn a_program_that_was_never_executed_leaves_what_failed_without_payloads() {
        let mut events: Vec<Event> = life().into_iter().take(8).collect();
        events.push(event(EventKind::NEWFSTATAT, 12, -2, "/usr/bin/srever"));
        events.push(event(EventKind::EXIT, 12, 256, ""));
        remove(&mut events, true);
        let names: Vec<&[u8]> = events.iter().map(|event| &event.name[..]).collect();
        assert_eq!(
            names,
            [
                &b""[..],
                b"",
                b"/sys/fs/selinux",
                b"",
                b"/usr/bin/srever",
                b""
            ]
        );
        assert!(events.iter().all(|event| event.data.is_empty()));
    }

    /// A runc that executes its own copy inside the cgroup.
    fn cloned() -> Event {
        Event {
            data: b"runc\0init\0".as_slice().into(),
            ..event(EventKind::EXEC, 10, 10, "/dev/fd/6")
        }
    }

    #[test]
    fn that_the_runtime_executes_itself_is_a_step_of_its_own() {
        let mut events = life();
        events.insert(1, cloned());
        assert_eq!(left(events, true), left(life(), true));
        let never: Vec<Event> = life().into_iter().take(8).collect();
        let mut cloned_never = never.clone();
        cloned_never.insert(1, cloned());
        assert_eq!(left(cloned_never, true), left(never, true));
    }

    fn was_so(event: Event) -> Event {
        Event {
            flags: EventFlags::ADOPTED,
            ..event
        }
    }

    /// A runc that has executed itself before the recorder came, as /proc tells of it.
    fn runtime(pid: u32) -> Event {
        was_so(Event {
            pid,
            name: b"runc".as_slice().into(),
            ..cloned()
        })
    }

    /// The recorder comes when runc (10) has forked 11.
    fn adopted_in_set_up() -> Vec<Event> {
        let mut events = life();
        events.splice(
            ..2,
            [
                runtime(10),
                was_so(event(EventKind::FORK, 10, 11, "")),
                was_so(event(EventKind::OPENAT, 11, 5, "exec.fifo")),
                event(EventKind::EXIT, 11, 0, ""),
            ],
        );
        events
    }

    #[test]
    fn a_runtime_that_was_there_before_the_recorder_is_none_of_the_containers() {
        let whole = left(life(), true);
        assert_eq!(left(adopted_in_set_up(), true), whole[1..]);
        let incomplete = left(adopted_in_set_up(), false);
        assert!(incomplete.iter().all(|(_, pid)| *pid != 10));
        // The program is never executed: what failed is left, and who ended.
        let never: Vec<Event> = adopted_in_set_up().into_iter().take(10).collect();
        let of = |kind, pid| (kind, pid);
        assert_eq!(
            left(never, true),
            [
                of(EventKind::EXIT, 11),
                of(EventKind::FORK, 11),
                of(EventKind::OPENAT, 12),
                of(EventKind::EXIT, 10),
            ]
        );
    }

    #[test]
    fn a_runtime_that_executes_a_probe_when_the_recorder_comes_is_not_the_program() {
        let mut events = vec![
            was_so(event(EventKind::EXEC, 1, 1, "/bin/app")),
            runtime(20),
            was_so(event(EventKind::OPENAT, 20, 5, "/dev/null")),
            event(EventKind::READ, 20, 2429, ""),
            event(EventKind::EXEC, 20, 20, "/bin/cat"),
            event(EventKind::OPENAT, 20, -2, "/run/healthy"),
            event(EventKind::EXIT, 20, 256, ""),
        ];
        remove(&mut events, true);
        let names: Vec<&[u8]> = events.iter().map(|event| &event.name[..]).collect();
        assert_eq!(names, [&b"/bin/app"[..], b"/bin/cat", b"/run/healthy", b""]);
    }

    fn of_namespace(pid: i64, event: Event) -> Event {
        Event {
            args: [pid, 0, 0],
            ..event
        }
    }

    /// As runc, which makes it by way of two processes more, and crun, which forks it from outside: 12 is to become
    /// the program.
    fn set_ups() -> [Vec<Event>; 2] {
        let runc = vec![
            of_namespace(11, event(EventKind::FORK, 10, 11, "runc:[0:PARENT]")),
            of_namespace(1, event(EventKind::FORK, 11, 12, "runc:[1:CHILD]")),
            of_namespace(11, event(EventKind::EXIT, 11, 0, "runc:[1:CHILD]")),
            event(EventKind::READ, 12, 2429, ""),
            of_namespace(10, event(EventKind::EXIT, 10, 0, "runc:[0:PARENT]")),
        ];
        let crun = vec![
            of_namespace(1, event(EventKind::FORK, 9, 12, "crun")),
            event(EventKind::READ, 12, 2429, ""),
        ];
        [runc, crun]
    }

    #[test]
    fn what_was_to_become_the_program_is_the_first_process_and_its_failed_exec_stays() {
        for mut events in set_ups() {
            events.push(event(EventKind::EXECVE, 12, -2, "/app/server"));
            events.push(event(EventKind::WRITE, 12, 44, ""));
            events.push(of_namespace(1, event(EventKind::EXIT, 12, 65280, "")));
            assert!(never_started(&events, true) && !never_started(&events, false));
            assert_eq!(remove(&mut events, true), Some(12));
            let of_first: Vec<EventKind> = events
                .iter()
                .filter(|event| event.pid == 12)
                .map(|event| event.kind)
                .collect();
            assert_eq!(of_first, [EventKind::EXECVE, EventKind::EXIT]);
            assert!(events.iter().all(|event| event.data.is_empty()));
        }
    }

    #[test]
    fn a_hook_is_not_the_program() {
        for set_up in set_ups() {
            let mut events = set_up;
            events.extend([
                of_namespace(2, event(EventKind::FORK, 12, 14, "runc:[2:INIT]")),
                of_namespace(2, event(EventKind::EXEC, 14, 14, "/bin/hook")),
                event(EventKind::OPENAT, 14, 3, "/etc/hook.conf"),
                of_namespace(2, event(EventKind::EXIT, 14, 0, "hook")),
                event(EventKind::OPENAT, 12, 3, "/proc/self/fd"),
            ]);
            let mut started = events.clone();
            events.push(event(EventKind::EXECVE, 12, -8, "/app/server"));
            events.push(of_namespace(1, event(EventKind::EXIT, 12, 65280, "")));
            assert_eq!(remove(&mut events, true), Some(12));
            let left: Vec<&[u8]> = events.iter().map(|event| &event.name[..]).collect();
            assert!(left.contains(&&b"/app/server"[..]), "{left:?}");
            assert!(left.contains(&&b"/etc/hook.conf"[..]), "{left:?}");
            assert!(!left.contains(&&b"/proc/self/fd"[..]), "{left:?}");
            started.push(of_namespace(
                1,
                event(EventKind::EXEC, 12, 12, "/app/server"),
            ));
            assert!(!never_started(&started, true));
            assert_eq!(remove(&mut started, true), Some(12));
        }
    }

    #[test]
    fn a_pid_namespace_that_the_program_makes_has_no_first_process_of_the_container() {
        // The container shares the pid namespace of its pod.
        let mut events = life();
        events.push(of_namespace(1, event(EventKind::FORK, 13, 15, "bwrap")));
        events.push(event(EventKind::WRITE, 15, 5, ""));
        events.push(of_namespace(1, event(EventKind::EXIT, 15, 0, "bwrap")));
        assert!(!never_started(&events, true));
        assert_eq!(remove(&mut events, true), None);
        assert!(
            events
                .iter()
                .any(|event| event.pid == 15 && !event.data.is_empty())
        );
    }

    #[test]
    fn in_a_shared_pid_namespace_who_tried_to_execute_is_the_first_process() {
        let mut events: Vec<Event> = life().into_iter().take(8).collect();
        events.push(event(EventKind::EXECVE, 12, -2, "/app/server"));
        events.push(event(EventKind::EXIT, 12, 65280, ""));
        assert_eq!(remove(&mut events, true), Some(12));
    }

    #[test]
    fn a_crun_that_was_there_before_the_recorder_is_none_of_the_containers() {
        let crun = was_so(of_namespace(
            1,
            Event {
                name: b"/usr/bin/crun".as_slice().into(),
                data: b"/usr/bin/crun\0--root\0/run/crun\0create\0id\0"
                    .as_slice()
                    .into(),
                ..event(EventKind::EXEC, 12, 12, "")
            },
        ));
        let mut events = vec![
            crun,
            was_so(event(EventKind::OPENAT, 12, 5, "exec.fifo")),
            event(EventKind::READ, 12, 1, ""),
        ];
        let mut started = events.clone();
        started.push(of_namespace(1, event(EventKind::EXEC, 12, 12, "/bin/app")));
        started.push(event(EventKind::OPENAT, 12, -2, "/etc/app.conf"));
        remove(&mut started, true);
        let names: Vec<&[u8]> = started.iter().map(|event| &event.name[..]).collect();
        assert_eq!(names, [&b"/bin/app"[..], b"/etc/app.conf"]);
        events.push(event(EventKind::EXECVE, 12, -2, "/bin/app"));
        assert_eq!(remove(&mut events, true), Some(12));
        assert_eq!(events.len(), 1);
    }

    #[test]
    fn a_runtime_inside_the_container_is_the_containers() {
        let mut events = life();
        events.push(Event {
            pid: 13,
            ..cloned()
        });
        assert!(left(events, true).contains(&(EventKind::EXEC, 13)));
    }

    #[test]
    fn where_the_start_was_overwritten_nothing_of_the_program_goes() {
        // Its exec is gone, and so are the forks of its children.
        let rest = vec![
            event(EventKind::OPENAT, 12, -2, "/etc/app.conf"),
            event(EventKind::EXIT, 12, 256, ""),
        ];
        assert_eq!(left(rest.clone(), false).len(), 2);
        let mut probed = rest;
        probed.insert(0, event(EventKind::EXEC, 21, 21, "/bin/cat"));
        assert_eq!(left(probed, false).len(), 3);
    }
}
