//! What the containers of the measurements do.

#![expect(unsafe_code, reason = "makes exact system calls")]

use std::{
    fs,
    io::Write as _,
    net::{TcpStream, UdpSocket},
    os::unix::fs::FileExt as _,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use crate::{agent, calls::question, container};

pub(crate) fn run(words: &[&str]) -> Result<()> {
    match words {
        ["nothing"] => Ok(()),
        ["inside", cgroup, payload @ ..] => agent::inside(cgroup, payload),
        ["quiet"] => quiet(),
        ["fail"] => fail(),
        ["fill", file] => fill_and_fail(Path::new(file)),
        ["fill", file, cgroup] => {
            container::enter(Path::new(cgroup))?;
            fill_and_fail(Path::new(file))
        }
        ["full", file] => {
            fill(Path::new(file))?;
            fs::write(file, "")?;
            loop {
                thread::sleep(Duration::from_secs(3600));
            }
        }
        ["write", rate, seconds, file] => write(
            rate.parse()?,
            Duration::from_secs(seconds.parse()?),
            Path::new(file),
        ),
        ["wait", cgroup] => {
            container::enter(Path::new(cgroup))?;
            println!("a container that wrote this line and went on");
            loop {
                thread::sleep(Duration::from_secs(3600));
            }
        }
        _ => bail!("no such payload: {words:?}"),
    }
}

/// Writes a line every few seconds until it is killed.
fn quiet() -> Result<()> {
    loop {
        println!("nothing to report");
        thread::sleep(Duration::from_secs(3));
    }
}

/// Does what a small service does that lacks its configuration.
fn fail() -> Result<()> {
    for number in 0..50 {
        let _ = fs::File::open(format!("/usr/lib/application/{number}.so"));
        println!("looking for part {number}");
    }
    let settings = "/etc/application/settings.yaml";
    if let Err(error) = fs::read(settings) {
        eprintln!("{settings}: {error}");
        std::process::exit(1);
    }
    Ok(())
}

extern "C" fn nothing(_: i32) {}

fn fill_and_fail(file: &Path) -> Result<()> {
    fill(file)?;
    bail!("cannot go on")
}

/// Fills every lane of its ring. `file` is made and removed.
fn fill(file: &Path) -> Result<()> {
    // The lane Life.
    let own = std::env::current_exe()?;
    for _ in 0..20 {
        ensure!(
            Command::new(&own)
                .args(["payload", "nothing"])
                .status()?
                .success(),
            "a child failed"
        );
    }
    // SAFETY: the handler does nothing, and the signals go to this process.
    unsafe {
        libc::signal(libc::SIGUSR1, nothing as *const () as usize);
        // Two records each; just so many that the first exec is not overwritten.
        for _ in 0..600 {
            libc::kill(libc::getpid(), libc::SIGUSR1);
        }
    }
    // The lane Config.
    fs::write(file, "key = value\n".repeat(40))?;
    let text = fs::File::open(file)?;
    for _ in 0..1000 {
        text.read_at(&mut [0; 4096], 0)?;
    }
    fs::remove_file(file)?;
    // The lanes Files and Failures.
    for number in 0..1500 {
        drop(fs::File::open("/dev/null")?);
        let _ = fs::File::open(format!("/srv/application/modules/{number}.so"));
    }
    // The lane Network.
    let _ = TcpStream::connect("127.0.0.1:9");
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let question = question();
    for _ in 0..1500 {
        socket.send_to(&question, "127.0.0.2:53")?;
    }
    // The lane Output, and the other lanes.
    let mut null = fs::File::options().write(true).open("/dev/null")?;
    for number in 0..2000 {
        println!("127.0.0.1 - - \"GET /items/{number} HTTP/1.1\" 200 612");
        eprintln!("item {number} is slow: it took {} ms", 500 + number % 97);
        null.write_all(&[b'x'; 64])?;
    }
    Ok(())
}

/// Writes 64 bytes to /dev/null, `rate` times a second, and writes the rate that was reached into `file`.
fn write(rate: u64, length: Duration, file: &Path) -> Result<()> {
    let mut null = fs::File::options().write(true).open("/dev/null")?;
    let start = Instant::now();
    let mut written = 0;
    while start.elapsed() < length {
        let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
        while written < due {
            null.write_all(&[b'x'; 64])?;
            written += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    fs::write(
        file,
        format!("{}", written as f64 / start.elapsed().as_secs_f64()),
    )?;
    Ok(())
}
