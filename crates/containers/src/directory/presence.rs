//! Which sources know a thing at the moment, and since when none does.

use std::time::Duration;

/// By whom a thing was seen.
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

    /// It is not there any more, for this side.
    pub(super) fn miss(&mut self, by: By, now: Duration) {
        *self.side(by) = false;
        if !self.runtime && !self.api_server && self.gone.is_none() {
            self.gone = Some(now);
        }
    }

    pub(super) fn gone_for(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.gone?))
    }

    /// Lowest first is the order in which things are given up when there are too many: those that are gone, in the order they went, then
    /// those not heard of for longest.
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
