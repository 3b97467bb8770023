//! `lastword explain` on recordings of crashes that really happen.

use std::{
    num::NonZero,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use capture_format::{EventKind, SignalOrigin};
use libtest_mimic::Failed;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    Case,
    support::{
        Recorded, dns_server, inside, record, record_inside, record_inside_after, record_victim,
        victim,
    },
};

pub(crate) const CASES: &[Case] = &[
    ("explains_a_timer_under_load", timer_under_load),
    ("explains_segmentation_fault", || {
        expect(&record_victim(&["segv"]), "segmentation_fault", "SIGSEGV")
    }),
    ("explains_kill_from_outside", || {
        outside(Signal::SIGKILL, "killed_from_outside")
    }),
    ("explains_the_oom_killer_with_the_limit", out_of_memory),
    ("explains_the_oom_kill_of_a_child", || {
        let limited = MemoryCgroup::make("100663296")?;
        let recorded = record_inside(&limited.0, &["memory-child"]);
        expect(&recorded, "oom_killed", "96 MiB")?;
        expect(&recorded, "oom_killed", "victim exited 3")
    }),
    ("explains_which_cgroup_ran_out", || cgroup_above(false)),
    (
        "explains_which_cgroup_ran_out_although_others_give_memory_back",
        || cgroup_above(true),
    ),
    ("explains_a_limit_that_was_lowered", limit_lowered),
];

/// What no kernel does differently.
pub(crate) const ALIKE: &[Case] = &[
    ("explains_own_signal", || {
        expect(
            &record_victim(&["signal", "15"]),
            "killed_itself",
            "SIGTERM",
        )
    }),
    ("explains_abort", || {
        expect(&record_victim(&["abort"]), "aborted", "SIGABRT")
    }),
    ("explains_abort_of_a_first_process", || {
        expect(
            &record_victim(&["first", "abort"]),
            "aborted",
            "it called abort()",
        )
    }),
    ("explains_abort_of_a_first_process_with_musl", || {
        let recorded = record_victim(&["first", "abort-as-musl"]);
        expect(&recorded, "aborted", "it called abort()")?;
        expect(&recorded, "aborted", "Assertion failed: size > 0")
    }),
    ("explains_an_alarm", || {
        expect(&record_victim(&["alarm"]), "timer_expired", "SIGALRM")
    }),
    ("explains_stop_from_outside", || {
        outside(Signal::SIGTERM, "stopped_from_outside")
    }),
    ("explains_nxdomain", || {
        dns("127.0.2.1:53", Some(3), "NXDOMAIN")
    }),
    ("explains_servfail", || {
        dns("127.0.2.2:53", Some(2), "SERVFAIL")
    }),
    ("explains_dns_silence", || {
        dns("127.0.2.3:53", None, "no DNS answer")
    }),
    ("explains_connection_refused", || {
        expect(
            &record_victim(&["connect", "127.0.0.1:9"]),
            "connection_refused",
            "127.0.0.1:9",
        )
    }),
    ("explains_refused_later", || {
        expect(
            &record_victim(&["connect-nonblocking", "127.0.0.1:9"]),
            "connection_refused",
            "127.0.0.1:9",
        )
    }),
    ("explains_missing_file", || {
        expect(
            &record_victim(&["open", "/etc/app/config.yaml"]),
            "missing_file",
            "/etc/app/config.yaml",
        )
    }),
    ("explains_missing_command", || {
        expect(
            &record(&["/no/such/command"]),
            "command_not_found",
            "/no/such/command",
        )
    }),
    ("explains_command_not_executable", not_executable),
    ("explains_exit_with_last_words", || {
        expect(
            &record(&["/bin/sh", "-c", "echo 'fatal: bad licence key' >&2; exit 4"]),
            "exited_non_zero",
            "bad licence key",
        )
    }),
    ("explains_missing_variable", || {
        expect(
            &record(&["/bin/sh", "-c", ": ${DATABASE_URL:?must be set}"]),
            "missing_variable",
            "DATABASE_URL",
        )
    }),
    ("explains_full_disk", || {
        expect(
            &record(&["/bin/sh", "-ec", "echo state > /dev/full; sleep 60"]),
            "disk_full",
            "/dev/full",
        )
    }),
    ("explains_exit_0", || {
        expect(&record_victim(&["exit", "0"]), "exited_zero", "0")
    }),
];

fn expect(recorded: &Recorded, cause: &str, says: &str) -> Result<(), Failed> {
    let (found, sentence) = recorded.verdict();
    if found != cause || !sentence.contains(says) {
        return Err(format!("expected {cause} with {says:?}, got {found}: {sentence}").into());
    }
    Ok(())
}

fn not_executable() -> Result<(), Failed> {
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_str().ok_or("path")?;
    expect(&record(&[path]), "not_executable", path)
}

fn dns(server: &str, code: Option<u8>, says: &str) -> Result<(), Failed> {
    dns_server(server, code);
    let recorded = record_victim(&["dns", "send", server]);
    let (cause, sentence) = recorded.verdict();
    if !cause.starts_with("dns") || !sentence.contains(says) || !sentence.contains("flask") {
        return Err(format!("expected {says}, got {cause}: {sentence}").into());
    }
    Ok(())
}

/// A process outside the container sends a signal. The arguments say which process is the container's.
fn outside(signal: Signal, cause: &str) -> Result<(), Failed> {
    let time = format!("{}{:04}", 20 + signal as i32, std::process::id() % 10_000);
    let target = time.clone();
    let killer = std::thread::spawn(move || {
        for _ in 0..600 {
            std::thread::sleep(std::time::Duration::from_millis(100));
            if let Some(pid) = find_victim(&target) {
                return kill(Pid::from_raw(pid), signal);
            }
        }
        Err(nix::Error::ESRCH)
    });
    let recorded = record_victim(&["sleep", &time]);
    killer.join().map_err(|_| "the killer panicked")??;
    expect(&recorded, cause, signal.as_str())
}

/// The process with the arguments `victim sleep TIME`, once it runs the victim's program.
fn find_victim(time: &str) -> Option<i32> {
    let ending = format!("\0sleep\0{time}\0");
    std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .find_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let arguments = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
            let first = arguments.split('\0').next()?;
            (first.ends_with("victim") && arguments.ends_with(&ending)).then_some(pid)
        })
}

/// lastword runs in a cgroup with a memory limit, and so does its command.
fn out_of_memory() -> Result<(), Failed> {
    const LIMIT: &str = "100663296";
    let limited = MemoryCgroup::make(LIMIT)?;
    let recorded = record_inside(&limited.0, &["memory"]);
    drop(limited);
    expect(&recorded, "oom_killed", "96 MiB")
}

/// A POSIX timer expires while programs outside the container use every CPU.
fn timer_under_load() -> Result<(), Failed> {
    let stop = AtomicBool::new(false);
    let recorded = std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let recorded = record_victim(&["timer", "15"]);
        stop.store(true, Relaxed);
        recorded
    });
    expect(&recorded, "timer_expired", "timer_create")?;
    let sent = recorded.one(EventKind::SIGNAL_GENERATE, |event| event.args[0] == -2);
    if (sent.args[1], sent.args[2]) != (0, SignalOrigin::Kernel as i64)
        || !(sent.name.is_empty() || *sent.name == *b"victim")
    {
        return Err(format!("somebody is blamed: {sent:?}").into());
    }
    Ok(())
}

/// Keeps the OOM killer away from a shell and what it executes, if that is permitted (CAP_SYS_RESOURCE). Until the memory
/// of its first victim is given back, the kernel would choose lastword too.
const SPARED: &str = "echo -1000 2>/dev/null >/proc/self/oom_score_adj";

/// The limit of the cgroup above is reached, and not that of the command's own cgroup. Beside it another process may
/// give memory back between the failed allocation and the choice of a victim.
fn cgroup_above(beside: bool) -> Result<(), Failed> {
    let above = MemoryCgroup::make("100663296")?;
    let other = MemoryCgroup::below(&above, "beside", "201326592")?;
    let mut other_process = None;
    if beside {
        let mut command = inside(&other.0, &victim(), &["memory-and-back"]);
        other_process = Some(command.spawn()?);
    }
    let own = MemoryCgroup::below(&above, "below", "201326592")?;
    let recorded = record_inside_after(SPARED, &own.0, &["memory"]);
    if let Some(mut process) = other_process {
        process.kill()?;
        process.wait()?;
    }
    drop(other);
    drop(own);
    drop(above);
    expect(&recorded, "oom_killed", "96 MiB")?;
    let kill = recorded.of(EventKind::OOM_KILL);
    let scope = kill.first().map(|kill| kill.args[0]);
    // If the memory controller is in the recorder's hierarchy, lastword's own cgroup is in between.
    match scope {
        Some(3 | 4) => expect(&recorded, "oom_killed", "a cgroup above its own is 96 MiB"),
        _ => Err(format!("not the cgroup above: {kill:?}").into()),
    }
}

/// Somebody outside lowers the limit below what the container uses, as when a pod is resized in place. In version 1 of
/// cgroups the kernel refuses that.
fn limit_lowered() -> Result<(), Failed> {
    const BEFORE: u64 = 256 << 20;
    const USED: u64 = 160 << 20;
    const AFTER: u64 = 96 << 20;
    let limited = MemoryCgroup::make(&BEFORE.to_string())?;
    let folder = limited.0.clone();
    let lowered = std::thread::spawn(move || {
        let usage = ["memory.current", "memory.usage_in_bytes"].map(|file| folder.join(file));
        let usage = usage.iter().find(|file| file.exists());
        let limit = ["memory.max", "memory.limit_in_bytes"].map(|file| folder.join(file));
        let limit = limit.iter().find(|file| file.exists());
        for _ in 0..600 {
            std::thread::sleep(std::time::Duration::from_millis(100));
            let used = usage.and_then(|file| std::fs::read_to_string(file).ok());
            if used.is_some_and(|used| used.trim().parse().is_ok_and(|used: u64| used > USED)) {
                return limit.map(|file| std::fs::write(file, AFTER.to_string()));
            }
        }
        None
    });
    // (Where lastword cannot be spared, version 1 of cgroups refuses the new limit anyway.)
    let recorded = record_inside_after(SPARED, &limited.0, &["memory-held", "180", "3000"]);
    let lowered = lowered.join().map_err(|_| "the other thread panicked")?;
    let is_first_version = limited.0.join("memory.limit_in_bytes").exists();
    match lowered.ok_or("the memory was never used")? {
        Ok(()) => expect(&recorded, "oom_killed", "its memory limit is 96 MiB"),
        Err(error) if is_first_version => {
            assert_eq!(error.raw_os_error(), Some(nix::Error::EBUSY as i32));
            expect(&recorded, "exited_zero", "0")
        }
        Err(error) => Err(error.into()),
    }
}

/// A cgroup in the version that has the memory controller.
struct MemoryCgroup(std::path::PathBuf);

impl MemoryCgroup {
    fn make(limit: &str) -> Result<Self, Failed> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = format!("lastword-memory-{}-{number}", std::process::id());
        for (parent, file) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ] {
            let path = std::path::Path::new(parent).join(&name);
            // Where version 1 is mounted below a tmpfs, a folder in the tmpfs itself has no such file, and would get one.
            if std::fs::create_dir(&path).is_ok()
                && path.join(file).exists()
                && std::fs::write(path.join(file), limit).is_ok()
            {
                return Ok(Self(path));
            }
            let _ = std::fs::remove_dir(&path);
        }
        Err("no cgroup with a memory limit can be made".into())
    }

    /// A cgroup inside another one.
    fn below(above: &Self, name: &str, limit: &str) -> Result<Self, Failed> {
        let path = above.0.join(name);
        if above.0.join("cgroup.subtree_control").exists() {
            std::fs::write(above.0.join("cgroup.subtree_control"), "+memory")?;
        }
        std::fs::create_dir(&path)?;
        let below = Self(path);
        let file = ["memory.max", "memory.limit_in_bytes"];
        let file = file.iter().find(|file| below.0.join(file).exists());
        std::fs::write(below.0.join(file.ok_or("no memory controller")?), limit)?;
        Ok(below)
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}
