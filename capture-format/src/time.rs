//! The two clocks of a capture. Both count nanoseconds, so only their types keep them apart.

use serde::{Deserialize, Serialize};

use crate::Host;

/// A time of CLOCK_BOOTTIME, the clock of events: nanoseconds since the machine started. Nobody can set this clock.
///
/// [`Host::time_of_day`] says which time of day that was.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BootTime(pub u64);

impl BootTime {
    /// Nanoseconds from `earlier` to this time; 0 if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Nanoseconds from `origin` to this time; negative if `origin` is later.
    #[must_use]
    pub fn offset_from(self, origin: Self) -> i128 {
        i128::from(self.0) - i128::from(origin.0)
    }

    /// The time this many nanoseconds later; the last time of the clock if there is none.
    #[must_use]
    pub const fn plus(self, nanoseconds: u64) -> Self {
        Self(self.0.saturating_add(nanoseconds))
    }

    /// Nanoseconds from `earlier` to this time; `None` if `earlier` is later.
    #[must_use]
    pub const fn checked_since(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
}

/// A time of day, CLOCK_REALTIME: nanoseconds since the Unix epoch. Runtimes and Kubernetes give such times, and
/// captures are dated by them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WallTime(pub u64);

impl WallTime {
    /// Nanoseconds from `earlier` to this time; 0 if `earlier` is later, or the clock was set back between them.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Host {
    /// The time of day of an event, in nanoseconds since the Unix epoch. A file may claim any offset between its
    /// clocks, so the time may lie outside of [`WallTime`].
    #[must_use]
    pub fn time_of_day(&self, time: BootTime) -> i128 {
        i128::from(time.0) + i128::from(self.clock_offset)
    }

    /// The same as a [`WallTime`], if it is one.
    #[must_use]
    pub const fn wall_time(&self, time: BootTime) -> Option<WallTime> {
        match time.0.checked_add_signed(self.clock_offset) {
            Some(nanoseconds) => Some(WallTime(nanoseconds)),
            None => None,
        }
    }
}
