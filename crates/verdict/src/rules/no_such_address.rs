//! A program gave up because it cannot listen on an address that the container does not have.
//!
//! bind(2) failed with EADDRNOTAVAIL.
//!
//! The rule is wrong if the program tries several addresses, needs only one of them, and gave up over something else.

use super::tied::Described;
use super::{Case, Cause};
use crate::candidate::label;
use crate::facts::Failure;

pub(super) fn describe(case: &Case<'_>, failure: &Failure) -> Described {
    let address = label(failure);
    Described {
        cause: Cause::AddressNotAvailable,
        what: format!(": it cannot listen on {address}, an address that it does not have"),
        subject: address,
        next_step: case.advice(
            "Let it listen on 0.0.0.0 or ::, or on the pod's own address (`ip address` in its network namespace; status.podIP by the downward API).",
            "Let it listen on 0.0.0.0 or ::, or on an address that `ip address` shows.",
        ),
        more: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Verdict;
    use crate::testing::{INIT, Script, inet, verdict};
    use capture_format::EventKind;

    fn ended(words: &str) -> Verdict {
        let mut s = Script::new(&["pump"]);
        let address = inet([192, 0, 2, 9], 7000);
        s.call(INIT, EventKind::BIND, -99, [3, 0, 0], address, "");
        verdict(s.write(INIT, 2, words).exit(INIT, 1))
    }

    #[test]
    fn the_address_is_named() {
        let verdict = ended(
            "pump: cannot listen on 192.0.2.9:7000: Cannot assign requested address\npump: initialization failed\n",
        );
        assert_eq!(
            (verdict.cause, verdict.subject.as_str(), verdict.score),
            (Cause::AddressNotAvailable, "192.0.2.9:7000", 91)
        );
        assert_eq!(
            ended("OSError: [Errno 99] Cannot assign requested address\n").score,
            84
        );
    }

    #[test]
    fn one_that_was_tolerated_is_not_the_cause() {
        let cause = ended("fatal: licence 7000 has expired\n").cause;
        assert_ne!(cause, Cause::PortInUse);
        assert!(ended("fatal: licence 7000 has expired\n").score < 80);
    }
}
