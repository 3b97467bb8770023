//! What a thread was doing when a signal ended it, or asked its process to end.

use capture_format::{Event, EventKind as K, FdType};
use events::{
    decode::{
        Interrupted, Signal,
        interrupted::{Doing, Socket},
    },
    fds::Fds,
};
use libtest_mimic::Failed;

use crate::{
    Case,
    support::{Recorded, record_victim},
};

pub(crate) const CASES: &[Case] = &[
    ("tells_whom_a_killed_process_was_waiting_for", peers),
    ("tells_which_lock_a_killed_process_was_waiting_for", locks),
    ("tells_other_calls_that_a_killed_process_was_in", others),
    ("tells_that_a_killed_process_was_running", running),
    ("tells_what_every_thread_of_a_killed_process_did", threads),
    ("tells_what_a_process_did_before_its_handler_ran", handler),
    ("tells_what_other_threads_did_when_one_exits", exits),
];

/// What no kernel does differently.
pub(crate) const ALIKE: &[Case] = &[(
    "looks_once_a_second_at_a_process_that_survives_signals",
    survives,
)];

/// How long a process hangs before it is killed, in milliseconds.
const HANGS: u64 = 200;

/// The events of a process that was killed by `signal` while it hung.
fn hang(signal: i32, words: &[&str]) -> (Recorded, Vec<(Event, Interrupted, String)>) {
    let (number, waits) = (signal.to_string(), HANGS.to_string());
    let mut all = vec!["kill-hanging", &number, &waits, "hang"];
    all.extend(words);
    let recorded = record_victim(&all);
    let mut fds = Fds::default();
    let found = recorded
        .events()
        .iter()
        .filter_map(|event| {
            let fd = fds.observe(event).map(|fd| fd.to_string());
            let interrupted = Interrupted::of(event)?;
            Some((event.clone(), interrupted, fd.unwrap_or_default()))
        })
        .collect();
    (recorded, found)
}

/// The only thread of a process that hung in `words`, and was killed.
fn one(signal: i32, words: &[&str]) -> Result<(Recorded, Event, Interrupted, String), Failed> {
    let (recorded, mut found) = hang(signal, words);
    let (event, interrupted, fd) = found.pop().ok_or("nothing was recorded")?;
    assert_eq!(found, [], "{words:?}");
    assert_eq!(event.pid, event.tid.0);
    assert_eq!(interrupted.signal, Some(Signal(signal as u8)));
    assert_eq!(interrupted.threads, 1);
    let sent = recorded.one(K::SIGNAL_GENERATE, |event| event.ret == i64::from(signal));
    assert_eq!(sent.pid, event.pid);
    Ok((recorded, event, interrupted, fd))
}

/// Checks for how long a thread had waited: as long as it was left alone, and no longer than the run took.
fn has_waited(event: &Event, interrupted: &Interrupted, recorded: &Recorded) {
    let waited = interrupted.waited.unwrap_or_default();
    let since_start = event.time.since(recorded.run().start);
    assert!(
        (HANGS * 1_000_000..since_start).contains(&waited),
        "{event:?}: {interrupted:?}"
    );
}

fn peers() -> Result<(), Failed> {
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        let (recorded, event, interrupted, fd) = one(signal, &["recv"])?;
        assert_eq!(interrupted.call, Doing::Call(libc::SYS_recvfrom));
        has_waited(&event, &interrupted, &recorded);
        let Some(Socket::Peer(peer)) = interrupted.socket else {
            return Err(format!("{interrupted:?}").into());
        };
        assert!(peer.to_string().starts_with("127.0.0.1:"), "{peer}");
        assert_eq!(fd, format!("AF_INET to {peer}"));
    }
    let (_, event, interrupted, fd) = one(libc::SIGKILL, &["connect"])?;
    assert_eq!(interrupted.call, Doing::Call(libc::SYS_connect));
    assert!(fd.starts_with("AF_INET to 127.0.0.1:"), "{fd} {event:?}");
    let (_, _, interrupted, fd) = one(libc::SIGKILL, &["accept"])?;
    assert!(
        matches!(interrupted.socket, Some(Socket::Own(_))),
        "{interrupted:?}"
    );
    assert!(fd.starts_with("AF_INET at 127.0.0.1:"), "{fd}");
    Ok(())
}

fn locks() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (what, call) in [("flock", libc::SYS_flock), ("fcntl", libc::SYS_fcntl)] {
        let path = folder.path().join(what);
        let path = path.to_str().ok_or("path")?;
        let (recorded, event, interrupted, fd) = one(libc::SIGKILL, &[what, path])?;
        assert_eq!(interrupted.call, Doing::Call(call));
        assert_eq!((event.fd_type, fd.as_str()), (FdType::REGULAR, path));
        assert_eq!(&event.name[..], what.as_bytes());
        has_waited(&event, &interrupted, &recorded);
    }
    Ok(())
}

fn others() -> Result<(), Failed> {
    #[cfg(target_arch = "x86_64")]
    const EPOLL: i64 = libc::SYS_epoll_wait;
    #[cfg(not(target_arch = "x86_64"))]
    const EPOLL: i64 = libc::SYS_epoll_pwait;
    for (what, call, fd_type) in [
        ("futex", libc::SYS_futex, FdType::UNKNOWN),
        ("epoll", EPOLL, FdType::UNKNOWN),
        ("pipe", libc::SYS_read, FdType::FIFO),
        ("sleep", libc::SYS_clock_nanosleep, FdType::UNKNOWN),
    ] {
        let (recorded, event, interrupted, _) = one(libc::SIGKILL, &[what])?;
        assert_eq!(interrupted.call, Doing::Call(call), "{what}");
        assert_eq!(event.fd_type, fd_type, "{what}");
        let acts = matches!(what, "epoll" | "pipe");
        assert_eq!(interrupted.descriptor.is_some(), acts, "{what}");
        has_waited(&event, &interrupted, &recorded);
    }
    Ok(())
}

fn running() -> Result<(), Failed> {
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        let (_, _, interrupted, _) = one(signal, &["loop"])?;
        assert_eq!(
            (interrupted.call, interrupted.waited),
            (Doing::Running, None)
        );
        assert_eq!(interrupted.args, [0; 6]);
    }
    Ok(())
}

fn threads() -> Result<(), Failed> {
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        let (_, found) = hang(signal, &["threads"]);
        let mut calls: Vec<Doing> = found.iter().map(|(_, it, _)| it.call).collect();
        calls.sort_by_key(|call| match call {
            Doing::Call(number) => *number,
            _ => -1,
        });
        let mut expected = [
            libc::SYS_recvfrom,
            libc::SYS_clock_nanosleep,
            libc::SYS_futex,
        ];
        expected.sort_unstable();
        let expected = expected.map(Doing::Call);
        assert_eq!(calls, [&[Doing::Running][..], &expected].concat());
        for (event, interrupted, _) in &found {
            assert_eq!(interrupted.threads, 4, "{event:?}");
        }
        let (first, interrupted, _) = &found[0];
        assert_eq!(first.pid, first.tid.0);
        assert_eq!(interrupted.call, Doing::Call(libc::SYS_futex));
    }
    Ok(())
}

fn handler() -> Result<(), Failed> {
    let (recorded, found) = hang(libc::SIGTERM, &["handler"]);
    let [(event, interrupted, _)] = &found[..] else {
        return Err(format!("{found:#?}").into());
    };
    assert_eq!(interrupted.call, Doing::Call(libc::SYS_recvfrom));
    has_waited(event, interrupted, &recorded);
    // The handler's own calls come later.
    let opened = recorded.one(K::OPENAT, |event| event.name == "/from/the/handler");
    assert!(opened.time > event.time);
    Ok(())
}

/// What another thread was doing when one called exit(2), which is in no call that a signal interrupted.
fn exits() -> Result<(), Failed> {
    let recorded = record_victim(&["hang", "exit"]);
    let found: Vec<Interrupted> = recorded
        .events()
        .iter()
        .filter_map(Interrupted::of)
        .collect();
    let [interrupted] = &found[..] else {
        return Err(format!("{found:#?}").into());
    };
    assert_eq!(interrupted.call, Doing::Call(libc::SYS_recvfrom));
    assert_eq!((interrupted.signal, interrupted.waited), (None, None));
    assert!(matches!(interrupted.socket, Some(Socket::Peer(_))));
    Ok(())
}

fn survives() -> Result<(), Failed> {
    let script = "(trap : HUP; while :; do sleep 1; done) & p=$!; sleep 0.3; \
                  for i in 1 2 3 4 5 6 7 8; do kill -HUP $p; done; kill -KILL $p; wait";
    let recorded = crate::support::record(&["sh", "-c", script]);
    let killed = recorded.one(K::SIGNAL_GENERATE, |event| {
        event.ret == i64::from(libc::SIGKILL) && event.args[2] == 0
    });
    let by = |signal: i32| {
        let fits = |event: &&Event| event.pid == killed.pid && event.args[2] == i64::from(signal);
        recorded
            .events()
            .iter()
            .filter(|event| event.kind == K::INTERRUPTED)
            .filter(fits)
            .count()
    };
    assert_eq!((by(libc::SIGHUP), by(libc::SIGKILL)), (1, 1));
    Ok(())
}
