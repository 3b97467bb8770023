//! This machine, as a capture describes it, and its clocks.

use std::time::Duration;

use capture_format::{BootTime, Host, WallTime};
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
    realtime().0 as i64 - boottime().0 as i64
}

/// Time since the machine started.
pub(crate) fn uptime() -> Duration {
    Duration::from_nanos(boottime().0)
}

/// An id that is different for each start of the machine (proc_sys_kernel(5)); empty if /proc does not have it.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// CLOCK_BOOTTIME: the clock of events.
pub(crate) fn boottime() -> BootTime {
    BootTime(nanoseconds(ClockId::CLOCK_BOOTTIME))
}

/// CLOCK_REALTIME: the time of day.
pub(crate) fn realtime() -> WallTime {
    WallTime(nanoseconds(ClockId::CLOCK_REALTIME))
}

fn nanoseconds(clock: ClockId) -> u64 {
    clock_gettime(clock)
        .map(|time| Duration::from(time).as_nanos() as u64)
        .unwrap_or_default()
}
