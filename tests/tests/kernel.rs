//! Tests that need root and a kernel: ignored unless `LASTWORD_PRIVILEGED=1`, run by `cargo xtask test`.

use std::{env, path::Path, process::ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let ignored = env::var_os("LASTWORD_PRIVILEGED").is_none_or(|value| value != "1");
    let trials = vec![Trial::test("kernel_has_btf", kernel_has_btf).with_ignored_flag(ignored)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn kernel_has_btf() -> Result<(), Failed> {
    if Path::new("/sys/kernel/btf/vmlinux").exists() {
        Ok(())
    } else {
        Err("no /sys/kernel/btf/vmlinux".into())
    }
}
