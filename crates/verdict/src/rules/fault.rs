//! The kernel stopped a process for what it executed: segmentation fault, bus error, illegal instruction, arithmetic
//! exception, trap, or a system call that seccomp refused.
//!
//! The culprit was killed by one of these signals, and the record of the signal says that it came from the kernel. If a
//! process or a timer sent it, another rule applies. If the process had called abort(3) right before, the verdict says
//! that it aborted.
//!
//! Without a record of the signal the rule is less sure, and wrong if a process sent it. Which fault in the program led
//! to the signal is not known.

use capture_format::SignalOrigin;

use super::case::ABORTS;
use super::{Case, Cause, Evidence, Finding, inside_signal, outside_signal};
use crate::facts::signals::SentSignal;
use events::decode::Signal;

/// The first page is never mapped: an address in it comes from a null pointer plus an offset.
const NULL_PAGE: u64 = 4096;
/// include/uapi/asm-generic/siginfo.h
const SI_KERNEL: i64 = 0x80;

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    let signal = case.signal().filter(|signal| signal.is_fault())?;
    let sent = case
        .culprit()
        .and_then(|culprit| case.facts.signals.last(culprit.pid, signal));
    // A timer can be set up to send any signal.
    if sent.is_some_and(|sent| sent.origin != Some(SignalOrigin::Kernel) || sent.code <= 0) {
        return None;
    }
    if let Some(verdict) = aborted(case, sent) {
        return Some(verdict);
    }
    let (cause, next_step) = match signal {
        Signal::SEGV => (
            Cause::SegmentationFault,
            "Get a core dump (`ulimit -c unlimited`, kernel.core_pattern) and open it in gdb: `bt` shows where.",
        ),
        Signal::BUS => (
            Cause::BusError,
            "Check that no file it has mapped was truncated, and that /dev/shm and the disk are not full; a core dump shows where.",
        ),
        Signal::ILL => (
            Cause::IllegalInstruction,
            "Compare the CPU of this node with what the program was built for (AVX, -march=native): an older CPU lacks instructions.",
        ),
        Signal::FPE => (
            Cause::ArithmeticException,
            "Look for an integer division by zero; a core dump in gdb shows where.",
        ),
        Signal::TRAP => (
            Cause::Trap,
            "The program stopped itself with a trap instruction (an assertion of its runtime, or a debugger's breakpoint): read its last words.",
        ),
        _ => (
            Cause::BadSystemCall,
            "A seccomp profile refused a system call with a signal: compare securityContext.seccompProfile with what the program needs.",
        ),
    };
    let details = sent
        .and_then(details)
        .map_or_else(String::new, |details| format!(": {details}"));
    let mut evidence: Vec<Evidence> = sent
        .map(|sent| {
            let code = sent.signal.code(sent.code).map_or_else(
                || format!("si_code {}", sent.code),
                |(name, _)| name.to_owned(),
            );
            Evidence::new(
                sent.event,
                sent.time,
                format!("{signal} to pid {} from the kernel, {code}", sent.target),
            )
        })
        .into_iter()
        .collect();
    evidence.extend(case.words_evidence());
    Some(Finding {
rests_on: None,
        sentence: format!("{}{details}", case.ended()),
        cause,
        subject: signal.to_string(),
        score: if sent.is_some() { 97 } else { 75 },
        why: match sent {
            Some(_) => "the kernel recorded the fault and the process died of it".into(),
            None => "the wait status names the signal; the fault itself was not recorded, so a process may have sent it".into(),
        },
        evidence,
        next_step: next_step.into(),
        weakened_by: if sent.is_some() { Vec::new() } else { case.missing_events() },
    })
}

/// If SIGABRT is ignored, as it is for the first process of a pid namespace, abort(3) executes an instruction that
/// faults. C library and processor decide which instruction.
fn aborted(case: &Case<'_>, fault: Option<&SentSignal>) -> Option<Finding> {
    let pid = case.culprit()?.pid;
    let exit = || case.exit().map(|exit| (exit.event, exit.time));
    let (event, time) = fault.map(|fault| (fault.event, fault.time)).or_else(exit)?;
    let mut signals = case.facts.signals.iter().rev();
    let abort = signals.find(|sent| {
        sent.target == pid
            && inside_signal::is_abort(sent)
            && sent.event < event
            && time.since(sent.time) < ABORTS
    })?;
    let who = "it called abort(), which ends in a fault where SIGABRT is ignored, as it is for a container's first process";
    let mut verdict = inside_signal::verdict(case, abort, Cause::Aborted, who, true);
    verdict.evidence.extend(fault.map(outside_signal::evidence));
    Some(verdict)
}

fn details(sent: &SentSignal) -> Option<String> {
    let (_, meaning) = sent.signal.code(sent.code)?;
    let is_memory = matches!(sent.signal, Signal::SEGV | Signal::BUS);
    // The processor does not report the address.
    let is_told = is_memory && sent.code != SI_KERNEL;
    Some(match sent.address.filter(|_| is_told) {
        Some(address) if sent.signal == Signal::SEGV && address < NULL_PAGE => {
            format!("{meaning}, at {address:#x}: a null pointer")
        }
        Some(address) => format!("{meaning}, at {address:#x}"),
        None => meaning.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Verdict;
    use crate::testing::{INIT, Script, dns, verdict};
    use capture_format::EventKind as K;

    fn fault(s: &mut Script, signal: u8, code: i64, address: u64) -> Verdict {
        s.call(
            INIT,
            K::SIGNAL_GENERATE,
            i64::from(signal),
            [code, i64::from(INIT), SignalOrigin::Kernel as i64],
            "app",
            address.to_le_bytes(),
        );
        s.exit_status(INIT, i32::from(signal) | 0x80);
        verdict(s)
    }

    #[test]
    fn a_null_pointer_is_named() {
        let verdict = fault(&mut Script::new(&["app"]), 11, 1, 8);
        assert_eq!(
            verdict.sentence,
            "app was killed by SIGSEGV (segmentation fault), 4 ms after start: address not mapped, at 0x8: a null pointer"
        );
        assert_eq!(
            (verdict.cause, verdict.score),
            (Cause::SegmentationFault, 97)
        );
    }

    #[test]
    fn abort_of_a_first_process_is_an_abort() {
        for (signal, code) in [(11, SI_KERNEL), (4, 1), (5, 1), (11, 1)] {
            let mut s = Script::new(&["app"]);
            s.write(INIT, 2, "app: main.c:5: main: Assertion `x' failed.\n")
                .signal(
                    INIT,
                    6,
                    inside_signal::SI_TKILL,
                    (INIT, "app"),
                    SignalOrigin::Inside,
                )
                .call(
                    INIT,
                    K::SIGNAL_DELIVER,
                    6,
                    [inside_signal::SI_TKILL, 0, 1],
                    "",
                    "",
                );
            let verdict = fault(&mut s, signal, code, 0);
            assert_eq!((verdict.cause, verdict.score), (Cause::Aborted, 96));
            assert!(
                verdict
                    .sentence
                    .ends_with("stderr: app: main.c:5: main: Assertion `x' failed."),
                "{}",
                verdict.sentence
            );
        }
        // The process survived that signal, or somebody else sent it.
        for (sender, milliseconds) in [(INIT, 2_000), (200, 0)] {
            let mut s = Script::new(&["app"]);
            s.signal(
                INIT,
                6,
                inside_signal::SI_TKILL,
                (sender, "app"),
                SignalOrigin::Inside,
            )
            .wait(milliseconds);
            assert_eq!(fault(&mut s, 11, 1, 8).cause, Cause::SegmentationFault);
        }
    }

    #[test]
    fn without_an_address_no_pointer_is_blamed() {
        let verdict = fault(&mut Script::new(&["app"]), 11, SI_KERNEL, 0);
        assert!(
            verdict
                .sentence
                .ends_with(": a privileged instruction, or an address that no memory can have"),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn each_fault_has_its_name() {
        let cause = |signal, code| fault(&mut Script::new(&["app"]), signal, code, 1 << 40).cause;
        assert_eq!(
            [
                cause(7, 2),
                cause(4, 2),
                cause(8, 1),
                cause(5, 0x80),
                cause(31, 1)
            ],
            [
                Cause::BusError,
                Cause::IllegalInstruction,
                Cause::ArithmeticException,
                Cause::Trap,
                Cause::BadSystemCall
            ]
        );
    }

    #[test]
    fn a_dns_failure_long_before_is_not_the_cause() {
        let mut s = Script::new(&["app"]);
        s.resolver_socket(INIT, 3, [10, 0, 0, 1])
            .ask(INIT, 3, 7, "flask");
        s.reply(INIT, 3, [10, 0, 0, 1], dns::response(7, "flask", 1, 3));
        s.write(INIT, 2, "error: host not found: flask\n")
            .wait(5000);
        assert_eq!(fault(&mut s, 11, 1, 0).cause, Cause::SegmentationFault);
    }

    #[test]
    fn without_the_fault_the_status_still_names_the_signal() {
        let mut s = Script::new(&["sh", "-c", "app; exit $?"]);
        s.fork(INIT, 200)
            .exec(200, &["app"])
            .exit_status(200, 11)
            .exit(INIT, 139);
        let verdict = verdict(&s);
        assert_eq!(
            (verdict.cause, verdict.score),
            (Cause::SegmentationFault, 75)
        );
    }

    #[test]
    fn a_fault_signal_somebody_sent_is_no_fault() {
        let mut s = Script::new(&["app"]);
        s.signal(INIT, 11, 0, (INIT, "app"), SignalOrigin::Inside)
            .exit_status(INIT, 11);
        assert_eq!(verdict(&s).cause, Cause::KilledItself);
    }

    #[test]
    fn a_worker_that_died_of_a_fault_is_the_cause_where_its_parent_says_so() {
        let ended = |words: &str| {
            let mut s = Script::new(&["trainer"]);
            s.fork(INIT, 200);
            s.call(
                200,
                K::SIGNAL_GENERATE,
                7,
                [2, 200, SignalOrigin::Kernel as i64],
                "trainer",
                (1u64 << 40).to_le_bytes(),
            );
            s.exit_status(200, 7 | 0x80).write(INIT, 2, words);
            verdict(s.exit(INIT, 1))
        };
        let verdict = ended("trainer: worker ended unexpectedly\n");
        assert_eq!((verdict.cause, verdict.score), (Cause::BusError, 85));
        let other = ended("fatal: PORT is not a number\n");
        assert_eq!(other.cause, Cause::ExitedNonZero);
    }

    #[test]
    fn a_fault_a_handler_took_is_not_the_end() {
        let mut s = Script::new(&["java"]);
        s.call(
            INIT,
            K::SIGNAL_GENERATE,
            11,
            [1, i64::from(INIT), SignalOrigin::Kernel as i64],
            "java",
            0u64.to_le_bytes(),
        );
        s.write(
            INIT,
            2,
            "Exception in thread \"main\" java.lang.NullPointerException\n",
        )
        .exit(INIT, 1);
        assert_eq!(verdict(&s).cause, Cause::ExitedNonZero);
    }
}
