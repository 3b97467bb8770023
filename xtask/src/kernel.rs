//! Kernels to test on, from Debian's packages.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    apt::{Bundle, Suite},
    arch::Arch,
};

/// Where kernels come from, oldest first: 6.1, 6.12, and what is newest (7.2 in November 2026).
pub(crate) const KERNELS: [Source; 3] = [
    Source("linux-bookworm", Suite::Bookworm),
    Source("linux-trixie", Suite::Trixie),
    Source("linux-sid", Suite::Sid),
];

/// The name of the kernel's folder in the cache, and the suite that it is of.
#[derive(Clone, Copy)]
pub(crate) struct Source(&'static str, pub(crate) Suite);

/// A kernel that can be booted.
pub(crate) struct Kernel {
    /// What `uname -r` says on it.
    pub(crate) release: String,
    /// Its compressed image.
    pub(crate) image: PathBuf,
}

impl Kernel {
    /// Gives a kernel for an architecture, fetching it if it is not in the cache yet.
    ///
    /// # Errors
    /// The package cannot be fetched or holds no kernel.
    pub(crate) fn get(Source(name, suite): Source, arch: Arch) -> Result<Kernel> {
        let bundle = Bundle {
            name,
            suite,
            packages: match arch {
                Arch::X86_64 => &["linux-image-cloud-amd64"],
                Arch::Aarch64 => &["linux-image-cloud-arm64"],
            },
            without: &["*.ko", "*.ko.xz", "*/share/doc/*"],
        };
        let root = bundle.get_for(arch)?.root;
        find(&root).with_context(|| format!("no kernel in {}", root.display()))
    }
}

/// Finds `boot/vmlinuz-RELEASE`, where Debian 13 and older have it, or `usr/lib/modules/RELEASE/vmlinuz`.
fn find(root: &Path) -> Option<Kernel> {
    let entries = |folder: &str| {
        fs::read_dir(root.join(folder))
            .into_iter()
            .flatten()
            .flatten()
    };
    let in_boot = entries("boot").filter_map(|entry| {
        let release = entry
            .file_name()
            .to_str()?
            .strip_prefix("vmlinuz-")?
            .to_owned();
        Some(Kernel {
            release,
            image: entry.path(),
        })
    });
    let in_modules = entries("usr/lib/modules").filter_map(|entry| {
        let release = entry.file_name().to_str()?.to_owned();
        Some(Kernel {
            release,
            image: entry.path().join("vmlinuz"),
        })
    });
    in_boot
        .chain(in_modules)
        .find(|kernel| kernel.image.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_of_kernel_packages_are_known() {
        let root = std::env::temp_dir().join(format!("xtask-kernel-{}", std::process::id()));
        for (old, folder, file) in [
            (true, "boot", "vmlinuz-6.1.0-1-cloud-amd64"),
            (false, "usr/lib/modules/7.2.1-cloud-amd64", "vmlinuz"),
        ] {
            fs::create_dir_all(root.join(folder)).unwrap();
            assert!(find(&root).is_none());
            fs::write(root.join(folder).join(file), "").unwrap();
            let kernel = find(&root).unwrap();
            assert_eq!(kernel.image, root.join(folder).join(file));
            let release = if old {
                "6.1.0-1-cloud-amd64"
            } else {
                "7.2.1-cloud-amd64"
            };
            assert_eq!(kernel.release, release);
            fs::remove_dir_all(&root).unwrap();
        }
    }
}
