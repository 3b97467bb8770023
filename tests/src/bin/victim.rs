//! Does exactly one thing, so that a test knows what the recorder must have seen: `victim THING [ARGUMENT…]`.

#![expect(unsafe_code, reason = "makes exact system calls")]

use std::{
    env, fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

#[path = "victim/hang.rs"]
mod hang;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("victim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> io::Result<ExitCode> {
    match words {
        ["exit", code] => return Ok(number::<u8>(code)?.into()),
        ["say", text] => eprintln!("{text}"),
        ["print", text] => println!("{text}"),
        ["enter", cgroup, program, words @ ..] => return Err(enter(cgroup, program, words)),
        ["init", cgroup, program, words @ ..] => init(cgroup, program, words)?,
        ["wait", then @ ..] => {
            message()?;
            return run(then);
        }
        ["hold", path, then @ ..] => {
            let _held = fs::File::create(path)?;
            return run(then);
        }
        ["both", first, then @ ..] => {
            run(&first.split(' ').collect::<Vec<_>>())?;
            return run(then);
        }
        ["until-terminated"] => until_terminated()?,
        ["open", path] => drop(
            fs::File::open(path).map_err(|error| io::Error::other(format!("{path}: {error}")))?,
        ),
        ["read", path] => drop(fs::read(path)?),
        ["write", path, text] => fs::File::create(path)?.write_all(text.as_bytes())?,
        ["vector", path] => vector(path)?,
        ["descriptors", path] => descriptors(path)?,
        ["reuse", path] => reuse(path)?,
        ["failures", folder] => failures(folder),
        ["over-limits"] => over_limits()?,
        ["locks", path] => locks(path)?,
        #[cfg(target_arch = "x86_64")]
        ["compat", calls] => compat(number(calls)?),
        ["terminal", typed] => terminal(typed)?,
        ["signal", signal] => raise(number(signal)?)?,
        ["abort"] => std::process::abort(),
        ["timer", signal] => timer(number(signal)?)?,
        ["alarm"] => alarm(),
        ["abort-as-musl"] => abort_as_musl()?,
        ["first", what] => return Ok(first_of_a_namespace(what)),
        ["memory-child"] => return Ok(memory_child()),
        ["segv"] => fault(),
        ["sleep", milliseconds] => thread::sleep(Duration::from_millis(number(milliseconds)?)),
        ["children"] => children()?,
        ["threads"] => threads()?,
        ["exec", program] => return Err(Command::new(program).args(["first", "second"]).exec()),
        ["nested", parent] => nested(parent)?,
        ["connect", address] => drop(TcpStream::connect(
            address.parse::<SocketAddr>().map_err(io::Error::other)?,
        )?),
        ["connect-nonblocking", address] => connect_nonblocking(address)?,
        ["serve"] => serve()?,
        ["dns", style, server] => return dns(style, server),
        ["memory"] => {
            not_spared()?;
            memory();
        }
        ["memory-and-back"] => memory_and_back(),
        ["memory-held", mebibytes, milliseconds] => {
            not_spared()?;
            let held = vec![1_u8; number::<usize>(mebibytes)? << 20];
            thread::sleep(Duration::from_millis(number(milliseconds)?));
            drop(std::hint::black_box(held));
        }
        ["chatter", lines] => chatter(number(lines)?)?,
        ["writers", threads, writes] => writers(number(threads)?, number(writes)?)?,
        ["start", processes] => start(number(processes)?)?,
        ["processes", workers, each] => processes(number(workers)?, number(each)?)?,
        ["bulk", address] => bulk(address)?,
        ["hang", what] => hang::hang(what, "")?,
        ["hang", what, path] => hang::hang(what, path)?,
        ["kill-hanging", signal, milliseconds, words @ ..] => {
            hang::kill_hanging(number(signal)?, number(milliseconds)?, words)?;
        }
        _ => return Err(io::Error::other(format!("no such thing: {words:?}"))),
    }
    Ok(ExitCode::SUCCESS)
}

fn number<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    text: &str,
) -> io::Result<T> {
    text.parse().map_err(io::Error::other)
}

/// Reads a message from standard input, which is a datagram socket.
fn message() -> io::Result<Vec<u8>> {
    let mut message = vec![0; 4096];
    // SAFETY: a buffer of that length.
    let length = check(unsafe { libc::read(0, message.as_mut_ptr().cast(), 4096) } as i64)?;
    message.truncate(length as usize);
    Ok(message)
}

/// Does what container runtimes do: enters the container's cgroup, reads its configuration (a password) from a socket
/// and a pipe, and becomes the container's program.
fn enter(cgroup: &str, program: &str, words: &[&str]) -> io::Error {
    let configure = || {
        fs::write(format!("{cgroup}/cgroup.procs"), "0")?;
        let (mut reader, mut writer) = io::pipe()?;
        writer.write_all(&message()?)?;
        drop(writer);
        io::read_to_string(&mut reader)
    };
    match configure() {
        Ok(password) => Command::new(program)
            .args(words)
            .env("APP_PASSWORD", password)
            .exec(),
        Err(error) => error,
    }
}

/// Does what `runc init` does: enters the container's cgroup, makes a sibling there that is pid 1 of its own pid
/// namespace and becomes the program, reports the sibling's pid, and exits with 0.
fn init(cgroup: &str, program: &str, words: &[&str]) -> io::Result<()> {
    fs::write(format!("{cgroup}/cgroup.procs"), "0")?;
    message()?;
    let flags = libc::CLONE_PARENT | libc::CLONE_NEWPID | libc::SIGCHLD;
    // SAFETY: like fork(2), in a process with one thread. Because no stack is given, the child continues on a copy of
    // this one.
    let child = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })?;
    if child == 0 {
        return Err(Command::new(program).args(words).exec());
    }
    println!("{child}");
    Ok(())
}

/// Exits with 0 when it is asked to end.
fn until_terminated() -> io::Result<()> {
    // SAFETY: the set of signals lives longer than the calls.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut signals, libc::SIGTERM);
        check(libc::sigprocmask(
            libc::SIG_BLOCK,
            &raw const signals,
            std::ptr::null_mut(),
        ))?;
        let mut signal = 0;
        libc::sigwait(&raw const signals, &raw mut signal);
    }
    Ok(())
}

/// Turns a negative result of a system call into an error.
fn check(result: impl Into<i64>) -> io::Result<i64> {
    let result = result.into();
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Writes one line in nine pieces by writev, and one by pwrite.
fn vector(path: &str) -> io::Result<()> {
    let file = fs::File::create(path)?;
    let pieces = [
        "*** ",
        "stack",
        " ",
        "smashing",
        " ",
        "detected",
        " ***: ",
        "terminated",
        "\n",
    ];
    let slices: Vec<io::IoSlice<'_>> = pieces
        .iter()
        .map(|piece| io::IoSlice::new(piece.as_bytes()))
        .collect();
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    assert_eq!((&file).write_vectored(&slices)?, length);
    std::os::unix::fs::FileExt::write_all_at(&file, b"at an offset", 100)
}

/// Duplicates descriptors in every way, and closes them in every way.
fn descriptors(path: &str) -> io::Result<()> {
    let file = fs::File::create(path)?;
    let descriptor = file.as_raw_fd();
    // SAFETY: descriptors of this process.
    unsafe {
        check(libc::dup(descriptor))?;
        check(libc::dup2(descriptor, 40))?;
        check(libc::dup3(descriptor, 41, libc::O_CLOEXEC))?;
        check(libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 42))?;
        let mut ends = [0; 2];
        check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        check(libc::write(41, b"by a copy".as_ptr().cast(), 9) as i64)?;
        check(libc::syscall(libc::SYS_close_range, 40, 42, 0))?;
    }
    env::set_current_dir("/")
}

/// Uses one descriptor that refers to another file for each write.
fn reuse(path: &str) -> io::Result<()> {
    const DESCRIPTOR: i32 = 50;
    let write = |text: &str| {
        // SAFETY: a descriptor of this process.
        unsafe { check(libc::write(DESCRIPTOR, text.as_ptr().cast(), text.len()) as i64) }
    };
    let becomes = |other: i32| {
        // SAFETY: as above.
        unsafe { check(libc::dup2(other, DESCRIPTOR)) }
    };
    let (_reader, writer) = io::pipe()?;
    becomes(writer.as_raw_fd())?;
    write("into a pipe")?;
    write("into a pipe again")?;
    let (socket, _peer) = std::os::unix::net::UnixStream::pair()?;
    becomes(socket.as_raw_fd())?;
    write("a secret over a socket")?;
    write("a secret over a socket again")?;
    let log = fs::File::create(path)?;
    becomes(log.as_raw_fd())?;
    write("into a log")?;
    let datagrams = UdpSocket::bind("127.0.0.1:0")?;
    becomes(datagrams.as_raw_fd())?;
    datagrams.connect("127.0.0.1:5353")?;
    write("another secret")?;
    datagrams.connect("127.0.0.1:53")?;
    write("a question")?;
    Ok(())
}

/// Makes calls that fail, each with another errno.
fn failures(folder: &str) {
    let missing = format!("{folder}/missing");
    let _ = fs::create_dir(folder);
    let _ = fs::remove_file(&missing);
    let _ = fs::rename(&missing, format!("{folder}/other"));
    let _ = fs::metadata(&missing);
    let _ = fs::read_link(&missing);
    // The bytes are not in the program's file: the kernel never looks at them, so the page might not be in memory.
    let bytes = b"to a directory".to_vec();
    let _ = fs::File::open(folder).and_then(|mut file| file.write_all(&bytes));
    let _ = fs::File::open(folder).and_then(|mut file| file.read(&mut [0; 8]));
    // SAFETY: plain calls; calls that fail change nothing.
    unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            1 << 46,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        libc::kill(1 << 22, libc::SIGTERM);
    }
}

/// Locks a file in each way while it is locked.
fn locks(path: &str) -> io::Result<()> {
    let (holder, other) = (fs::File::create(path)?, fs::File::create(path)?);
    let (holds, wants) = (holder.as_raw_fd(), other.as_raw_fd());
    // SAFETY: the structure has only numbers, and zero is valid for each.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as i16;
    // SAFETY: descriptors of this process, and a lock that lives longer than the calls.
    let refused = unsafe {
        check(libc::flock(holds, libc::LOCK_EX))?;
        check(libc::fcntl(holds, libc::F_OFD_SETLK, &raw const lock))?;
        [
            libc::flock(wants, libc::LOCK_EX | libc::LOCK_NB),
            libc::fcntl(wants, libc::F_OFD_SETLK, &raw const lock),
            libc::fcntl(wants, libc::F_SETLK, &raw const lock),
        ]
    };
    match refused {
        [-1, -1, -1] => Ok(()),
        _ => Err(io::Error::other("a lock was given twice")),
    }
}

/// Makes processes, executes programs and locks memory beyond the limits of a user without privileges: each call fails
/// with EAGAIN.
fn over_limits() -> io::Result<()> {
    const NOBODY: u32 = 65534;
    let limit = |resource, most| {
        let limit = libc::rlimit {
            rlim_cur: most,
            rlim_max: most,
        };
        // SAFETY: the limit lives longer than the call.
        check(unsafe { libc::setrlimit(resource, &raw const limit) })
    };
    // The user has one process already, which is the child; it ends together with this process.
    let (mut told, mut tells) = io::pipe()?;
    let (stays, until_the_end) = io::pipe()?;
    // SAFETY: like fork(2), in a process with one thread.
    if check(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) })? == 0 {
        drop(until_the_end);
        // SAFETY: a plain call.
        check(unsafe { libc::setuid(NOBODY) })?;
        tells.write_all(b"x")?;
        (&stays).read_exact(&mut [0])?;
        return Ok(());
    }
    told.read_exact(&mut [0])?;
    limit(libc::RLIMIT_NPROC, 0)?;
    limit(libc::RLIMIT_MEMLOCK, 4096)?;
    // struct clone_args of clone3(2): exit_signal is the fifth member.
    let clone_args = [0u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
    // Memory that was just written: of a constant in the program's file the page need not be there when the call is refused,
    // which is before the kernel looks at it.
    let program = c"true".to_owned();
    let arguments: [*const libc::c_char; 2] = [program.as_ptr(), std::ptr::null()];
    // SAFETY: plain calls, each of which must fail; the clones are like fork(2), in a process with one thread.
    let results: [i64; 5] = unsafe {
        check(libc::setuid(NOBODY))?;
        [
            libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0),
            libc::syscall(
                libc::SYS_clone3,
                &raw const clone_args,
                size_of_val(&clone_args),
            ),
            libc::syscall(
                libc::SYS_execve,
                c"/bin/true".as_ptr(),
                arguments.as_ptr(),
                0,
            ),
            libc::syscall(
                libc::SYS_execveat,
                libc::AT_FDCWD,
                c"/bin/true".as_ptr(),
                arguments.as_ptr(),
                0,
                0,
            ),
            libc::syscall(
                libc::SYS_mmap,
                0,
                1 << 20,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_LOCKED,
                -1,
                0,
            ),
        ]
    };
    drop(until_the_end);
    if results == [-1; 5] {
        Ok(())
    } else {
        Err(io::Error::other(format!("not all failed: {results:?}")))
    }
}

/// Makes calls through the 32-bit ABI: getuid. In the 64-bit ABI its number means a call that is not recorded.
#[cfg(target_arch = "x86_64")]
fn compat(calls: u32) {
    const GETUID: u64 = 24;
    for _ in 0..calls {
        let mut _result = GETUID;
        // SAFETY: a call without arguments; the kernel clears some registers on the way back.
        unsafe {
            std::arch::asm!("int 0x80", inout("rax") _result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
        }
    }
}

/// Types at a pseudo-terminal whose other end this process reads: by read and by readv; the terminal also echoes.
fn terminal(typed: &str) -> io::Result<()> {
    use std::os::fd::AsFd as _;
    // SAFETY: plain calls. Their results are checked, and nobody else owns them.
    let (master, slave) = unsafe {
        let (mut master, mut slave) = (0, 0);
        check(libc::openpty(
            &raw mut master,
            &raw mut slave,
            std::ptr::null_mut(),
            std::ptr::null(),
            std::ptr::null(),
        ))?;
        (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
    };
    let open = |end: &OwnedFd| end.as_fd().try_clone_to_owned().map(fs::File::from);
    let (mut master, mut slave) = (open(&master)?, open(&slave)?);
    slave.write_all(b"Password: ")?;
    for _ in 0..2 {
        master.write_all(typed.as_bytes())?;
        master.write_all(b"\n")?;
        let mut line = [0; 256];
        let (first, second) = line.split_at_mut(4);
        let read =
            slave.read_vectored(&mut [io::IoSliceMut::new(first), io::IoSliceMut::new(second)])?;
        assert_eq!(&line[..read], format!("{typed}\n").as_bytes());
        master.write_all(typed.as_bytes())?;
        master.write_all(b"\n")?;
        let read = slave.read(&mut line)?;
        assert_eq!(&line[..read], format!("{typed}\n").as_bytes());
        let echoed = master.read(&mut line)?;
        assert!(echoed > 0);
    }
    Ok(())
}

fn raise(signal: i32) -> io::Result<()> {
    // SAFETY: a signal to this process.
    check(unsafe { libc::kill(libc::getpid(), signal) })?;
    thread::sleep(Duration::from_secs(10));
    Ok(())
}

fn fault() {
    // SAFETY: deliberately unsound: this address is never mapped, and the process shall crash.
    unsafe { std::ptr::write_volatile(0x30 as *mut u8, 1) };
}

/// Does what assert(3) and abort(3) of musl do (src/exit/{assert,abort}.c and src/signal/raise.c there): two signals,
/// each sent while it is blocked, then a fault.
fn abort_as_musl() -> io::Result<()> {
    eprintln!("Assertion failed: size > 0 (queue.c: push: 42)");
    // SAFETY: the sets live longer than the calls; the signals go to this thread.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        check(libc::sigfillset(&raw mut all))?;
        let set = |how, set: &libc::sigset_t, old: *mut libc::sigset_t| {
            check(libc::sigprocmask(how, std::ptr::from_ref(set), old))
        };
        let send = || {
            let thread = libc::syscall(libc::SYS_gettid);
            check(libc::syscall(libc::SYS_tkill, thread, libc::SIGABRT))
        };
        set(libc::SIG_BLOCK, &all, &raw mut before)?;
        send()?;
        set(libc::SIG_SETMASK, &before, std::ptr::null_mut())?;
        set(libc::SIG_BLOCK, &all, std::ptr::null_mut())?;
        libc::signal(libc::SIGABRT, libc::SIG_DFL);
        send()?;
        set(libc::SIG_SETMASK, &before, std::ptr::null_mut())?;
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("hlt");
        #[cfg(not(target_arch = "x86_64"))]
        std::ptr::null_mut::<u8>().write_volatile(0);
    }
    Ok(())
}

fn children() -> io::Result<()> {
    let own = env::current_exe()?;
    for code in ["3", "4"] {
        Command::new(&own).args(["exit", code]).status()?;
    }
    Ok(())
}

fn threads() -> io::Result<()> {
    let all: Vec<_> = (0..4)
        .map(|_| thread::spawn(|| thread::sleep(Duration::from_millis(5))))
        .collect();
    all.into_iter().try_for_each(|thread| {
        thread
            .join()
            .map_err(|_| io::Error::other("a thread panicked"))
    })
}

/// Moves itself into a cgroup inside its own cgroup, and fails there.
fn nested(parent: &str) -> io::Result<()> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let own = own
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/");
    let inner = format!("{parent}{own}/inner");
    fs::create_dir(&inner)?;
    fs::write(format!("{inner}/cgroup.procs"), "0")?;
    drop(fs::File::open("/from-inside"));
    Ok(())
}

fn connect_nonblocking(address: &str) -> io::Result<()> {
    let address: std::net::SocketAddrV4 = address.parse().map_err(io::Error::other)?;
    let peer = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.ip().octets()),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: the structure lives longer than the call.
    unsafe {
        let socket = check(libc::socket(
            libc::AF_INET,
            libc::SOCK_STREAM | libc::SOCK_NONBLOCK,
            0,
        ))? as i32;
        let socket = OwnedFd::from_raw_fd(socket);
        libc::connect(
            socket.as_raw_fd(),
            (&raw const peer).cast(),
            size_of_val(&peer) as u32,
        );
        let mut poll = libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLOUT,
            revents: 0,
        };
        check(libc::poll(&raw mut poll, 1, 1000))?;
    }
    // SAFETY: the descriptor is our own; SO_ERROR writes an int.
    unsafe {
        let mut error = 0i32;
        let mut length = size_of_val(&error) as u32;
        let socket = check(libc::socket(
            libc::AF_INET,
            libc::SOCK_STREAM | libc::SOCK_NONBLOCK,
            0,
        ))? as i32;
        libc::connect(socket, (&raw const peer).cast(), size_of_val(&peer) as u32);
        let mut poll = libc::pollfd {
            fd: socket,
            events: libc::POLLOUT,
            revents: 0,
        };
        check(libc::poll(&raw mut poll, 1, 1000))?;
        check(libc::getsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut error).cast(),
            &raw mut length,
        ))?;
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
    }
    Ok(())
}

/// Listens, accepts a connection, and moves bytes whose content must not be kept.
fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let client =
        thread::spawn(move || TcpStream::connect(address)?.write_all(b"a secret over a socket"));
    let (mut peer, _) = listener.accept()?;
    let mut received = Vec::new();
    peer.read_to_end(&mut received)?;
    client
        .join()
        .map_err(|_| io::Error::other("the client panicked"))??;
    TcpListener::bind(address).map(drop).or_else(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            Ok(())
        } else {
            Err(error)
        }
    })
}

/// A question for `flask.default.svc.cluster.local`, type A.
fn question() -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["flask", "default", "svc", "cluster", "local"] {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}

/// Asks a DNS server in one of the ways that resolvers use, and fails like a program that needs the answer.
fn dns(style: &str, server: &str) -> io::Result<ExitCode> {
    let server: SocketAddr = server.parse().map_err(io::Error::other)?;
    let any = if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut answer = [0; 512];
    let length = match style {
        // musl
        "sendto" => {
            socket.send_to(&question(), server)?;
            socket.recv_from(&mut answer).map(|(length, _)| length)
        }
        // nginx's own resolver
        "send" => {
            socket.connect(server)?;
            socket.send(&question())?;
            socket.recv(&mut answer)
        }
        // Go
        "write" => {
            socket.connect(server)?;
            let stream = socket.as_raw_fd();
            // SAFETY: our own descriptor, and buffers that live longer than the calls.
            unsafe {
                let question = question();
                check(libc::write(stream, question.as_ptr().cast(), question.len()) as i64)?;
                check(libc::read(stream, answer.as_mut_ptr().cast(), answer.len()) as i64)
                    .map(|length| length as usize)
            }
        }
        "sendmsg" => {
            socket.connect(server)?;
            messages(socket.as_raw_fd(), &mut answer, false)
        }
        // glibc
        "sendmmsg" => {
            socket.connect(server)?;
            messages(socket.as_raw_fd(), &mut answer, true)
        }
        other => return Err(io::Error::other(format!("no such style: {other}"))),
    };
    match length {
        Ok(length) if length > 3 && answer[3] & 15 == 0 => return Ok(ExitCode::SUCCESS),
        _ => eprintln!("host not found in upstream \"flask\""),
    }
    Ok(ExitCode::FAILURE)
}

fn messages(socket: i32, answer: &mut [u8; 512], many: bool) -> io::Result<usize> {
    let question = question();
    let header = |vector: &mut libc::iovec| {
        // SAFETY: all zeros is a valid header.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        header
    };
    let mut out = libc::iovec {
        iov_base: question.as_ptr().cast_mut().cast(),
        iov_len: question.len(),
    };
    let mut back = libc::iovec {
        iov_base: answer.as_mut_ptr().cast(),
        iov_len: answer.len(),
    };
    // SAFETY: headers and buffers live longer than the calls.
    unsafe {
        if many {
            let mut sent = [header(&mut out), header(&mut out)].map(|msg_hdr| libc::mmsghdr {
                msg_hdr,
                msg_len: 0,
            });
            check(libc::sendmmsg(socket, sent.as_mut_ptr(), 2, 0))?;
            let mut received = [libc::mmsghdr {
                msg_hdr: header(&mut back),
                msg_len: 0,
            }];
            check(libc::recvmmsg(
                socket,
                received.as_mut_ptr(),
                1,
                0,
                std::ptr::null_mut(),
            ))?;
            Ok(received[0].msg_len as usize)
        } else {
            let sent = header(&mut out);
            let mut received = header(&mut back);
            check(libc::sendmsg(socket, &raw const sent, 0) as i64)?;
            check(libc::recvmsg(socket, &raw mut received, 0) as i64).map(|length| length as usize)
        }
    }
}

/// Makes a POSIX timer send a signal, and waits for it. At that moment another process is on the CPU.
fn timer(signal: i32) -> io::Result<()> {
    // SAFETY: all zeros is a valid event; the structures live longer than the calls.
    unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = signal;
        let mut timer: libc::timer_t = std::ptr::null_mut();
        check(libc::timer_create(
            libc::CLOCK_MONOTONIC,
            &raw mut event,
            &raw mut timer,
        ))?;
        let mut time: libc::itimerspec = std::mem::zeroed();
        time.it_value.tv_nsec = 300_000_000;
        check(libc::timer_settime(
            timer,
            0,
            &raw const time,
            std::ptr::null_mut(),
        ))?;
    }
    thread::sleep(Duration::from_secs(30));
    Ok(())
}

/// Sets an alarm and waits for it.
fn alarm() {
    // SAFETY: no preconditions.
    unsafe { libc::alarm(1) };
    thread::sleep(Duration::from_secs(30));
}

/// Does something as the first process of a pid namespace, and ends as that process ended.
fn first_of_a_namespace(what: &str) -> ExitCode {
    // SAFETY: no preconditions; this process has one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        return ExitCode::FAILURE;
    }
    let own = std::env::current_exe().unwrap_or_default();
    let status = Command::new(own).arg(what).status();
    let signal = status
        .ok()
        .and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status));
    ExitCode::from(128 + signal.unwrap_or_default() as u8)
}

/// Starts a child that takes memory until the OOM killer kills it, and then gives up.
fn memory_child() -> ExitCode {
    let own = std::env::current_exe().unwrap_or_default();
    let status = Command::new(own).arg("memory").status();
    eprintln!("error: worker: {status:?}");
    ExitCode::from(3)
}

/// Whoever started this process may have kept the OOM killer away from itself.
fn not_spared() -> io::Result<()> {
    fs::write("/proc/self/oom_score_adj", "0")
}

/// Takes memory until the OOM killer comes.
fn memory() {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(vec![1; 1 << 20]);
    }
}

/// Takes memory, keeps it for a moment, and gives it back, for ever; in several threads.
fn memory_and_back() {
    // Together less than what a cgroup that ran out may lie below its limit: a sixteenth of 96 MiB.
    for milliseconds in [1, 3, 7, 10] {
        thread::spawn(move || take_and_give(Duration::from_millis(milliseconds)));
    }
    thread::sleep(Duration::MAX);
}

fn take_and_give(moment: Duration) {
    const SIZE: usize = 5 << 18;
    loop {
        let (access, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: the mapping is new, as large as what is written, and unmapped once. The allocator would keep it.
        unsafe {
            let memory = libc::mmap(std::ptr::null_mut(), SIZE, access, kind, -1, 0);
            if memory != libc::MAP_FAILED {
                std::ptr::write_bytes(memory.cast::<u8>(), 1, SIZE);
                thread::sleep(moment);
                libc::munmap(memory, SIZE);
            }
        }
    }
}

/// Makes a few precious events, then writes lines to standard output as fast as possible, then the last words.
fn chatter(lines: u64) -> io::Result<()> {
    drop(fs::File::open("/precious/missing"));
    eprintln!("precious: the first word");
    // SAFETY: the signal goes to this process, and its handler does nothing. The signal is one that is recorded.
    unsafe {
        libc::signal(libc::SIGUSR1, nothing as *const () as usize);
        libc::kill(libc::getpid(), libc::SIGUSR1);
    }
    let _ = dns("sendto", "127.0.0.2:53");
    let mut out = io::stdout().lock();
    for line in 1..=lines {
        let text =
            format!("chatty line {line} of an application that logs every little thing it does\n");
        out.write_all(text.as_bytes())?;
    }
    eprintln!("precious: the last word after {lines} lines");
    Err(io::Error::other("done"))
}

extern "C" fn nothing(_: i32) {}

/// Starts threads that write to /dev/null as fast as they can.
fn writers(threads: usize, writes: usize) -> io::Result<()> {
    let all: Vec<_> = (0..threads)
        .map(|_| {
            thread::spawn(move || -> io::Result<()> {
                let mut null = fs::File::create("/dev/null")?;
                (0..writes).try_for_each(|_| null.write_all(&[b'x'; 64]))
            })
        })
        .collect();
    all.into_iter().try_for_each(|thread| {
        thread
            .join()
            .map_err(|_| io::Error::other("a thread panicked"))?
    })
}

/// Starts processes, each of which starts others that end at once, one after another: `workers * (1 + each)` forks,
/// execs and ends.
fn processes(workers: usize, each: usize) -> io::Result<()> {
    let own = env::current_exe()?;
    let each = each.to_string();
    let workers = (0..workers).map(|_| Command::new(&own).args(["start", &each]).spawn());
    for mut worker in workers.collect::<io::Result<Vec<_>>>()? {
        if !worker.wait()?.success() {
            return Err(io::Error::other("a worker failed"));
        }
    }
    Ok(())
}

fn start(processes: usize) -> io::Result<()> {
    let own = env::current_exe()?;
    (0..processes).try_for_each(|_| Command::new(&own).args(["exit", "0"]).status().map(drop))
}

/// Sends bytes through a socket that is not used for DNS.
fn bulk(address: &str) -> io::Result<()> {
    UdpSocket::bind("127.0.0.1:0")?.send_to(b"not for the record", address)?;
    Ok(())
}
