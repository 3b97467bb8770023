//! The lease of programs that outlive their agent: they record for as long as an agent keeps putting its end off.

use std::{io, time::Duration};

use agent_ebpf::wire;
use aya::maps::{Array, Map, MapData};

use super::sys::Plain;
use crate::host;

/// How often an agent puts the end off, as a part of the lease's length: every minute of ten.
const PART: u32 = 10;

/// When a lease of this length ends that begins now. Programs that end with their agent need none.
pub(super) fn until(length: Option<Duration>) -> u64 {
    length.map_or(u64::MAX, |length| {
        host::boottime().plus(nanoseconds(length)).0
    })
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The lease of programs that are pinned.
pub(super) struct Lease {
    map: Array<MapData, Plain<wire::Lease>>,
    now: wire::Lease,
    length: Duration,
}

impl Lease {
    pub(super) fn new(map: Map, length: Duration) -> io::Result<Self> {
        let map: Array<_, Plain<wire::Lease>> = map.try_into().map_err(io::Error::other)?;
        let Plain(now) = map.get(&0, 0).map_err(io::Error::other)?;
        Ok(Self { map, now, length })
    }

    /// The key of the records.
    pub(super) fn key(&self) -> u64 {
        self.now.key
    }

    /// How many messages without room an agent knows of.
    pub(super) fn lost(&self) -> u64 {
        self.now.lost
    }

    /// How long the end need not be put off.
    pub(super) fn rest(&self) -> Duration {
        let renewed = self.now.until.saturating_sub(nanoseconds(self.length));
        let due = renewed.saturating_add(nanoseconds(self.length / PART));
        Duration::from_nanos(due.saturating_sub(host::boottime().0))
    }

    /// Puts the end off. True if the lease had ended, so that some programs may have stopped.
    pub(super) fn renew(&mut self, lost: u64) -> io::Result<bool> {
        let had_ended = self.now.until < host::boottime().0;
        let now = wire::Lease {
            until: until(Some(self.length)),
            lost,
            ..self.now
        };
        self.map.set(0, Plain(now), 0).map_err(io::Error::other)?;
        self.now = now;
        Ok(had_ended)
    }
}
