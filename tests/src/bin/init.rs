//! The first process of a test guest (`cargo xtask test`): it prepares a bare kernel for lastword, runs one program,
//! and ends the guest.
//!
//! Its arguments are a marker and a command. When the command is done, it writes a line with the marker and the exit
//! code to the console.
#![forbid(unsafe_code)]

fn main() {
    #[cfg(target_os = "linux")]
    guest::main();
}

#[cfg(target_os = "linux")]
mod guest {
    use std::{env, fs, io, process::Command};

    use anyhow::{Context as _, Result, bail};
    use nix::{
        mount::{MsFlags, mount},
        sys::{
            reboot::{RebootMode, reboot},
            termios::tcdrain,
            wait::{WaitStatus, wait},
        },
        unistd::{Pid, sethostname},
    };

    /// What is mounted: type of the file system, and place.
    const MOUNTS: [(&str, &str); 10] = [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
        ("cgroup2", "/sys/fs/cgroup"),
        ("bpf", "/sys/fs/bpf"),
        ("debugfs", "/sys/kernel/debug"),
        ("securityfs", "/sys/kernel/security"),
        ("tracefs", "/sys/kernel/tracing"),
    ];

    pub(super) fn main() {
        if std::process::id() != 1 {
            eprintln!("init: this is the first process of a test guest; run `cargo xtask test`");
            std::process::exit(2);
        }
        let mut arguments = env::args().skip(1);
        let marker = arguments.next().unwrap_or_default();
        let command: Vec<String> = arguments.collect();
        let code = set_up()
            .and_then(|()| run(&command))
            .unwrap_or_else(|error| {
                println!("init: {error:#}");
                255
            });
        println!("{marker} {code}");
        // The line must be transmitted before the machine ends. QEMU is told to exit when the machine reboots.
        let _ = tcdrain(io::stdout());
        let _ = reboot(RebootMode::RB_AUTOBOOT);
    }

    fn set_up() -> Result<()> {
        for (kind, place) in MOUNTS {
            mount(
                Some(kind),
                place,
                Some(kind),
                MsFlags::empty(),
                None::<&str>,
            )
            .with_context(|| format!("cannot mount {kind} on {place}"))?;
        }
        let cgroup = "/sys/fs/cgroup";
        for controller in
            fs::read_to_string(format!("{cgroup}/cgroup.controllers"))?.split_whitespace()
        {
            fs::write(
                format!("{cgroup}/cgroup.subtree_control"),
                format!("+{controller}"),
            )
            .with_context(|| format!("cannot enable the cgroup controller {controller}"))?;
        }
        fs::create_dir("/dev/pts").context("cannot make /dev/pts")?;
        mount(
            Some("devpts"),
            "/dev/pts",
            Some("devpts"),
            MsFlags::empty(),
            None::<&str>,
        )
        .context("cannot mount /dev/pts")?;
        // As on any machine that is up, there is always another cgroup. Otherwise the kernel would patch its own code
        // (static keys of the memory controller) for each cgroup that comes or goes, and QEMU's emulation of two
        // processors does not always survive that.
        fs::create_dir(format!("{cgroup}/system")).context("cannot make a cgroup")?;
        sethostname("guest")?;
        busybox(&["--install", "-s", "/bin"])?;
        busybox(&["ip", "link", "set", "lo", "up"])
    }

    fn busybox(arguments: &[&str]) -> Result<()> {
        let status = Command::new("/bin/busybox")
            .args(arguments)
            .status()
            .context("cannot start busybox")?;
        if !status.success() {
            bail!("busybox {}: {status}", arguments.join(" "));
        }
        Ok(())
    }

    /// Runs the command and returns its exit code, or 128 + n if signal n killed it. Meanwhile it reaps orphans.
    fn run(command: &[String]) -> Result<i32> {
        let [program, arguments @ ..] = command else {
            bail!("no command after `--` on the kernel's command line");
        };
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs([("HOME", "/root"), ("PATH", "/bin"), ("TERM", "dumb")])
            .envs([
                ("LASTWORD_BIN", "/bin/lastword"),
                ("LASTWORD_VICTIM", "/bin/victim"),
                ("LASTWORD_PRIVILEGED", "1"),
                ("LASTWORD_GUEST", "1"),
            ])
            .current_dir("/tmp")
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let child = Pid::from_raw(i32::try_from(child.id())?);
        loop {
            match wait()? {
                WaitStatus::Exited(pid, code) if pid == child => return Ok(code),
                WaitStatus::Signaled(pid, signal, _) if pid == child => {
                    return Ok(128 + signal as i32);
                }
                _ => {}
            }
        }
    }
}
