//! Random pauses, so that many agents do not act at the same time.

/// A number from 0 to 1. Without randomness of the system it is 0.5.
#[must_use]
pub fn fraction() -> f64 {
    let number = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(number) / f64::from(u32::MAX)
}
