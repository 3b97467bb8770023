//! How many rings there should be: a pure decision over what is used, free and kept.

use agent_ebpf::wire::RINGS;

/// What a node may spend on recording, and how many free rings it should have ready.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes for rings and kept runs together.
    pub bytes: u64,
    /// Free rings below which new ones are made: a burst of this many container starts loses nothing.
    pub ready: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            ready: 4,
        }
    }
}

/// What there is of rings and memory, for people and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// Rings that wait for a container, among them those that writers may still be leaving.
    pub free: usize,
    /// Rings that belong to a container.
    pub used: usize,
    /// Bytes of kept runs, as told by [`Recorder::set_kept`](super::Recorder::set_kept).
    pub kept_bytes: u64,
    /// Bytes of all rings.
    pub ring_bytes: u64,
    /// Bytes that rings and kept runs may take.
    pub budget_bytes: u64,
    /// Cgroups that could not be given a ring or a place in the table, since the start.
    pub refused: u64,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Make this many rings.
    Add(usize),
    /// Give this many free rings' memory back.
    Remove(usize),
    /// Nothing.
    Keep,
}

impl Budget {
    /// Decides. The pool is kept between `ready` (or an eighth of the rings in use, if more) and three times that;
    /// rings in use are never touched.
    pub(super) fn change(&self, ring_bytes: u64, stock: &Stock) -> Change {
        let low = self.ready.max(stock.used / 8);
        let affordable = (self.bytes.saturating_sub(stock.kept_bytes) / ring_bytes) as usize;
        let affordable = affordable.min(RINGS);
        let total = stock.free + stock.used;
        if total > affordable && stock.free > 0 {
            return Change::Remove((total - affordable).min(stock.free));
        }
        if stock.free > 3 * low {
            return Change::Remove(stock.free - 2 * low);
        }
        let missing = if stock.free < low {
            2 * low - stock.free
        } else {
            0
        };
        match missing.min(affordable.saturating_sub(total)) {
            0 => Change::Keep,
            count => Change::Add(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: u64 = 1 << 20;

    fn change(free: usize, used: usize, kept_bytes: u64) -> Change {
        Budget {
            bytes: 64 << 20,
            ready: 4,
        }
        .change(
            RING,
            &Stock {
                free,
                used,
                kept_bytes,
                ..Stock::default()
            },
        )
    }

    #[test]
    fn fills_the_pool_before_it_is_empty() {
        assert_eq!(change(0, 0, 0), Change::Add(8));
        assert_eq!(change(3, 10, 0), Change::Add(5));
        assert_eq!(change(4, 10, 0), Change::Keep);
        assert_eq!(change(4, 48, 0), Change::Add(8));
    }

    #[test]
    fn never_goes_beyond_the_budget() {
        assert_eq!(change(0, 62, 0), Change::Add(2));
        assert_eq!(change(0, 64, 0), Change::Keep);
        assert_eq!(change(0, 60, 4 << 20), Change::Keep);
    }

    #[test]
    fn gives_memory_back() {
        assert_eq!(change(13, 0, 0), Change::Remove(5));
        // Kept runs have taken what the free rings have.
        assert_eq!(change(8, 50, 10 << 20), Change::Remove(4));
        assert_eq!(change(2, 60, 10 << 20), Change::Remove(2));
    }

    #[test]
    fn settles() {
        let (mut free, used) = (0usize, 20);
        for _ in 0..10 {
            match change(free, used, 0) {
                Change::Add(count) => free += count,
                Change::Remove(count) => free -= count,
                Change::Keep => return,
            }
        }
        panic!("still changing at {free} free rings");
    }
}
