//! Log lines that repeat: the first ones are written, the others are counted and reported together.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// How many lines one place of the program may log in a window. If more happens, the lines are only counted.
const LINES: u32 = 30;
const WINDOW: Duration = Duration::from_secs(30);

/// Leaves out repeated lines, except lines for debugging.
#[derive(Default)]
pub(super) struct Sparing(Mutex<HashMap<Identifier, Said>>);

/// What one place of the program has logged.
struct Said {
    since: Instant,
    lines: u32,
    left_out: u64,
    /// The text of one of the lines that were left out.
    like: String,
    metadata: &'static Metadata<'static>,
}

/// Lines of one kind that were left out.
pub(super) struct LeftOut {
    pub(super) lines: u64,
    /// The message of one of them.
    pub(super) like: String,
    pub(super) target: &'static str,
    pub(super) level: Level,
}

impl Sparing {
    fn said(&self) -> MutexGuard<'_, HashMap<Identifier, Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allows(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO {
            return true;
        }
        let mut all = self.said();
        let said = all.entry(metadata.callsite()).or_insert_with(|| Said {
            since: now,
            lines: 0,
            left_out: 0,
            like: String::new(),
            metadata,
        });
        if now.duration_since(said.since) >= WINDOW {
            (said.since, said.lines) = (now, 0);
        }
        if said.lines < LINES {
            said.lines += 1;
            return true;
        }
        if said.left_out == 0 {
            let mut message = Message::default();
            event.record(&mut message);
            said.like = message.0;
        }
        said.left_out += 1;
        false
    }

    /// What was left out since the last call.
    pub(super) fn left_out(&self) -> Vec<LeftOut> {
        let mut all = self.said();
        let some = all.values_mut().filter(|said| said.left_out > 0);
        some.map(|said| LeftOut {
            lines: std::mem::take(&mut said.left_out),
            like: std::mem::take(&mut said.like),
            target: said.metadata.target(),
            level: *said.metadata.level(),
        })
        .collect()
    }
}

impl<S: Subscriber> Layer<S> for &'static Sparing {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        self.allows(event, Instant::now())
    }
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Counts the records that it gets.
    struct Counting(&'static Mutex<u32>);

    impl<S: Subscriber> Layer<S> for Counting {
        fn on_event(&self, _event: &Event<'_>, _context: Context<'_, S>) {
            *self.0.lock().unwrap() += 1;
        }
    }

    #[test]
    fn what_repeats_is_counted_and_what_is_said_once_is_not() {
        let sparing: &'static Sparing = Box::leak(Box::default());
        let written: &'static Mutex<u32> = Box::leak(Box::default());
        let subscriber = tracing_subscriber::registry()
            .with(sparing)
            .with(Counting(written));
        tracing::subscriber::with_default(subscriber, || {
            for container in 0..1000 {
                tracing::warn!(container, "a container is not recorded");
                tracing::debug!(container, "in detail");
            }
            tracing::info!("another thing");
        });
        assert_eq!(*written.lock().unwrap(), LINES + 1000 + 1);
        let left_out = sparing.left_out();
        assert_eq!(left_out.len(), 1);
        assert_eq!(left_out[0].lines, 1000 - u64::from(LINES));
        assert_eq!(left_out[0].like, "a container is not recorded");
        assert!(sparing.left_out().is_empty());
    }
}
