//! Places of a run where reading may begin: for each, what must be remembered of the events before it.

use events::context::Context;

/// How many places of a run are kept. If there are more, half of them are dropped, so that memory does not grow with
/// the file.
pub(crate) const MAX_PLACES: usize = 64;
/// How many events are between two places at first.
const STEP: u64 = 4096;

/// A place.
struct Place {
    /// Number of the first event that `context` has not observed.
    next: u64,
    context: Context,
}

/// The places of one run, in their order.
pub(crate) struct Places {
    places: Vec<Place>,
    /// The least distance between two places. It doubles when the run turns out to be long.
    step: u64,
}

impl Places {
    /// Places with only one: before the run's first event, which has this number.
    pub(crate) fn new(first: u64) -> Self {
        let start = Place {
            next: first,
            context: Context::default(),
        };
        Self {
            places: vec![start],
            step: STEP,
        }
    }

    /// The last place at or before an event.
    pub(crate) fn at_or_before(&self, number: u64) -> (u64, Context) {
        let after = self.places.partition_point(|it| it.next <= number);
        let place = &self.places[after.saturating_sub(1)];
        (place.next, place.context.clone())
    }

    /// Adds a place before the event of this number, with the context there, if it is far enough from the other places.
    pub(crate) fn pass(&mut self, next: u64, context: &Context) {
        let last = self.places.last().map_or(0, |it| it.next);
        if next < last.saturating_add(self.step) {
            return;
        }
        self.places.push(Place {
            next,
            context: context.clone(),
        });
        if self.places.len() > MAX_PLACES {
            let mut keeps = false;
            self.places.retain(|_| {
                keeps = !keeps;
                keeps
            });
            self.step = self.step.saturating_mul(2);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn their_number_is_bounded_and_the_first_one_stays() {
        let mut places = Places::new(7);
        for next in 7..3_000_000 {
            places.pass(next, &Context::default());
        }
        assert!(
            (MAX_PLACES / 4..=MAX_PLACES).contains(&places.len()),
            "{}",
            places.len()
        );
        assert_eq!(places.at_or_before(8).0, 7);
        let (near, _) = places.at_or_before(2_999_999);
        assert!(near > 2_800_000, "{near}");
    }
}
