//! A program gave up because it cannot listen on an address that the container does not have.
//!
//! bind(2) failed with EADDRNOTAVAIL, and `failed_call.rs` ties it to the last words.
//!
//! The rule is wrong if the program tries several addresses, needs only one of them, and gave up over something else.

use capture_format::EventKind;

use super::failed_call::{Kind, find};
use super::{Case, Cause, Verdict};
use events::decode::Errno;

const KIND: Kind = Kind {
    errnos: &[Errno::EADDRNOTAVAIL],
    says: &[
        "assign requested address",
        "eaddrnotavail",
        "address not available",
        "address is not available",
        "cannot listen",
        "could not listen",
        "failed to listen",
        "cannot bind",
        "could not bind",
        "failed to bind",
        "bindexception",
    ],
    rare: true,
    concerns: |failure| failure.kind == EventKind::BIND,
};

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    let found = find(case, &KIND)?;
    let address = found.label();
    let what = format!("it cannot listen on {address}, an address that it does not have");
    let next_step = "Let it listen on 0.0.0.0 or ::, or on the pod's own address (`ip address` in its network namespace; status.podIP by the downward API).";
    let cause = Cause::AddressNotAvailable;
    Some(found.verdict(case, cause, address, &what, next_step.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, inet, verdict};

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
            (verdict.cause, verdict.subject.as_str(), verdict.confidence),
            (Cause::AddressNotAvailable, "192.0.2.9:7000", 91)
        );
        assert_eq!(
            ended("OSError: [Errno 99] Cannot assign requested address\n").confidence,
            86
        );
    }

    #[test]
    fn one_that_was_tolerated_is_not_the_cause() {
        let cause = ended("fatal: licence 7000 has expired\n").cause;
        assert_ne!(cause, Cause::PortInUse);
        assert!(ended("fatal: licence 7000 has expired\n").confidence < 80);
    }
}
