//! How often something may be done: so many times in any minute, all at once or spread over it (a token bucket).

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Seconds.
const MINUTE: f64 = 60.0;

/// See the module.
#[derive(Debug)]
pub(crate) struct Allowance {
    per_minute: NonZeroU32,
    left: Mutex<Left>,
}

#[derive(Debug)]
struct Left {
    times: f64,
    /// When that was so.
    at: Option<Instant>,
}

impl Allowance {
    pub(crate) fn new(per_minute: NonZeroU32) -> Self {
        let left = Left {
            times: per_minute.get().into(),
            at: None,
        };
        Self {
            per_minute,
            left: Mutex::new(left),
        }
    }

    pub(crate) fn per_minute(&self) -> NonZeroU32 {
        self.per_minute
    }

    /// Gives one time back that was not used after all.
    pub(crate) fn give_back(&self) {
        let most = f64::from(self.per_minute.get());
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.times = (left.times + 1.0).min(most);
    }

    /// Takes one time from what is left. False if nothing is left.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let most = f64::from(self.per_minute.get());
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let since = left
            .at
            .map_or(0.0, |at| now.duration_since(at).as_secs_f64());
        left.times = (left.times + since * most / MINUTE).min(most);
        left.at = Some(now);
        let is_left = left.times >= 1.0;
        if is_left {
            left.times -= 1.0;
        }
        is_left
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_taken_comes_back_within_a_minute_and_no_more() {
        let allowance = Allowance::new(NonZeroU32::new(6).unwrap());
        let start = Instant::now();
        let taken = |after: u64| {
            let now = start + Duration::from_secs(after);
            (0..100).filter(|_| allowance.take(now)).count()
        };
        assert_eq!(taken(0), 6);
        assert_eq!(taken(9), 0);
        assert_eq!(taken(10), 1);
        assert_eq!(taken(40), 3);
        assert_eq!(taken(4000), 6);
    }
}
