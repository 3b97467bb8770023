//! Flags of open(2) by name. Four of them have other numbers on aarch64 than on x86_64
//! (`arch/arm64/include/uapi/asm/fcntl.h` and `include/uapi/asm-generic/fcntl.h`).

use std::fmt::Write;

/// Close on exec; the same number on every architecture that lastword reads.
pub const O_CLOEXEC: i64 = 0o2_000_000;

const COMMON: &[(i64, &str)] = &[
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o20_000, "O_ASYNC"),
    (0o1_000_000, "O_NOATIME"),
    (O_CLOEXEC, "O_CLOEXEC"),
    (0o10_000_000, "O_PATH"),
];
const X86_64: &[(i64, &str)] = &[
    (0o40_000, "O_DIRECT"),
    (0o100_000, "O_LARGEFILE"),
    (0o200_000, "O_DIRECTORY"),
    (0o400_000, "O_NOFOLLOW"),
];
const AARCH64: &[(i64, &str)] = &[
    (0o40_000, "O_DIRECTORY"),
    (0o100_000, "O_NOFOLLOW"),
    (0o200_000, "O_DIRECT"),
    (0o400_000, "O_LARGEFILE"),
];
const O_DSYNC: i64 = 0o10_000;
const O_SYNC: i64 = 0o4_010_000;
const O_TMPFILE_BIT: i64 = 0o20_000_000;

/// O_DIRECTORY of an architecture; 0 if unknown.
pub fn o_directory(arch: &str) -> i64 {
    let named = |&&(_, name): &&(i64, &str)| name == "O_DIRECTORY";
    own(arch).iter().find(named).map_or(0, |&(bit, _)| bit)
}

/// The flags whose numbers differ between architectures.
fn own(arch: &str) -> &'static [(i64, &'static str)] {
    match arch {
        "x86_64" => X86_64,
        "aarch64" => AARCH64,
        _ => &[],
    }
}

/// Flags as strace(1) writes them: `O_WRONLY|O_CREAT|O_APPEND`; bits without a name in hexadecimal.
///
/// `arch` is [`capture_format::Host::arch`]. If it is not one of the two known architectures, the bits that differ are
/// written as numbers.
#[must_use]
pub fn open_flags(flags: i64, arch: &str) -> String {
    let mut text = String::new();
    push_open_flags(&mut text, flags, arch);
    text
}

/// Appends the text of [`open_flags`].
pub fn push_open_flags(text: &mut String, flags: i64, arch: &str) {
    text.push_str(match flags & 3 {
        0 => "O_RDONLY",
        1 => "O_WRONLY",
        2 => "O_RDWR",
        _ => "O_ACCMODE",
    });
    let mut rest = flags & !3;
    let mut take = |bits: i64, name: &str| {
        if rest & bits == bits {
            rest &= !bits;
            text.push('|');
            text.push_str(name);
        }
    };
    if o_directory(arch) != 0 {
        take(O_TMPFILE_BIT | o_directory(arch), "O_TMPFILE");
    }
    take(O_SYNC, "O_SYNC");
    take(O_DSYNC, "O_DSYNC");
    for &(bits, name) in COMMON.iter().chain(own(arch)) {
        take(bits, name);
    }
    if rest != 0 {
        let _ = write!(text, "|{rest:#x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_by_architecture() {
        assert_eq!(
            open_flags(0o2_200_000, "x86_64"),
            "O_RDONLY|O_CLOEXEC|O_DIRECTORY"
        );
        assert_eq!(
            open_flags(0o2_040_000, "aarch64"),
            "O_RDONLY|O_CLOEXEC|O_DIRECTORY"
        );
        assert_eq!(
            open_flags(0o2_040_000, "riscv64"),
            "O_RDONLY|O_CLOEXEC|0x4000"
        );
    }

    #[test]
    fn flags_made_of_several_bits_are_named_once() {
        assert_eq!(open_flags(0o4_010_001, "x86_64"), "O_WRONLY|O_SYNC");
        assert_eq!(open_flags(0o20_200_002, "x86_64"), "O_RDWR|O_TMPFILE");
        assert_eq!(open_flags(0o2101, "x86_64"), "O_WRONLY|O_CREAT|O_APPEND");
    }
}
