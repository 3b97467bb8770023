//! Which sources know a thing at the moment, and since when none does.

use std::time::Duration;

/// The sides that may have seen a thing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Runtime,
    ApiServer,
}

#[derive(Default)]
pub(super) struct Presence {
    runtime: bool,
    api_server: bool,
    gone: Option<Duration>,
    seen: Duration,
}

impl Presence {
    pub(super) fn see(&mut self, by: By, now: Duration) {
        *self.side(by) = true;
        self.gone = None;
        self.seen = now;
    }

    /// For this side, the thing does not exist any more.
    pub(super) fn miss(&mut self, by: By, now: Duration) {
        *self.side(by) = false;
        if !self.runtime && !self.api_server && self.gone.is_none() {
            self.gone = Some(now);
        }
    }

    pub(super) fn gone_for(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.gone?))
    }

    /// If there are too many things, the lowest worth is dropped first: things that are gone, in the order in which
    /// they went, then those that were not reported for the longest time.
    pub(super) fn worth(&self) -> (bool, Duration) {
        (self.gone.is_none(), self.gone.unwrap_or(self.seen))
    }

    fn side(&mut self, by: By) -> &mut bool {
        match by {
            By::Runtime => &mut self.runtime,
            By::ApiServer => &mut self.api_server,
        }
    }
}
