//! What recording adds to system calls.

#![expect(unsafe_code, reason = "makes exact system calls")]

use std::{ffi::CStr, fs, net::UdpSocket, os::fd::IntoRawFd as _, time::Instant};

use agent::recorder::{Recorder, Settings};
use anyhow::{Context as _, Result, bail};

use crate::{
    container::{self, Container},
    mark, median, say, thousands,
};

/// Bytes moved by each read, write and send.
const SIZE: usize = 64;

/// Calls of one round: so few that most rounds see no timer tick and no other process.
const LOOPS: u32 = 50;

/// A system call to measure.
struct Call {
    name: &'static str,
    /// What Falco's modern probe adds on Linux 6.12, in instructions, where that was measured.
    falco: Option<f64>,
    /// Whether the recorder looks at the call at all.
    hooked: bool,
    /// Done once before a round.
    prepare: Box<dyn FnMut()>,
    call: Box<dyn FnMut()>,
}

impl Call {
    fn new(name: &'static str, call: impl FnMut() + 'static) -> Self {
        Self {
            name,
            falco: None,
            hooked: true,
            prepare: Box::new(|| {}),
            call: Box::new(call),
        }
    }

    fn falco(self, added: u32) -> Self {
        Self {
            falco: Some(f64::from(added)),
            ..self
        }
    }

    fn after(self, prepare: impl FnMut() + 'static) -> Self {
        Self {
            prepare: Box::new(prepare),
            ..self
        }
    }

    /// Nanoseconds a call: the least of some rounds, since whatever disturbs one makes it slower.
    fn time(&mut self, rounds: usize) -> f64 {
        let mut least = f64::INFINITY;
        for _ in 0..rounds {
            (self.prepare)();
            let start = Instant::now();
            for _ in 0..LOOPS {
                (self.call)();
            }
            least = least.min(start.elapsed().as_nanos() as f64 / f64::from(LOOPS));
        }
        least
    }
}

/// A raw system call, whose result must be what the measurement is about.
fn system<const N: usize>(number: i64, arguments: [usize; N]) -> i64 {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or_default();
    // SAFETY: descriptors of this process, and memory that lives as long as the process.
    unsafe {
        libc::syscall(
            number,
            argument(0),
            argument(1),
            argument(2),
            argument(3),
            argument(4),
            argument(5),
        )
    }
}

fn leaked(bytes: Vec<u8>) -> (usize, usize) {
    let length = bytes.len();
    (bytes.leak().as_mut_ptr() as usize, length)
}

/// A question for `flask.default.svc.cluster.local`, type A.
pub(crate) fn question() -> Vec<u8> {
    b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x05flask\x07default\x03svc\x07cluster\x05local\0\0\x01\0\x01"
        .to_vec()
}

/// A socket that is bound to `address` and never read, its buffer already full, so that every send ends alike.
fn deaf(address: &str) -> Result<()> {
    let receiver = UdpSocket::bind(address).with_context(|| format!("cannot bind {address}"))?;
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    for _ in 0..4000 {
        sender.send_to(&[0; SIZE], address)?;
    }
    std::mem::forget(receiver);
    Ok(())
}

fn connected(address: &str) -> Result<usize> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(address)?;
    Ok(socket.into_raw_fd() as usize)
}

/// A file of `length` bytes for reading and writing, its pages there already.
fn file(path: &str, content: &[u8]) -> Result<usize> {
    fs::write(path, content).with_context(|| format!("cannot write {path}"))?;
    let file = fs::File::options().read(true).write(true).open(path)?;
    fs::remove_file(path)?;
    Ok(file.into_raw_fd() as usize)
}

/// Everything that is measured. Files lie on a tmpfs: /dev/shm, or /tmp in a guest.
fn calls() -> Result<Vec<Call>> {
    let (buffer, _) = leaked(vec![b'x'; SIZE]);
    let (buffer_of_stat, _) = leaked(vec![0; 256]);
    let (asked, asked_length) = leaked(question());
    let (missing, existing): (&CStr, &CStr) = (c"/tmp/no/such/file", c"/dev/null");
    let shm = if fs::metadata("/dev/shm").is_ok() {
        "/dev/shm"
    } else {
        "/tmp"
    };
    let room = vec![b'x'; SIZE * LOOPS as usize];
    let null = fs::File::options()
        .write(true)
        .open("/dev/null")?
        .into_raw_fd() as usize;
    let zero = fs::File::open("/dev/zero")?.into_raw_fd() as usize;
    let regular = file(&format!("{shm}/lastword-bench-data"), &room)?;
    let log = file(&format!("{shm}/lastword-bench.log"), &room)?;
    let text = file(&format!("{shm}/lastword-bench.conf"), &[b'x'; SIZE])?;
    deaf("127.0.0.1:9000")?;
    deaf("127.0.0.1:53")?;
    let (plain, dns) = (connected("127.0.0.1:9000")?, connected("127.0.0.1:53")?);
    let unconnected = UdpSocket::bind("127.0.0.1:0")?.into_raw_fd() as usize;
    let (server, server_length) = leaked([&[2, 0, 0, 53, 127, 0, 0, 1][..], &[0; 8]].concat());
    let rewind =
        |descriptor: usize| move || assert_eq!(system(libc::SYS_lseek, [descriptor, 0, 0]), 0);

    let moved = |result: i64, length: usize| {
        assert_eq!(result, length as i64, "{}", std::io::Error::last_os_error())
    };
    let transfer = move |number: i64, descriptor: usize| {
        move || moved(system(number, [descriptor, buffer, SIZE]), SIZE)
    };
    let fails = |result: i64| assert_eq!(result, -1, "a call that must fail did not");
    let mut calls = vec![
        Call::new("getppid", || assert!(system(libc::SYS_getppid, []) >= 0)).falco(692),
        Call::new("write(64 B) to /dev/null", transfer(libc::SYS_write, null)).falco(2716),
        Call::new(
            "write(64 B) to a file on tmpfs",
            transfer(libc::SYS_write, regular),
        )
        .after(rewind(regular)),
        Call::new(
            "write(64 B) to a `.log` file on tmpfs",
            transfer(libc::SYS_write, log),
        )
        .after(rewind(log)),
        Call::new(
            "write(64 B) to standard error (/dev/null)",
            transfer(libc::SYS_write, 2),
        ),
        Call::new("read(64 B) from /dev/zero", transfer(libc::SYS_read, zero)),
        Call::new("pread(64 B) of a small text file", move || {
            moved(system(libc::SYS_pread64, [text, buffer, SIZE, 0]), SIZE);
        }),
        Call::new("open, ENOENT", move || {
            fails(system(
                libc::SYS_openat,
                [libc::AT_FDCWD as usize, missing.as_ptr() as usize, 0],
            ));
        })
        .falco(5119),
        Call::new("stat, ENOENT", move || {
            fails(system(
                libc::SYS_newfstatat,
                [
                    libc::AT_FDCWD as usize,
                    missing.as_ptr() as usize,
                    buffer_of_stat,
                    0,
                ],
            ));
        }),
        Call::new("open + close", move || {
            let descriptor = system(
                libc::SYS_openat,
                [libc::AT_FDCWD as usize, existing.as_ptr() as usize, 0],
            );
            assert_eq!(system(libc::SYS_close, [descriptor as usize]), 0);
        }),
        Call::new("send(64 B), UDP, connected", move || {
            moved(
                system(libc::SYS_sendto, [plain, buffer, SIZE, 0, 0, 0]),
                SIZE,
            );
        }),
        Call::new("send(49 B) of a DNS query, connected", move || {
            moved(
                system(libc::SYS_sendto, [dns, asked, asked_length, 0, 0, 0]),
                asked_length,
            );
        }),
        Call::new("sendto(49 B) of a DNS query", move || {
            moved(
                system(
                    libc::SYS_sendto,
                    [unconnected, asked, asked_length, 0, server, server_length],
                ),
                asked_length,
            );
        }),
        Call::new(
            "for comparison, a record and no more: close, EBADF",
            move || {
                fails(system(libc::SYS_close, [9999]));
            },
        ),
        Call::new(
            "for comparison, with no payload: write(0 B) to /dev/null",
            move || {
                moved(system(libc::SYS_write, [null, buffer, 0]), 0);
            },
        ),
    ];
    calls[0].hooked = false;
    Ok(calls)
}

/// Standard error while calls are measured: /dev/null, since some write to it.
struct Silence(std::os::fd::OwnedFd);

impl Silence {
    fn begin() -> Result<Self> {
        let kept = nix::unistd::dup(std::io::stderr())?;
        nix::unistd::dup2_stderr(fs::File::options().write(true).open("/dev/null")?)?;
        Ok(Self(kept))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Messages of an error would be lost otherwise.
        let _ = nix::unistd::dup2_stderr(&self.0);
    }
}

/// How many nanoseconds this many instructions take, by the clock that everything here is measured by.
#[cfg(target_arch = "x86_64")]
fn calibration(instructions: u64) -> f64 {
    let start = Instant::now();
    // SAFETY: counts a register down.
    unsafe {
        std::arch::asm!("2:", "dec {0}", "jnz 2b", inout(reg) instructions / 2 => _);
    }
    start.elapsed().as_nanos() as f64
}

/// Waits until the guest has nothing left to do after its start: a loop of 20 ms runs with nothing but timer ticks in between.
#[cfg(target_arch = "x86_64")]
fn settle() -> Result<()> {
    const LOOP: u64 = 20_000_000;
    const SECONDS: usize = 60;
    for _ in 0..SECONDS {
        if calibration(LOOP) < LOOP as f64 * 1.03 {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    bail!("the guest does not come to rest, or its clock does not count instructions")
}

/// Under `-icount shift=0`, where a nanosecond is an instruction.
pub(crate) fn in_instructions() -> Result<()> {
    const ROUNDS: usize = 160;
    #[cfg(target_arch = "x86_64")]
    settle()?;
    let mut calls = calls()?;
    let silence = Silence::begin()?;
    let mut all = || -> Vec<f64> { calls.iter_mut().map(|call| call.time(ROUNDS)).collect() };
    let without = all();
    let recorder = Recorder::start(&Settings::default())?;
    let unwatched = all();
    let watched = {
        let container = Container::make(0)?;
        recorder.ring_of(container.id()?).context("no ring")?;
        container::enter(&container.path)?;
        let watched = all();
        container::enter(&container::mount_point()?)?;
        watched
    };
    drop(silence);
    let probe = recorder
        .probes()
        .find(|probe| probe.name == "sys_exit")
        .context("no probe sys_exit")?;
    say!(
        "System calls are observed by `{}` on this kernel: {}.",
        probe.attach,
        probe.reason
    );
    say!("");
    say!(
        "| call | without agent | added, not watched | added, watched | Falco adds | a quarter of that | |"
    );
    say!("|---|--:|--:|--:|--:|--:|---|");
    for (index, call) in calls.iter().enumerate() {
        let (unwatched, watched) = (
            unwatched[index] - without[index],
            watched[index] - without[index],
        );
        let measured = if call.hooked {
            watched
        } else {
            watched.max(unwatched)
        };
        let (falco, target, verdict) = match call.falco {
            Some(falco) => (
                thousands(falco),
                thousands(falco / 4.0),
                mark(measured, falco / 4.0),
            ),
            None => <_>::default(),
        };
        let columns = [without[index], unwatched, watched]
            .map(thousands)
            .join(" | ");
        say!(
            "| {} | {columns} | {falco} | {target} | {verdict} |",
            call.name
        );
    }
    Ok(())
}

/// On the kernel that runs: medians over rounds, in each of which all variants are measured one after another.
pub(crate) fn as_ratios() -> Result<()> {
    const ROUNDS: usize = 15;
    let mut calls = calls()?;
    let silence = Silence::begin()?;
    let mut all = || -> Vec<f64> { calls.iter_mut().map(|call| call.time(160)).collect() };
    let home = own_cgroup()?;
    let mut rounds = Vec::new();
    let mut probe = None;
    for number in 0..ROUNDS {
        let without = all();
        let recorder = Recorder::start(&Settings::default())?;
        let unwatched = all();
        let container = Container::make(number)?;
        recorder.ring_of(container.id()?).context("no ring")?;
        container::enter(&container.path)?;
        let watched = all();
        container::enter(&home)?;
        probe = recorder
            .probes()
            .find(|probe| probe.name == "sys_exit")
            .cloned();
        rounds.push([without, unwatched, watched]);
    }
    drop(silence);
    let probe = probe.context("no probe sys_exit")?;
    say!(
        "System calls are observed by `{}` on this kernel: {}.",
        probe.attach,
        probe.reason
    );
    say!("");
    say!(
        "| call | without agent, ns | not watched, ns added | watched, ns added | not watched, ratio | watched, ratio |"
    );
    say!("|---|--:|--:|--:|--:|--:|");
    for (index, call) in calls.iter().enumerate() {
        let over = |value: &dyn Fn(f64, f64) -> f64, variant: usize| {
            median(
                rounds
                    .iter()
                    .map(|round| value(round[variant][index], round[0][index]))
                    .collect(),
            )
        };
        let (added, ratio) = (
            |with: f64, without: f64| with - without,
            |with: f64, without: f64| with / without,
        );
        say!(
            "| {} | {} | {} | {} | {:.2} | {:.2} |",
            call.name,
            thousands(over(&|_, without| without, 0)),
            thousands(over(&added, 1)),
            thousands(over(&added, 2)),
            over(&ratio, 1),
            over(&ratio, 2)
        );
    }
    Ok(())
}

/// The cgroup this process is in.
fn own_cgroup() -> Result<std::path::PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let path = own
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .context("not in a cgroup")?;
    Ok(container::mount_point()?.join(path.trim_start_matches('/')))
}
