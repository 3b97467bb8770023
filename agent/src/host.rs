//! This machine, as a capture describes it, and its clocks.

use std::time::Duration;

use capture_format::Host;
use nix::time::{ClockId, clock_gettime};

/// Describes this machine now.
pub(crate) fn host() -> Host {
    let name = nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let (kernel, arch) = nix::sys::utsname::uname()
        .map(|uname| {
            (
                uname.release().to_string_lossy().into_owned(),
                uname.machine().to_string_lossy().into_owned(),
            )
        })
        .unwrap_or_default();
    Host {
        name,
        kernel,
        arch,
        clock_offset: clock_offset(),
    }
}

/// CLOCK_REALTIME minus CLOCK_BOOTTIME, in nanoseconds.
pub(crate) fn clock_offset() -> i64 {
    realtime() as i64 - boottime() as i64
}

/// Time since the machine started.
pub(crate) fn uptime() -> Duration {
    Duration::from_nanos(boottime())
}

/// An id that is different for each start of the machine (proc_sys_kernel(5)); empty if /proc does not have it.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// CLOCK_BOOTTIME in nanoseconds: the clock of events.
pub(crate) fn boottime() -> u64 {
    nanoseconds(ClockId::CLOCK_BOOTTIME)
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn realtime() -> u64 {
    nanoseconds(ClockId::CLOCK_REALTIME)
}

fn nanoseconds(clock: ClockId) -> u64 {
    clock_gettime(clock)
        .map(|time| Duration::from(time).as_nanos() as u64)
        .unwrap_or_default()
}
