//! Guests: a Debian kernel under QEMU that runs one program as root and is gone again. No root, network or /dev/kvm
//! is needed.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    apt::{Bundle, Suite, Unpacked},
    arch::Arch,
    cargo::Artifact,
    initramfs::{self, File},
    kernel::Kernel,
    place, step,
};

const BUSYBOX: Bundle = Bundle {
    name: "busybox",
    suite: Suite::Bookworm,
    packages: &["busybox-static"],
    without: &["*/share/doc/*"],
};

/// How guests are booted: the emulator, and the file system with lastword and its tests in it.
pub(crate) struct Machine {
    arch: Arch,
    qemu: Unpacked,
    initramfs: PathBuf,
}

/// One boot.
pub(crate) struct Guest<'a> {
    /// What to boot.
    pub(crate) kernel: &'a Kernel,
    /// The program in the guest, with its arguments. None may hold white space.
    pub(crate) command: &'a [&'a str],
    /// Where what the guest writes to its second serial port goes; none: it has no such port.
    pub(crate) received: Option<&'a Path>,
    /// Whether the guest's clock counts instructions, one a nanosecond: slow, on one CPU, and the same on every
    /// machine.
    pub(crate) icount: bool,
    /// How long its programs may print nothing before the guest counts as hanging and is killed: a busy machine makes
    /// a guest slow, not silent.
    pub(crate) silence: Duration,
}

/// What a guest left.
pub(crate) struct Outcome {
    /// Everything on its console, kernel messages included.
    pub(crate) console: String,
    /// The program's exit code, 128 + n if signal n killed it.
    pub(crate) code: i32,
}

impl Machine {
    /// Gets QEMU and busybox, and packs these programs and tests, and other files.
    ///
    /// # Errors
    /// Something cannot be fetched or written.
    pub(crate) fn with(arch: Arch, artifacts: &[Artifact], others: Vec<File>) -> Result<Machine> {
        let (qemu, busybox) = fetch(arch)?;
        let busybox = busybox.root.join("bin/busybox");
        let mut files = others;
        files.push(file("bin/busybox".to_owned(), &busybox)?);
        for Artifact {
            name,
            executable,
            is_test,
            ..
        } in artifacts
        {
            let path = match (name.as_str(), is_test) {
                ("init", false) => "init".to_owned(),
                (_, false) => format!("bin/{name}"),
                (_, true) => format!("bin/{name}-tests"),
            };
            files.push(file(path, executable)?);
        }
        let name = format!("target/vm/initramfs-{}.cpio", arch.name());
        let initramfs = place::workspace().join(name);
        let out = fs::File::create(&initramfs)
            .with_context(|| format!("cannot write {}", initramfs.display()))?;
        initramfs::write(std::io::BufWriter::new(out), &files)
            .with_context(|| format!("cannot write {}", initramfs.display()))?;
        Ok(Machine {
            arch,
            qemu,
            initramfs,
        })
    }

    /// Boots a guest and waits until it has run its program. Each line of its console goes to `line` as it comes.
    ///
    /// # Errors
    /// The guest cannot be started, ends without the program's exit code, or hangs; the error shows the end of its
    /// console.
    pub(crate) fn run(&self, guest: &Guest, mut line: impl FnMut(&str)) -> Result<Outcome> {
        // Unlike anything a program could print: /init repeats it with the exit code.
        let marker = format!("exit-of-guest-{}:", std::process::id());
        let mut command = self.command(guest, &marker);
        let mut child = Running::start(&mut command)?;
        let mut deadline = Instant::now() + guest.silence;
        let mut console = String::new();
        let mut code = None;
        loop {
            match child
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(text) => {
                    // What the kernel says of a processor that is stuck, it says again and again.
                    if !text.starts_with('[') {
                        deadline = Instant::now() + guest.silence;
                    }
                    match text.strip_prefix(&marker) {
                        Some(status) => code = status.trim().parse().ok(),
                        None => line(&text),
                    }
                    console.push_str(&text);
                    console.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    child.kill();
                    bail!(
                        "the guest on Linux {} was killed: its programs printed nothing for {} s; the end of its console:\n{}",
                        guest.kernel.release,
                        guest.silence.as_secs(),
                        step::tail(&console)
                    );
                }
            }
        }
        let status = child.wait()?;
        let Some(code) = code else {
            bail!(
                "the guest on Linux {} ended without an exit code (QEMU: {status}); the end of its console:\n{}`{}` boots it by hand",
                guest.kernel.release,
                step::tail(&console),
                step::line(&command)
            );
        };
        Ok(Outcome { console, code })
    }

    fn command(&self, guest: &Guest, marker: &str) -> Command {
        let mut command = self
            .qemu
            .command(&format!("usr/bin/qemu-system-{}", self.arch.name()));
        command.args([
            "-nodefaults",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
        ]);
        if let Some(path) = guest.received {
            command
                .arg("-serial")
                .arg(format!("file:{}", path.display()));
        }
        // Processors take turns on one thread: emulated on several at once, one of them can meet code that the kernel
        // is just patching on another (tracepoints are attached by that), and trips over it as no real processor
        // does.
        command.args(self.arch.machine());
        command.args(["-m", "2048", "-accel", "tcg,thread=single"]);
        if guest.icount {
            command.args(["-smp", "1", "-icount", "shift=0,align=off,sleep=off"]);
        } else {
            command.args(["-smp", "2"]);
        }
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(self.qemu.root.join(firmware));
        }
        command.arg("-kernel").arg(&guest.kernel.image);
        command.arg("-initrd").arg(&self.initramfs);
        let program = guest.command.join(" ");
        command.args([
            "-append",
            &format!(
                "{} quiet panic=1 -- {marker} {program}",
                self.arch.parameters()
            ),
        ]);
        with_low_priority(&command)
    }
}

/// The same command with a low priority: whatever else runs, such as the kernel tests on the running kernel, waits for
/// moments, and a guest only for an end.
fn with_low_priority(command: &Command) -> Command {
    let mut nice = Command::new("nice");
    nice.args(["-n", "10"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => nice.env(name, value),
            None => nice.env_remove(name),
        };
    }
    nice
}

/// Gives QEMU, and BusyBox for its guests, fetching them if they are not in the cache yet.
///
/// # Errors
/// They cannot be fetched.
pub(crate) fn fetch(arch: Arch) -> Result<(Unpacked, Unpacked)> {
    Ok((arch.qemu().get()?, BUSYBOX.get_for(arch)?))
}

/// A file of the guest from one here, which can be executed there.
///
/// # Errors
/// It cannot be read.
pub(crate) fn file(path: String, source: &Path) -> Result<File> {
    let content = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
    Ok(File {
        path,
        content,
        executable: true,
    })
}

/// A process whose output arrives line by line, and which does not outlive this value.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn start(command: &mut Command) -> Result<Running> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("cannot start `{}`", step::line(command)))?;
        let mut stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            while stdout
                .read_until(b'\n', &mut bytes)
                .is_ok_and(|read| read > 0)
            {
                let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                bytes.clear();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Running { child, lines })
    }

    fn kill(&mut self) {
        // It may have ended just now; either way it is gone after the wait.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().context("cannot wait for QEMU")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
