//! What the container runtime does inside the container's cgroup before the container's program runs there.
//!
//! runc and crun enter the cgroup first, and execute the program (or that of an exec probe) last. In between they read its
//! configuration, environment and all, from a socket, and look into files of the node. That is not the container's
//! life, and holds what must not be kept.

use std::collections::HashSet;

use capture_format::{Event, EventFlags, EventKind};

/// Takes the runtime's steps out. What stays of them: where the program's working directory was set, and, if it was never
/// executed, the calls that failed, without payloads.
///
/// `complete` says that no event of this run was overwritten: only then is a process that never executed anything and
/// was forked by nobody one of the runtime's.
pub(super) fn remove(events: &mut Vec<Event>, complete: bool) {
    let Adopted {
        inside: adopted,
        mut runtime,
    } = Adopted::of(events);
    let executed = executed(events, &adopted);
    let nothing_ran = executed.is_empty() && adopted.is_empty();
    if nothing_ran && !complete && runtime.is_empty() {
        return;
    }
    let never_started = nothing_ran && complete;
    let mut inside = adopted;
    let mut directories: Vec<(u32, usize)> = Vec::new();
    let mut keep = vec![false; events.len()];
    for (index, event) in events.iter().enumerate() {
        let is_inside = inside.contains(&event.pid);
        let is_runtime = runtime.contains(&event.pid);
        keep[index] = match event.kind {
            EventKind::EXEC if !is_inside && is_of_runtime(event) => false,
            EventKind::EXEC => {
                inside.insert(event.pid);
                runtime.remove(&event.pid);
                // The last directory that was set before the first exec is the program's.
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
                // Who forked a process tells a probe's from the container's own.
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
            _ if never_started => event.ret < 0,
            _ => !complete && !is_runtime && !executed.contains(&event.pid),
        };
    }
    let mut kept = keep.iter();
    events.retain(|_| kept.next().copied().unwrap_or(true));
    if never_started {
        for event in events.iter_mut() {
            event.data = Default::default();
        }
    }
}

/// Whether the container's program was never executed. `complete` as in [`remove`].
pub(super) fn never_started(events: &[Event], complete: bool) -> bool {
    let adopted = Adopted::of(events).inside;
    complete && adopted.is_empty() && executed(events, &adopted).is_empty()
}

/// The processes that were there when the recorder came.
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

/// Processes that executed something of the container's, not of the runtime's.
fn executed(events: &[Event], adopted: &HashSet<u32>) -> HashSet<u32> {
    let mut inside = adopted.clone();
    let mut executed = HashSet::new();
    for event in events {
        match event.kind {
            EventKind::EXEC if inside.contains(&event.pid) || !is_of_runtime(event) => {
                inside.insert(event.pid);
                executed.insert(event.pid);
            }
            EventKind::FORK if inside.contains(&event.pid) => {
                inside.insert(event.ret as u32);
            }
            _ => {}
        }
    }
    executed
}

/// Whether runc executes itself anew: from a copy of its program that it has made, so that a container cannot overwrite the node's
/// (libcontainer/nsenter/cloned_binary.c). By then it may have been moved into the container's cgroup. Or it was doing so when the recorder came:
/// what /proc calls the copy depends on how it was made.
fn is_of_runtime(exec: &Event) -> bool {
    let copies: [&[u8]; 3] = [b"/dev/fd/", b"/proc/self/fd/", b"/proc/self/exe"];
    let is_copy = copies.iter().any(|copy| exec.name.starts_with(copy));
    (is_copy || exec.flags.contains(EventFlags::ADOPTED)) && exec.data.starts_with(b"runc\0init\0")
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
