//! Architectures of guests, and what each is called where.

use anyhow::Result;
use clap::ValueEnum;

use crate::apt::{Bundle, Suite, Unpacked};

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// 64-bit x86
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit ARM
    Aarch64,
}

impl Arch {
    /// This machine's.
    pub(crate) const HERE: Arch = if cfg!(target_arch = "aarch64") {
        Arch::Aarch64
    } else {
        Arch::X86_64
    };

    /// What Rust and GNU call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }

    /// What Debian calls it.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
        }
    }

    /// Debian's QEMU that emulates it.
    pub(crate) fn qemu(self) -> Bundle {
        let (name, packages): (_, &[&str]) = match self {
            Arch::X86_64 => ("qemu", &["qemu-system-x86"]),
            Arch::Aarch64 => ("qemu-arm", &["qemu-system-arm"]),
        };
        Bundle {
            name,
            suite: Suite::Bookworm,
            packages,
            without: &["*/share/doc/*", "*/share/locale/*"],
        }
    }

    /// Debian's C compiler and linker for it, to be used on the other one.
    ///
    /// # Errors
    /// As [`Bundle::get`].
    pub(crate) fn compiler(self) -> Result<Unpacked> {
        let (name, packages): (_, &[&str]) = match self {
            Arch::X86_64 => (
                "gcc-x86-64",
                &["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"],
            ),
            Arch::Aarch64 => (
                "gcc-aarch64",
                &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
            ),
        };
        let bundle = Bundle {
            name,
            suite: Suite::Bookworm,
            packages,
            without: &["*/share/doc/*", "*/share/locale/*"],
        };
        // The machine's own gcc is of another version.
        bundle.get_whole(&["libc6", "libgcc-s1", "libstdc++6"])
    }

    /// QEMU's options for a machine like those in use.
    pub(crate) fn machine(self) -> &'static [&'static str] {
        match self {
            Arch::X86_64 => &["-cpu", "max"],
            // Pointers are signed by a simple hash: emulating the real one takes half of the time.
            Arch::Aarch64 => &["-machine", "virt", "-cpu", "max,pauth-impdef=on"],
        }
    }

    /// Parameters of the guest's kernel: its console is the first serial port. On x86 it tries its timer for a moment
    /// while it boots, and panics where a busy machine gives QEMU no time in that moment.
    pub(crate) fn parameters(self) -> &'static str {
        match self {
            Arch::X86_64 => "console=ttyS0 no_timer_check",
            Arch::Aarch64 => "console=ttyAMA0",
        }
    }
}
