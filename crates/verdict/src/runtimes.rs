//! Container runtimes, as they appear inside a container's cgroup.
//!
//! A low-level runtime enters the cgroup before the container's program does: its own process sets the container up,
//! and then executes the program, or the program of a probe. Seen with runc 1.1.5, 1.1.15, 1.3.6 and 1.4.3, crun 1.21
//! and 1.28.

/// A low-level runtime.
struct Runtime {
    /// The name of its program. The command names of its processes begin with this name until they execute something
    /// else (`runc:[2:INIT]`).
    name: &'static str,
    /// Arguments. The process that sets up a container, or something to be executed in it, has one of them. runc
    /// executes itself anew for that (`runc init`); crun and youki go on in a fork of the process that was called.
    set_up: &'static [&'static str],
}

const RUNTIMES: [Runtime; 3] = [
    Runtime {
        name: "runc",
        set_up: &["init"],
    },
    Runtime {
        name: "crun",
        set_up: &["create", "run", "restore", "exec"],
    },
    Runtime {
        name: "youki",
        set_up: &["create", "run", "exec"],
    },
];

/// Command names of other programs that send signals to a container, besides those of [`RUNTIMES`]: containerd and its
/// shim, CRI-O, conmon, Docker.
const MANAGERS: [&str; 4] = ["containerd", "crio", "conmon", "dockerd"];

/// Whether a command name belongs to a process of a low-level runtime.
#[must_use]
pub fn is_runtime(comm: &[u8]) -> bool {
    let names = RUNTIMES.iter().map(|runtime| runtime.name);
    starts_with_any(comm, names)
}

/// Whether a command name belongs to something that ends containers: a low-level runtime, or a program that calls it.
#[must_use]
pub(crate) fn ends_containers(comm: &[u8]) -> bool {
    is_runtime(comm) || starts_with_any(comm, MANAGERS)
}

/// Whether arguments, each ended by NUL, belong to a process of a low-level runtime that sets something up.
#[must_use]
pub fn sets_up(arguments: &[u8]) -> bool {
    let mut arguments = arguments.split(|byte| *byte == 0);
    let program = arguments.next().unwrap_or_default();
    let program = events::basename(program);
    let mut runtimes = RUNTIMES.iter();
    let Some(runtime) = runtimes.find(|runtime| runtime.name.as_bytes() == program) else {
        return false;
    };
    arguments.any(|argument| {
        runtime
            .set_up
            .iter()
            .any(|word| word.as_bytes() == argument)
    })
}

fn starts_with_any<'a>(comm: &[u8], names: impl IntoIterator<Item = &'a str>) -> bool {
    names
        .into_iter()
        .any(|name| comm.starts_with(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sets_a_container_up_is_known_by_its_arguments() {
        for arguments in [
            &b"runc\0init\0"[..],
            b"/usr/local/sbin/runc\0init\0",
            b"crun\0--root\0/run/crun\0create\0--bundle\0/b\0id\0",
            b"/usr/bin/crun\0--root=/run/crun\0exec\0--process\0/p\0id\0",
        ] {
            assert!(sets_up(arguments), "{}", String::from_utf8_lossy(arguments));
        }
        for arguments in [
            &b""[..],
            b"runc\0",
            b"runc\0--version\0",
            b"crun\0list\0",
            b"runcible\0init\0",
            b"sh\0runc\0init\0",
        ] {
            assert!(
                !sets_up(arguments),
                "{}",
                String::from_utf8_lossy(arguments)
            );
        }
    }

    #[test]
    fn command_names() {
        assert!(is_runtime(b"runc:[2:INIT]") && is_runtime(b"crun") && !is_runtime(b"containerd"));
        assert!(ends_containers(b"containerd-shim") && ends_containers(b"runc"));
        assert!(!ends_containers(b"bash"));
    }
}
