//! What a block of events says about itself before anything is decompressed. The index repeats it.

use crate::layout::{MAX_EVENTS, take_u32, take_u64};
use crate::{BootTime, EventKind, varint};

/// What a block of events says about itself. Its sets are also the dictionaries of the block's columns, so no event of
/// the block has another kind or pid. Its times are what the writer claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockSummary {
    /// Position of the run in the capture as it was written, from 0.
    pub run: u32,
    /// Number of events.
    pub count: u32,
    /// Number of the first event; the others follow without gaps.
    pub first: u64,
    /// Earliest and latest time.
    pub time: (BootTime, BootTime),
    /// Kinds of the events, ascending.
    pub kinds: Vec<EventKind>,
    /// Pids of the events, ascending.
    pub pids: Vec<u32>,
}

impl BlockSummary {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40 + self.kinds.len() + 2 * self.pids.len());
        out.extend_from_slice(&self.run.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.time.0.0.to_le_bytes());
        out.extend_from_slice(&self.time.1.0.to_le_bytes());
        put_set(&mut out, self.kinds.iter().map(|kind| u64::from(kind.0)));
        put_set(&mut out, self.pids.iter().map(|&pid| u64::from(pid)));
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let run = take_u32(bytes)?;
        let count = take_u32(bytes)?;
        let first = take_u64(bytes)?;
        let time = (BootTime(take_u64(bytes)?), BootTime(take_u64(bytes)?));
        let sane = (1..=MAX_EVENTS).contains(&count)
            && first > 0
            && first.checked_add(u64::from(count)).is_some()
            && time.0 <= time.1;
        if !sane {
            return None;
        }
        let kinds = take_set(bytes, count, |kind| u16::try_from(kind).ok().map(EventKind))?;
        let pids = take_set(bytes, count, |pid| u32::try_from(pid).ok())?;
        Some(Self {
            run,
            count,
            first,
            time,
            kinds,
            pids,
        })
    }

    /// Number of the event after the last one.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

/// Appends an ascending set: its size, then the difference of each member to the one before.
fn put_set(out: &mut Vec<u8>, set: impl ExactSizeIterator<Item = u64>) {
    varint::put(out, set.len() as u64);
    let mut before = 0;
    for member in set {
        varint::put(out, member - before);
        before = member;
    }
}

/// Takes a set of 1 to `most` ascending members, each of which `member` accepts.
fn take_set<T>(bytes: &mut &[u8], most: u32, member: impl Fn(u64) -> Option<T>) -> Option<Vec<T>> {
    let count = varint::take(bytes)?;
    if count == 0 || count > u64::from(most) || count > bytes.len() as u64 {
        return None;
    }
    let mut set = Vec::with_capacity(count as usize);
    let mut before = 0u64;
    for index in 0..count {
        let difference = varint::take(bytes)?;
        if index > 0 && difference == 0 {
            return None;
        }
        before = before.checked_add(difference)?;
        set.push(member(before)?);
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> BlockSummary {
        BlockSummary {
            run: 2,
            count: 3,
            first: 17,
            time: (BootTime(5), BootTime(u64::MAX)),
            kinds: [0, 1, 65535].map(EventKind).to_vec(),
            pids: vec![7, u32::MAX],
        }
    }

    #[test]
    fn comes_back_and_is_refused_at_every_cut() {
        let bytes = summary().encode();
        assert_eq!(BlockSummary::decode(&bytes), Some(summary()));
        for end in 0..bytes.len() {
            assert_eq!(BlockSummary::decode(&bytes[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn a_set_is_not_larger_than_its_bytes_or_events() {
        let mut bytes = summary().encode();
        bytes.truncate(32);
        varint::put(&mut bytes, u64::MAX);
        assert_eq!(BlockSummary::decode(&bytes), None);
        assert_eq!(
            BlockSummary::decode(
                &BlockSummary {
                    count: 2,
                    ..summary()
                }
                .encode()
            ),
            None
        );
    }

    #[test]
    fn senseless_numbers_are_refused() {
        for wrong in [
            BlockSummary {
                count: 0,
                ..summary()
            },
            BlockSummary {
                count: MAX_EVENTS + 1,
                ..summary()
            },
            BlockSummary {
                first: 0,
                ..summary()
            },
            BlockSummary {
                first: u64::MAX,
                ..summary()
            },
            BlockSummary {
                time: (BootTime(2), BootTime(1)),
                ..summary()
            },
        ] {
            assert_eq!(BlockSummary::decode(&wrong.encode()), None, "{wrong:?}");
        }
    }
}
