//! The system calls that are measured.

#![expect(unsafe_code, reason = "makes exact system calls")]

use std::{ffi::CStr, fs, net::UdpSocket, os::fd::IntoRawFd as _, time::Instant};

use anyhow::{Context as _, Result};

/// How many bytes each read, write and send moves.
const SIZE: usize = 64;

/// A call that is not recorded.
pub(crate) const GETPPID: &str = "getppid";
/// A call with a payload, on a descriptor that must be looked up.
pub(crate) const WRITE: &str = "write(64 B) to /dev/null";
/// The same call without a payload.
pub(crate) const WRITE_NOTHING: &str = "write(0 B) to /dev/null";
/// A call without payload and descriptor: its record has only plain arguments.
pub(crate) const CLOSE_EBADF: &str = "close, EBADF";

/// How many calls a round has: so few that most rounds see no timer tick and no other process.
const LOOPS: u32 = 50;

/// A system call to measure.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    /// What Falco's modern probe adds on Linux 6.12, in instructions, if that was measured.
    pub(crate) falco: Option<f64>,
    /// Whether the recorder looks at the call.
    pub(crate) hooked: bool,
    /// Called once before each round.
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

    /// Nanoseconds per call: the lowest value of several rounds, because every disturbance makes a round slower.
    pub(crate) fn time(&mut self, rounds: usize) -> f64 {
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

/// A raw system call whose result must be as the measurement expects.
fn system<const N: usize>(number: i64, arguments: [usize; N]) -> i64 {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or_default();
    // SAFETY: the arguments are descriptors of this process, and memory that lives as long as the process.
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

/// Makes a socket that is bound to `address` and never read. Its buffer is already full, so every send ends in the same
/// way.
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

/// Opens a file with this content for reading and writing; its pages are already in memory.
fn file(path: &str, content: &[u8]) -> Result<usize> {
    fs::write(path, content).with_context(|| format!("cannot write {path}"))?;
    let file = fs::File::options().read(true).write(true).open(path)?;
    fs::remove_file(path)?;
    Ok(file.into_raw_fd() as usize)
}

/// All calls that are measured. Files are on a tmpfs: /dev/shm, or /tmp in a guest.
pub(crate) fn all() -> Result<Vec<Call>> {
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
        Call::new(GETPPID, || assert!(system(libc::SYS_getppid, []) >= 0)).falco(692),
        Call::new(WRITE, transfer(libc::SYS_write, null)).falco(2716),
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
        Call::new(CLOSE_EBADF, move || {
            fails(system(libc::SYS_close, [9999]));
        }),
        Call::new(WRITE_NOTHING, move || {
            moved(system(libc::SYS_write, [null, buffer, 0]), 0);
        }),
    ];
    calls[0].hooked = false;
    Ok(calls)
}
