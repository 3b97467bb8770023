//! Whether this machine can record, and why not.

use std::{fs, path::Path, process::Command};

use crate::step;

/// Why neither the scene nor the kernel tests can run here, as far as is known without trying; none if nothing is
/// known against it.
pub(crate) fn obstacle() -> Option<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let found = Machine {
        status: read("/proc/self/status"),
        release: read("/proc/sys/kernel/osrelease"),
        mounts: read("/proc/self/mounts"),
        lockdown: read("/sys/kernel/security/lockdown"),
        has_btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
    };
    found.obstacle()
}

/// Why a lastword that was built does not record here: what it says itself when it is tried; none if it does.
pub(crate) fn refusal(lastword: &Path) -> Option<String> {
    let capture = std::env::temp_dir().join(format!("xtask-trial-{}.lwcap", std::process::id()));
    let mut trial = Command::new(lastword);
    trial
        .args(["run", "--as-root", "--restarts", "1", "-o"])
        .arg(&capture)
        .args(["--", "true"]);
    let tried = step::quiet(&mut trial, "");
    // There is none where it was refused.
    let _ = fs::remove_file(&capture);
    let error = format!("{:#}", tried.err()?);
    let said = error
        .lines()
        .rev()
        .map(|line| line.trim_start_matches([' ', '|']));
    let mut said = said.filter(|line| !line.is_empty());
    Some(said.next().unwrap_or("lastword fails").to_owned())
}

/// What the kernel reports about itself and about this process.
struct Machine {
    status: String,
    release: String,
    mounts: String,
    lockdown: String,
    has_btf: bool,
}

/// Number of CAP_SYS_ADMIN, which mounts and namespaces need (capabilities(7)).
const SYS_ADMIN: u32 = 21;

impl Machine {
    fn obstacle(&self) -> Option<String> {
        let field = |name: &str| {
            let mut lines = self.status.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(line.trim())
        };
        let is_root = field("Uid").is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"));
        let capabilities = field("CapEff").and_then(|mask| u64::from_str_radix(mask, 16).ok());
        let may_mount = capabilities.is_some_and(|mask| mask & (1 << SYS_ADMIN) != 0);
        let mut version = self.release.split(|c: char| !c.is_ascii_digit());
        let mut number = || {
            version
                .next()
                .and_then(|it| it.parse::<u32>().ok())
                .unwrap_or(0)
        };
        let version = (number(), number());
        let has_cgroups = self
            .mounts
            .lines()
            .any(|line| line.split(' ').nth(2) == Some("cgroup2"));
        Some(match () {
            () if !is_root => "this is not root".to_owned(),
            () if !may_mount => "this is root without CAP_SYS_ADMIN, as in a container".to_owned(),
            () if version < (5, 15) => {
                format!("Linux {} is older than 5.15", self.release.trim())
            }
            () if !self.has_btf => "the kernel has no BTF (/sys/kernel/btf/vmlinux)".to_owned(),
            () if self.lockdown.contains("[confidentiality]") => {
                "the kernel is locked down (lockdown=confidentiality)".to_owned()
            }
            () if !has_cgroups => "cgroup v2 is not mounted".to_owned(),
            () => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn able() -> Machine {
        Machine {
            status: "Name:\tx\nUid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n".into(),
            release: "6.1.0-1-cloud-amd64\n".into(),
            mounts: "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n".into(),
            lockdown: "[none] integrity confidentiality\n".into(),
            has_btf: true,
        }
    }

    #[test]
    fn what_is_in_the_way_is_told() {
        assert_eq!(able().obstacle(), None);
        let user = "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\n";
        let container = "Uid:\t0\t0\t0\t0\nCapEff:\t00000000a80425fb\n";
        type Change<'a> = &'a dyn Fn(&mut Machine);
        let cases: [(&str, Change<'_>); 6] = [
            ("not root", &|it| it.status = user.into()),
            ("CAP_SYS_ADMIN", &|it| it.status = container.into()),
            ("5.10.0 is older", &|it| it.release = "5.10.0\n".into()),
            ("BTF", &|it| it.has_btf = false),
            ("locked down", &|it| {
                it.lockdown = "none integrity [confidentiality]".into();
            }),
            ("cgroup v2", &|it| it.mounts.clear()),
        ];
        for (expected, change) in cases {
            let mut machine = able();
            change(&mut machine);
            let told = machine.obstacle().unwrap_or_default();
            assert!(told.contains(expected), "{expected}: {told}");
        }
    }
}
