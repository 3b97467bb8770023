//! Addresses to which processes bound their sockets.

use capture_format::{BootTime, Event, EventKind};

use events::decode::SockAddr;

/// One bind(2) that succeeded.
#[derive(Clone, Debug)]
pub struct Bind {
    /// Event number.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds of that event.
    pub time: BootTime,
    /// The process.
    pub pid: u32,
    /// The address.
    pub address: SockAddr,
}

impl Bind {
    pub(super) fn of(number: u64, event: &Event) -> Option<Self> {
        let binds = event.kind == EventKind::BIND && event.ret == 0;
        let address = SockAddr::parse(&event.name).filter(|_| binds)?;
        Some(Self {
            event: number,
            time: event.time,
            pid: event.pid,
            address: address.canonical(),
        })
    }
}
