//! What is recorded of processes, files and signals.

use capture_format::{
    Event, EventFlags, EventKind as K, ExitStatus, FdType, SignalDisposition, SignalOrigin,
};
use libtest_mimic::Failed;

use crate::{
    Case,
    support::{cgroup2, record, record_victim, record_with, victim},
};

pub(crate) const CASES: &[Case] = &[
    ("records_exec_with_path_and_arguments", exec),
    ("records_failed_exec_with_arguments_and_errno", failed_exec),
    ("records_children_and_their_exits", children),
    ("records_processes_not_threads", threads),
    ("records_opens_with_flags_and_errno", opens),
    ("records_copies_of_descriptors", descriptors),
    ("records_failed_calls", failures),
    ("records_signals_from_inside", signal_inside),
    ("records_a_fault_with_its_address", fault),
    ("follows_nested_cgroups", nested),
    ("counts_nothing_as_lost", losses),
    #[cfg(target_arch = "x86_64")]
    ("counts_every_call_in_the_32_bit_abi", compat),
];

/// What no kernel does differently.
pub(crate) const ALIKE: &[Case] = &[
    ("records_reads_of_small_text_files_whole", reads_config),
    ("records_vector_writes_in_order", vector),
    ("looks_again_when_a_descriptor_is_reused", reuse),
    ("keeps_long_last_words_whole", long_words),
    ("keeps_little_of_other_writes", other_writes),
    ("recognises_log_files_by_their_name", log_files),
    ("records_calls_that_limits_refuse", over_limits),
    ("records_locks_that_others_hold", locks),
    ("stores_nothing_that_was_typed_at_a_terminal", terminal),
];

fn exec() -> Result<(), Failed> {
    let recorded = record_victim(&["say", "two words"]);
    let victim = victim();
    let event = recorded.one(K::EXEC, |_| true);
    assert_eq!(event.name, victim.to_str().ok_or("path")?.as_bytes());
    assert_eq!(
        event.data,
        [
            victim.to_str().ok_or("path")?.as_bytes(),
            b"\0say\0two words\0"
        ]
        .concat()
    );
    assert_eq!(event.pid, recorded.run().init_pid);
    assert_eq!(event.args[1] as u64, recorded.run().cgroup.0);
    let stdio = recorded.one(K::STDIO, |_| true);
    assert_eq!(stdio.data.len(), 48);
    let exit = recorded.one(K::EXIT, |_| true);
    assert_eq!((exit.ret, &exit.name[..]), (0, &b"victim"[..]));
    assert_eq!(recorded.run().status, Some(ExitStatus::Code(0)));
    Ok(())
}

fn failed_exec() -> Result<(), Failed> {
    let recorded = record_victim(&["exec", "/no/such/program"]);
    let event = recorded.one(K::EXECVE, |_| true);
    assert_eq!((&event.name[..], event.ret), (&b"/no/such/program"[..], -2));
    assert_eq!(event.data, &b"/no/such/program\0first\0second\0"[..]);
    Ok(())
}

fn children() -> Result<(), Failed> {
    let recorded = record_victim(&["children"]);
    let init = recorded.run().init_pid;
    let forks = recorded.of(K::FORK);
    assert_eq!(forks.len(), 2, "{forks:#?}");
    for (fork, code) in forks.iter().zip([3, 4]) {
        assert_eq!(fork.pid, init);
        let exit = recorded.one(K::EXIT, |event| i64::from(event.pid) == fork.ret);
        assert_eq!(
            ExitStatus::from_wait(exit.ret as i32),
            ExitStatus::Code(code)
        );
    }
    assert_eq!(recorded.of(K::EXEC).len(), 3);
    Ok(())
}

fn threads() -> Result<(), Failed> {
    let recorded = record_victim(&["threads"]);
    assert_eq!(recorded.of(K::FORK).len(), 0);
    assert_eq!(recorded.of(K::EXIT).len(), 1);
    Ok(())
}

fn opens() -> Result<(), Failed> {
    let recorded = record_victim(&["open", "/etc/does/not/exist.conf"]);
    let event = recorded.one(K::OPENAT, |event| event.name == "/etc/does/not/exist.conf");
    assert_eq!((event.ret, event.args), (-2, [-100, 0o2000000, 0]));
    let words: Vec<u8> = recorded
        .of(K::WRITE)
        .iter()
        .filter(|event| event.args[0] == 2)
        .flat_map(|event| event.data.to_vec())
        .collect();
    assert!(
        String::from_utf8_lossy(&words).contains("/etc/does/not/exist.conf: No such file"),
        "{words:?}"
    );
    Ok(())
}

fn reads_config() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("resolv.conf");
    let content = "search default.svc.cluster.local\n".repeat(40);
    std::fs::write(&path, &content)?;
    let recorded = record_victim(&["read", path.to_str().ok_or("path")?]);
    let event = recorded.one(K::READ, |event| {
        event.name == "resolv.conf" && event.ret > 0
    });
    assert_eq!(event.data, content.as_bytes());
    assert_eq!(event.fd_type, FdType::REGULAR);
    Ok(())
}

fn vector() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let recorded = record_victim(&[
        "vector",
        folder.path().join("out.log").to_str().ok_or("path")?,
    ]);
    let event = recorded.one(K::WRITEV, |_| true);
    assert_eq!(
        event.data,
        &b"*** stack smashing detected ***: terminated\n"[..]
    );
    assert_eq!(
        recorded.one(K::PWRITE64, |_| true).data,
        &b"at an offset"[..]
    );
    Ok(())
}

/// Whether dup2(3) and rename(3) of the C library use the calls of the same names. Newer architectures only have dup3
/// and renameat.
const HAS_OLD_CALLS: bool = cfg!(target_arch = "x86_64");

fn descriptors() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("file");
    let recorded = record_victim(&["descriptors", path.to_str().ok_or("path")?]);
    let opened = recorded
        .one(K::OPENAT, |event| {
            event.name == path.to_str().unwrap_or_default()
        })
        .ret;
    assert_eq!(recorded.one(K::DUP, |_| true).args[0], opened);
    let dup2 = if HAS_OLD_CALLS { K::DUP2 } else { K::DUP3 };
    let dup2 = recorded.one(dup2, |event| event.ret == 40);
    assert_eq!(dup2.args[0], opened);
    let dup3 = recorded.one(K::DUP3, |event| event.ret == 41);
    assert_eq!((dup3.args[0], dup3.args[2]), (opened, 0o2000000));
    assert_eq!(
        recorded.one(K::FCNTL, |event| event.ret == 42).args[0],
        opened
    );
    let pipe = recorded.one(K::PIPE2, |_| true);
    assert!(
        pipe.args[0] > 2 && pipe.args[1] == pipe.args[0] + 1,
        "{pipe:?}"
    );
    assert_eq!(recorded.one(K::CLOSE_RANGE, |_| true).args, [40, 42, 0]);
    assert_eq!(recorded.one(K::CHDIR, |_| true).name, "/");
    assert_eq!(
        recorded.one(K::WRITE, |event| event.args[0] == 41).data,
        "by a copy"
    );
    Ok(())
}

fn reuse() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.log");
    let recorded = record_victim(&["reuse", path.to_str().ok_or("path")?]);
    let written: Vec<_> = recorded
        .of(K::WRITE)
        .into_iter()
        .filter(|event| event.args[0] == 50)
        .map(|event| (event.fd_type, &event.data[..]))
        .collect();
    let expected: [(FdType, &[u8]); 7] = [
        (FdType::FIFO, b"into a pipe"),
        (FdType::FIFO, b"into a pipe again"),
        (FdType::SOCKET, b""),
        (FdType::SOCKET, b""),
        (FdType::REGULAR, b"into a log"),
        (FdType::SOCKET, b""),
        (FdType::SOCKET, b"a question"),
    ];
    assert_eq!(written, expected);
    Ok(())
}

fn failures() -> Result<(), Failed> {
    const ENOENT: i64 = -2;
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().ok_or("path")?;
    let missing = format!("{path}/missing");
    let recorded = record_victim(&["failures", path]);
    let failed = |kind: K, legacy: K| {
        let found: Vec<_> = recorded
            .events()
            .iter()
            .filter(|event| event.kind == kind || event.kind == legacy)
            .filter(|event| event.name.starts_with(path.as_bytes()))
            .collect();
        assert!(!found.is_empty(), "no {:?}", kind.name());
        (found[0].name.clone(), found[0].ret)
    };
    assert_eq!(failed(K::MKDIR, K::MKDIRAT), (path.to_owned().into(), -17));
    assert_eq!(
        failed(K::UNLINK, K::UNLINKAT),
        (missing.clone().into(), ENOENT)
    );
    assert_eq!(
        failed(K::RENAME, K::RENAMEAT),
        (missing.clone().into(), ENOENT)
    );
    assert_eq!(
        failed(K::STATX, K::NEWFSTATAT),
        (missing.clone().into(), ENOENT)
    );
    assert_eq!(failed(K::READLINK, K::READLINKAT), (missing.into(), ENOENT));
    let rename = if HAS_OLD_CALLS {
        K::RENAME
    } else {
        K::RENAMEAT
    };
    assert_eq!(recorded.one(rename, |_| true).data, format!("{path}/other"));
    let write = recorded.one(K::WRITE, |event| event.ret == -9);
    assert_eq!(write.data, "to a directory");
    assert_eq!(
        recorded.one(K::READ, |event| event.ret == -21).data.len(),
        0
    );
    let mapping = recorded.one(K::MMAP, |_| true);
    assert_eq!((mapping.ret, mapping.args[1]), (-12, 1 << 46));
    assert_eq!(recorded.one(K::KILL, |_| true).args, [1 << 22, 15, 0]);
    Ok(())
}

fn signal_inside() -> Result<(), Failed> {
    let recorded = record_victim(&["signal", "15"]);
    let sent = recorded.one(K::SIGNAL_GENERATE, |event| event.ret == 15);
    assert_eq!(sent.args[1], i64::from(sent.pid));
    assert_eq!(
        SignalOrigin::from_code(sent.args[2]),
        Some(SignalOrigin::Inside)
    );
    assert_eq!(sent.name, "victim");
    // On current kernels, a signal that ends the whole process is delivered as SIGKILL.
    let taken = recorded.one(K::SIGNAL_DELIVER, |_| true);
    assert_eq!(
        SignalDisposition::from_code(taken.args[2]),
        Some(SignalDisposition::Default)
    );
    assert_eq!(
        recorded.run().status,
        Some(ExitStatus::Signal {
            signal: 15,
            core: false
        })
    );
    assert_eq!(recorded.output.status.code(), Some(128 + 15));
    Ok(())
}

fn fault() -> Result<(), Failed> {
    let recorded = record_victim(&["segv"]);
    // The first fault goes to the handler that Rust's runtime installs. It lets the fault happen again without a
    // handler.
    let sent = recorded.of(K::SIGNAL_GENERATE)[0];
    assert_eq!(sent.ret, 11);
    assert_eq!(
        SignalOrigin::from_code(sent.args[2]),
        Some(SignalOrigin::Kernel)
    );
    assert_eq!(sent.data, &0x30u64.to_le_bytes()[..]);
    assert!(matches!(
        recorded.run().status,
        Some(ExitStatus::Signal { signal: 11, .. })
    ));
    Ok(())
}

fn long_words() -> Result<(), Failed> {
    let words = "Traceback (most recent call last):\n".repeat(100);
    let recorded = record_victim(&["say", &words]);
    let said = recorded.one(K::WRITE, |event| event.args[0] == 2 && event.ret > 1000);
    assert_eq!(said.data, words.as_bytes());
    assert!(!said.flags.contains(EventFlags::TRUNCATED));
    let longer = "x".repeat(5000);
    let recorded = record_victim(&["say", &longer]);
    let said = recorded.one(K::WRITE, |event| event.args[0] == 2 && event.ret > 1000);
    assert_eq!((said.data.len(), said.ret), (4096, 5000));
    assert!(said.flags.contains(EventFlags::TRUNCATED));
    Ok(())
}

fn other_writes() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("data.bin");
    let (path, content) = (path.to_str().ok_or("path")?, "y".repeat(1000));
    let recorded = record_victim(&["write", path, &content]);
    let event = recorded.one(K::WRITE, |event| event.ret == 1000);
    assert_eq!(event.data.len(), 256);
    assert!(event.flags.contains(EventFlags::TRUNCATED));
    let victim = victim();
    let recorded = record_with(
        &["--other-payload", "0"],
        &[victim.to_str().ok_or("path")?, "write", path, &content],
    );
    assert_eq!(
        recorded.one(K::WRITE, |event| event.ret == 1000).data.len(),
        0
    );
    Ok(())
}

fn log_files() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("error.log");
    let content = "e".repeat(1000);
    let recorded = record_victim(&["write", path.to_str().ok_or("path")?, &content]);
    let event = recorded.one(K::WRITE, |event| event.ret == 1000);
    assert_eq!(
        (event.data.len(), &event.name[..]),
        (1000, &b"error.log"[..])
    );
    Ok(())
}

fn nested() -> Result<(), Failed> {
    let recorded = record_victim(&["nested", cgroup2().to_str().ok_or("path")?]);
    assert_eq!(
        recorded
            .one(K::OPENAT, |event| event.name == "/from-inside")
            .ret,
        -2
    );
    Ok(())
}

fn losses() -> Result<(), Failed> {
    let recorded = record(&["/bin/sh", "-c", "exit 7"]);
    let losses = recorded.run().losses;
    assert_eq!(
        (losses.lost, losses.overwritten, losses.torn, losses.compat),
        (0, 0, 0, 0),
        "{losses:?}"
    );
    assert_eq!(recorded.output.status.code(), Some(7));
    Ok(())
}

/// EAGAIN of these calls does not mean that they should be repeated at once: a limit is reached.
fn over_limits() -> Result<(), Failed> {
    const EAGAIN: i64 = -11;
    let recorded = record_victim(&["over-limits"]);
    assert_eq!(recorded.run().status, Some(ExitStatus::Code(0)));
    for kind in [K::CLONE, K::CLONE3, K::EXECVEAT, K::MMAP] {
        recorded.one(kind, |event| event.ret == EAGAIN);
    }
    let refused = recorded.one(K::EXECVE, |event| event.ret == EAGAIN);
    assert_eq!(
        (&refused.name[..], &refused.data[..]),
        (&b"/bin/true"[..], &b"true\0"[..])
    );
    Ok(())
}

fn locks() -> Result<(), Failed> {
    const EAGAIN: i64 = -11;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("data.lock");
    let recorded = record_victim(&["locks", path.to_str().ok_or("path")?]);
    assert_eq!(recorded.run().status, Some(ExitStatus::Code(0)));
    let flock = recorded.one(K::FLOCK, |_| true);
    let operation = i64::from(libc::LOCK_EX | libc::LOCK_NB);
    assert_eq!((flock.ret, flock.args[1]), (EAGAIN, operation));
    for command in [libc::F_SETLK, libc::F_OFD_SETLK] {
        let refused = recorded.one(K::FCNTL, |event| event.args[1] == i64::from(command));
        assert_eq!((refused.ret, refused.args[0]), (EAGAIN, flock.args[0]));
    }
    Ok(())
}

#[cfg(target_arch = "x86_64")]
fn compat() -> Result<(), Failed> {
    let recorded = record_victim(&["compat", "10"]);
    assert_eq!(recorded.run().status, Some(ExitStatus::Code(0)));
    assert_eq!(recorded.run().losses.compat, 10);
    Ok(())
}

fn terminal() -> Result<(), Failed> {
    const TYPED: &str = "typed-s3cret";
    let recorded = record_victim(&["terminal", TYPED]);
    assert_eq!(recorded.run().status, Some(ExitStatus::Code(0)));
    let is_typed = |event: &&Event| {
        let holds = |window: &[u8]| window == &TYPED.as_bytes()[..4];
        event.kind != K::EXEC && event.data.windows(4).any(holds)
    };
    let stored: Vec<_> = recorded.events().iter().filter(is_typed).collect();
    assert!(stored.is_empty(), "{stored:#?}");
    // The events say that something was typed, and how much.
    let length = TYPED.len() as i64 + 1;
    for kind in [K::READ, K::READV] {
        let all = recorded.of(kind);
        let lines = all.iter().filter(|event| event.ret == length);
        assert!(
            lines
                .clone()
                .all(|event| event.fd_type == FdType::CHARACTER)
        );
        assert_eq!(lines.count(), 2, "{all:#?}");
    }
    recorded.one(K::WRITE, |event| event.data == "Password: ");
    Ok(())
}
