//! Plays the scene of `cargo xtask demo` in a guest: it records nginx with the guest's lastword, and hands the capture
//! over.
//!
//! Its arguments are those of `lastword run` up to `--`. The capture goes to the guest's second serial port as it is,
//! because that needs no driver that Debian builds as a module.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    match scene::main() {
        Ok(()) => return std::process::ExitCode::SUCCESS,
        Err(error) => eprintln!("scene: {error:#}"),
    }
    std::process::ExitCode::FAILURE
}

#[cfg(target_os = "linux")]
mod scene {
    use std::{
        env,
        fs::{self, File},
        io::Write as _,
        process::Command,
    };

    use anyhow::{Context as _, Result, ensure};
    use lastword_tests::scene::{NGINX, play_on_this_machine};
    use nix::sys::termios::{SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr};

    const CAPTURE: &str = "/tmp/nginx.lwcap";
    const PORT: &str = "/dev/ttyS1";

    pub(super) fn main() -> Result<()> {
        ensure!(
            env::var_os("LASTWORD_GUEST").is_some(),
            "this is for a guest, whose files it changes; run `cargo xtask demo`"
        );
        let status = play_on_this_machine(|| {
            let mut command = Command::new("/bin/lastword");
            command
                .args(env::args_os().skip(1))
                .args(["-o", CAPTURE, "--"])
                .args(NGINX)
                .env("PATH", "/usr/sbin:/usr/bin:/bin");
            command.status().context("cannot start lastword")
        })?;
        let capture =
            fs::read(CAPTURE).with_context(|| format!("lastword ({status}) wrote no capture"))?;
        let mut port = File::options()
            .write(true)
            .open(PORT)
            .with_context(|| format!("cannot open {PORT}"))?;
        let mut settings = tcgetattr(&port)?;
        cfmakeraw(&mut settings);
        tcsetattr(&port, SetArg::TCSANOW, &settings)?;
        port.write_all(&capture)?;
        tcdrain(&port)?;
        Ok(())
    }
}
