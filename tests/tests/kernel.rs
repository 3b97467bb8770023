//! Tests that need root and a kernel: ignored unless `LASTWORD_PRIVILEGED=1`, run by `cargo xtask test`.

use std::{env, path::Path, process::ExitCode};

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let unprivileged = env::var_os("LASTWORD_PRIVILEGED").is_none_or(|value| value != "1");
    let trials = vec![
        Trial::test("kernel_has_btf", || {
            let btf = Path::new("/sys/kernel/btf/vmlinux");
            if btf.exists() {
                Ok(())
            } else {
                Err("no /sys/kernel/btf/vmlinux".into())
            }
        })
        .with_ignored_flag(unprivileged),
        #[cfg(target_os = "linux")]
        Trial::test(
            "nginx_cannot_resolve_its_upstream",
            scene::nginx_cannot_resolve_its_upstream,
        )
        .with_ignored_flag(unprivileged || env::var_os("LASTWORD_NGINX").is_none()),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

#[cfg(target_os = "linux")]
mod scene {
    use std::{env, path::Path, process::Command};

    use lastword_tests::scene::{NGINX, Scene};
    use libtest_mimic::Failed;

    pub(super) fn nginx_cannot_resolve_its_upstream() -> Result<(), Failed> {
        let hosts = std::fs::read("/etc/hosts").ok();
        let scene = Scene {
            packages: env::var_os("LASTWORD_NGINX")
                .ok_or("no LASTWORD_NGINX")?
                .into(),
            kept: Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        };
        let (output, log) = scene.play(|| {
            let output = Command::new(NGINX[0]).args(&NGINX[1..]).output()?;
            let log = std::fs::read_to_string("/var/log/nginx/error.log").unwrap_or_default();
            Ok((output, log))
        })?;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            log.contains("[emerg]") && log.contains("host not found in upstream \"flask\""),
            "{log}"
        );
        assert_eq!(
            hosts,
            std::fs::read("/etc/hosts").ok(),
            "the machine's own files stay"
        );
        Ok(())
    }
}
