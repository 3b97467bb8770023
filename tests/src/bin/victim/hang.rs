//! A process that hangs, and one that waits until it does and then kills it.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::check;

/// Hangs in `what`: a call, or several at once, or in none.
pub(crate) fn hang(what: &str, path: &str) -> io::Result<()> {
    match what {
        "recv" => recv(),
        "connect" => connect(),
        "accept" => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            ready();
            listener.accept()?;
        }
        "flock" => locked(path, |descriptor| {
            // SAFETY: a descriptor of this process.
            i64::from(unsafe { libc::flock(descriptor, libc::LOCK_EX) })
        })?,
        "fcntl" => locked(path, |descriptor| {
            // SAFETY: the structure has only numbers, and zero is valid for each.
            let mut lock: libc::flock = unsafe { std::mem::zeroed() };
            lock.l_type = libc::F_WRLCK as i16;
            // SAFETY: the lock lives longer than the call.
            i64::from(unsafe { libc::fcntl(descriptor, libc::F_OFD_SETLKW, &raw const lock) })
        })?,
        "futex" => futex(),
        "epoll" => epoll()?,
        "pipe" => {
            let (reader, _writer) = io::pipe()?;
            ready();
            read(&reader);
        }
        "sleep" => {
            ready();
            thread::sleep(Duration::MAX);
        }
        "loop" => {
            ready();
            loop {
                std::hint::spin_loop();
            }
        }
        "threads" => {
            for what in ["recv", "sleep", "loop"] {
                thread::spawn(|| hang(what, ""));
            }
            futex();
        }
        "exit" => {
            thread::spawn(|| hang("recv", ""));
            thread::sleep(Duration::from_millis(300));
            std::process::exit(3);
        }
        "handler" => {
            on_sigterm()?;
            recv();
        }
        _ => return Err(io::Error::other(format!("cannot hang in {what}"))),
    }
    Ok(())
}

/// Says that the next thing is to hang.
fn ready() {
    let _ = io::stdout().write_all(b"ready\n");
    let _ = io::stdout().flush();
}

fn read(from: &impl AsRawFd) {
    let mut byte = 0u8;
    // SAFETY: a buffer of that length.
    unsafe { libc::read(from.as_raw_fd(), (&raw mut byte).cast(), 1) };
}

/// Waits for a server that says nothing.
fn recv() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let client = TcpStream::connect(address).expect("a connection");
    let _server = listener.accept().expect("the other end");
    ready();
    let mut byte = 0u8;
    // SAFETY: a buffer of that length.
    unsafe { libc::recv(client.as_raw_fd(), (&raw mut byte).cast(), 1, 0) };
}

/// Connects to a server whose queue is full.
fn connect() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    // SAFETY: a descriptor of this process.
    unsafe { libc::listen(listener.as_raw_fd(), 0) };
    ready();
    let _all: Vec<_> = (0..8).map(|_| TcpStream::connect(address)).collect();
}

/// Asks for a lock that the same process has through another open file.
fn locked(path: &str, lock: impl Fn(i32) -> i64) -> io::Result<()> {
    let (holder, other) = (fs::File::create(path)?, fs::File::create(path)?);
    check(lock(holder.as_raw_fd()))?;
    ready();
    check(lock(other.as_raw_fd())).map(drop)
}

fn futex() {
    let word = 0u32;
    ready();
    // SAFETY: the word lives longer than the call, and no time is given.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            &raw const word,
            libc::FUTEX_WAIT,
            0,
            std::ptr::null::<libc::timespec>(),
        )
    };
}

fn epoll() -> io::Result<()> {
    // SAFETY: a buffer for one event.
    unsafe {
        let set = check(libc::epoll_create1(0))?;
        ready();
        let mut event = std::mem::zeroed();
        libc::epoll_wait(set as i32, &raw mut event, 1, -1);
    }
    Ok(())
}

/// At SIGTERM, opens a file that does not exist and exits with 0.
fn on_sigterm() -> io::Result<()> {
    extern "C" fn handler(_: libc::c_int) {
        // SAFETY: both calls are safe in a handler of signals.
        unsafe {
            libc::open(c"/from/the/handler".as_ptr(), libc::O_RDONLY);
            libc::_exit(0);
        }
    }
    let handler: extern "C" fn(libc::c_int) = handler;
    // SAFETY: the handler makes only calls that are safe there.
    let old = unsafe { libc::signal(libc::SIGTERM, handler as libc::sighandler_t) };
    if old == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Lets this process, and those it starts, use one CPU only: what a signal wakes does not run before its sender is done.
fn stay_on_one_cpu() -> io::Result<()> {
    // SAFETY: the set has only numbers, and lives longer than the calls.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu() as usize, &mut set);
        check(libc::sched_setaffinity(
            0,
            size_of::<libc::cpu_set_t>(),
            &raw const set,
        ))
        .map(drop)
    }
}

/// Starts this program with other words, waits until all of its threads hang, waits on, and sends it a signal.
pub(crate) fn kill_hanging(signal: i32, milliseconds: u64, words: &[&str]) -> io::Result<()> {
    stay_on_one_cpu()?;
    let mut child = Command::new(env::current_exe()?)
        .args(words)
        .stdout(Stdio::piped())
        .spawn()?;
    wait_until_ready(&mut child)?;
    wait_until_still(child.id())?;
    thread::sleep(Duration::from_millis(milliseconds));
    // SAFETY: a child of this process that nobody has waited for.
    check(unsafe { libc::kill(child.id() as i32, signal) })?;
    child.wait().map(drop)
}

fn wait_until_ready(child: &mut Child) -> io::Result<()> {
    let said = child
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("no output"))?;
    BufReader::new(said).read_line(&mut String::new()).map(drop)
}

/// Waits until every thread of a process has been in the same call for a while, or runs.
fn wait_until_still(pid: u32) -> io::Result<()> {
    const TIMES: u32 = 8;
    let mut before = Vec::new();
    let mut still = 0;
    while still < TIMES {
        let mut now = Vec::new();
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = thread?.path().join("syscall");
            now.push(fs::read_to_string(path)?);
        }
        still = if now == before { still + 1 } else { 0 };
        before = now;
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
