//! How many rings there should be: a pure decision, from the rings in use, the free rings and the kept runs.

use agent_ebpf::wire::RINGS;

use super::ring::RING_MEMORY;

/// How much memory recording may use, and how many free rings should be ready.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes for rings and kept runs together.
    pub bytes: u64,
    /// If fewer free rings than this are left, new ones are made. So a burst of this many container starts loses
    /// nothing.
    pub ready: usize,
}

impl Budget {
    /// The budget of a node: an eighth of the memory is kept free for containers that start. When nodes start, or pods
    /// of a job, a hundred containers start at once, each with a pause container.
    #[must_use]
    pub fn of_node(bytes: u64) -> Self {
        Self {
            bytes,
            ready: ((bytes / RING_MEMORY / 8) as usize).max(8),
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            ready: 4,
        }
    }
}

/// Rings and memory at this moment, for people and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// Rings that wait for a container, including those to which programs may still be writing.
    pub free: usize,
    /// Rings that belong to a container.
    pub used: usize,
    /// Bytes of kept runs, as set by [`Recorder::set_kept`](super::Recorder::set_kept).
    pub kept_bytes: u64,
    /// Bytes of all rings.
    pub ring_bytes: u64,
    /// Rings that may still be made within the budget.
    pub affordable: usize,
    /// Containers that could not be given a ring or a place in the table, since the start.
    pub refused: u64,
}

/// How many rings are made together at most. Several rings take little longer than one, but the caller waits for all of
/// them.
const TOGETHER: usize = 16;

/// What to do with the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Make this many rings.
    Add(usize),
    /// Free the memory of one free ring.
    Remove,
    /// Change nothing.
    Keep,
}

impl Budget {
    /// Decides the next step. With fewer than `ready` free rings (or an eighth of those in use, if that is more), the
    /// pool is filled up to twice that number. Above three times that number it shrinks. Rings in use are never
    /// touched. `filling` says that the last decision was to add.
    pub(super) fn change(&self, ring_bytes: u64, stock: &Stock, filling: bool) -> Change {
        let low = self.ready.max(stock.used / 8);
        let most = self.most(ring_bytes, stock.kept_bytes);
        let total = stock.free + stock.used;
        if stock.free > 0 && (total > most || stock.free > 3 * low) {
            return Change::Remove;
        }
        let enough = if filling { 2 * low } else { low };
        if stock.free < enough && total < most {
            Change::Add((2 * low - stock.free).min(most - total).min(TOGETHER))
        } else {
            Change::Keep
        }
    }

    /// How many rings the budget allows if kept runs use this many bytes.
    pub(super) fn most(&self, ring_bytes: u64, kept_bytes: u64) -> usize {
        ((self.bytes.saturating_sub(kept_bytes) / ring_bytes) as usize).min(RINGS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: u64 = 1 << 20;

    fn change(free: usize, used: usize, kept_bytes: u64, filling: bool) -> Change {
        let stock = Stock {
            free,
            used,
            kept_bytes,
            ..Stock::default()
        };
        let budget = Budget {
            bytes: 64 << 20,
            ready: 4,
        };
        budget.change(RING, &stock, filling)
    }

    /// How many free rings there are when nothing more is to be done.
    fn settled(mut free: usize, used: usize, kept_bytes: u64) -> usize {
        let mut filling = false;
        for _ in 0..100 {
            let change = change(free, used, kept_bytes, filling);
            match change {
                Change::Add(rings) => free += rings,
                Change::Remove => free -= 1,
                Change::Keep => return free,
            }
            filling = matches!(change, Change::Add(_));
        }
        panic!("still changing at {free} free rings");
    }

    #[test]
    fn fills_the_pool_before_it_is_empty() {
        assert_eq!(settled(0, 0, 0), 8);
        assert_eq!(settled(3, 10, 0), 8);
        assert_eq!(settled(4, 10, 0), 4);
        assert_eq!(settled(4, 48, 0), 12);
    }

    #[test]
    fn makes_several_at_once_and_never_too_many() {
        assert_eq!(change(0, 0, 0, false), Change::Add(8));
        assert_eq!(change(7, 0, 0, true), Change::Add(1));
        assert_eq!(change(0, 62, 0, false), Change::Add(2));
        let stock = Stock::default();
        let node = Budget::of_node(256 << 20);
        assert_eq!(node.change(RING, &stock, false), Change::Add(TOGETHER));
    }

    #[test]
    fn never_goes_beyond_the_budget() {
        assert_eq!(settled(0, 62, 0), 2);
        assert_eq!(settled(0, 64, 0), 0);
        assert_eq!(settled(0, 60, 4 << 20), 0);
    }

    #[test]
    fn gives_memory_back() {
        assert_eq!(settled(20, 0, 0), 12);
        // Kept runs have taken the memory of the free rings.
        assert_eq!(settled(8, 50, 10 << 20), 4);
        assert_eq!(settled(2, 60, 10 << 20), 0);
    }
}
