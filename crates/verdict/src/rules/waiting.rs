//! What a process was doing when a signal came that ended it: a clause for the verdicts on such signals.
//!
//! The clause says what the kernel recorded at that moment, and for how long only if that was measured. It is no cause:
//! a thread that waits may have nothing to do. So it changes neither the score nor the cause of a verdict.

use super::{Case, Evidence, Finding};
use crate::facts::interruptions::Interruption;
use crate::facts::signals::SentSignal;

/// Which calls are worth a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// All: whoever sent the signal did so because the process did not get on.
    All,
    /// Only calls in which a program does not wait for work.
    Busy,
}

/// Adds what the target of a signal was doing to a finding. `who` is what the sentence calls the target; escaped.
pub(super) fn add(
    finding: &mut Finding,
    case: &Case<'_>,
    sent: &SentSignal,
    who: &str,
    worth: Worth,
) {
    let arch = &case.header.host.arch;
    let threads: Vec<&Interruption> = case.facts.interruptions.at(sent).collect();
    let worth_it = threads
        .iter()
        .filter(|thread| worth == Worth::All || !thread.doing.is_idle(arch));
    // Of two that are equal the first one counts.
    let Some(thread) = worth_it.min_by_key(|thread| thread.rank(arch)) else {
        return;
    };
    let one_of_many = format!("one of the {} threads of {who}", thread.doing.threads);
    let one_of_its = format!("one of its {} threads", thread.doing.threads);
    let subject = match (thread.is_first_thread(), who) {
        (true, _) => who,
        (false, "it") => &one_of_its,
        (false, _) => &one_of_many,
    };
    finding.sentence.push_str("; ");
    finding.sentence.push_str(&thread.sentence(subject, arch));
    let whose = if thread.is_first_thread() {
        format!("pid {}", thread.pid)
    } else {
        format!("thread {} of pid {}", thread.tid.0, thread.pid)
    };
    let evidence = Evidence::new(thread.event, thread.time, thread.sentence(&whose, arch));
    finding.evidence.push(evidence);
}

#[cfg(test)]
mod tests {
    use capture_format::{Event, EventKind as K, FdType, SignalOrigin, Tid};

    use crate::rules::Cause;
    use crate::testing::{INIT, Script, inet, verdict};

    const RUNTIME: (u32, &str) = (812, "containerd-shim");
    const SECOND: i64 = 1_000_000_000;

    /// A thread of the first process is in a call of x86_64; `address` is the peer of its socket.
    fn in_call(s: &mut Script, tid: u32, call: i64, waited: i64, address: &[u8]) {
        let (fd, fd_type) = match address {
            [] => (-1, FdType::UNKNOWN),
            _ => (7, FdType::SOCKET),
        };
        s.call(INIT, K::INTERRUPTED, call, [fd, waited, 15], "", "");
        let event = s.events.last_mut().unwrap();
        *event = Event {
            tid: Tid(tid),
            fd_type,
            name: address.to_vec().into(),
            data: [0u64, 0, 0, 0, 0, 0, 3, 0, 0]
                .map(u64::to_le_bytes)
                .concat()
                .into(),
            ..event.clone()
        };
    }

    fn asked() -> Script {
        let mut s = Script::new(&["app"]);
        s.wait(40_000)
            .signal(INIT, 15, 0, RUNTIME, SignalOrigin::Outside);
        s
    }

    #[test]
    fn a_hung_program_says_what_it_waited_for() {
        let mut s = asked();
        in_call(&mut s, INIT, 202, 39 * SECOND, &[]);
        in_call(&mut s, 101, 232, 39 * SECOND, &[]);
        in_call(&mut s, 102, 45, 31 * SECOND, &inet([10, 0, 0, 5], 5432));
        let with = verdict(s.exit_status(INIT, 15));
        assert!(
            with.sentence.ends_with(
                "; for 31 s one of its 3 threads had been waiting in recvfrom for 10.0.0.5:5432"
            ),
            "{}",
            with.sentence
        );
        let without = verdict(asked().exit_status(INIT, 15));
        assert_eq!(with.cause, Cause::StoppedFromOutside);
        assert_eq!((with.score, with.cause), (without.score, without.cause));
        assert_eq!(with.evidence.len(), without.evidence.len() + 1);
    }

    #[test]
    fn what_waits_for_work_does_not_hang() {
        let mut s = asked();
        in_call(&mut s, INIT, 232, 39 * SECOND, &[]);
        let verdict = verdict(s.exit(INIT, 0));
        assert!(!verdict.sentence.contains("epoll"), "{}", verdict.sentence);
    }

    #[test]
    fn what_was_done_long_after_the_signal_is_not_told() {
        let mut s = asked();
        s.wait(20_000);
        in_call(&mut s, INIT, 202, 19 * SECOND, &[]);
        let verdict = verdict(s.exit_status(INIT, 15));
        assert!(!verdict.sentence.contains("futex"), "{}", verdict.sentence);
    }

    #[test]
    fn the_command_of_timeout_is_told() {
        let mut s = Script::new(&["timeout", "3", "app"]);
        s.fork(INIT, 200).exec(200, &["app"]).wait(3_000);
        s.signal(200, 15, 0, (INIT, "timeout"), SignalOrigin::Inside);
        s.call(200, K::INTERRUPTED, 230, [-1, 2 * SECOND, 15], "", "");
        s.exit_status(200, 15).exit(INIT, 124);
        let verdict = verdict(&s);
        assert!(
            verdict.sentence.ends_with(
                "it sent SIGTERM to app (pid 200); for 2.0 s app had been waiting in clock_nanosleep"
            ),
            "{}",
            verdict.sentence
        );
    }
}
