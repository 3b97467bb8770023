//! A program gave up because the kernel refused it a new process or thread.
//!
//! fork(2), vfork(2), clone(2) or clone3(2) failed, the same
//! process started no other process afterwards. A limit on the number of processes, a seccomp profile or a lack of
//! memory is behind it; the errno says which of them is likely.
//!
//! The rule is wrong if the program could do with fewer processes or threads and gave up over something else.

use super::tied::Described;
use super::{Case, Cause};
use crate::facts::Failure;
use events::decode::Errno;

pub(super) fn describe(case: &Case<'_>, failure: &Failure) -> Described {
    let call = failure.kind.name().unwrap_or("fork");
    let text = failure.errno.text();
    let next_step = match failure.errno {
        Errno::EPERM | Errno::EACCES => {
            case.advice(
                "A seccomp profile or security module refuses the call: a profile that is older than clone3(2) answers EPERM; renew the container runtime and libseccomp, or compare securityContext.seccompProfile.",
                "A seccomp filter or security module refuses the call: look at what started the command (`grep Seccomp /proc/PID/status`).",
            )
        }
        Errno::ENOMEM => "Find out what used up the memory, or raise its limit.".to_owned(),
        _ => case.advice(
            "Raise the limit on processes and threads (podPidsLimit of kubelet or pids.max of the cgroup, RLIMIT_NPROC of the user), or start fewer.",
            "Raise the limit on processes and threads (`ulimit -u`, pids.max of its cgroup), or start fewer.",
        ),
    };
    Described {
        cause: Cause::ProcessRefused,
        subject: call.to_owned(),
        what: format!(": the kernel refused it a new process or thread ({call}: {text})"),
        next_step,
        more: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};
    use capture_format::{EventKind, SignalOrigin};

    fn refused(errno: i64, words: &str) -> Script {
        let mut s = Script::new(&["app"]);
        s.call(INIT, EventKind::CLONE3, -errno, [0; 3], "", "")
            .write(INIT, 2, words);
        s
    }

    #[test]
    fn each_runtime_says_it_in_its_own_words() {
        for words in [
            "RuntimeError: can't start new thread\n",
            "bash: fork: retry: Resource temporarily unavailable\n",
            "java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory or process/resource limits reached\n",
            "runtime: failed to create new OS thread (have 2 already; errno=11)\n",
            "node[7]: ../src/node_platform.cc:68: Assertion `(0) == (uv_thread_create(t.get(), start_thread, this))' failed.\n",
            "failed to spawn thread: Os { code: 11, kind: WouldBlock, message: \"Resource temporarily unavailable\" }\n",
        ] {
            let verdict = verdict(refused(11, words).exit(INIT, 1));
            assert_eq!(
                (verdict.cause, verdict.score),
                (Cause::ProcessRefused, 91),
                "{words}"
            );
        }
    }

    #[test]
    fn it_is_why_a_program_aborts() {
        let mut s = refused(
            1,
            "node[7]: Assertion `(0) == (uv_thread_create(t.get(), start_thread, this))' failed.\n",
        );
        s.signal(INIT, 6, -6, (INIT, "app"), SignalOrigin::Inside)
            .exit_status(INIT, 6 | 0x80);
        let verdict = verdict(&s);
        assert_eq!((verdict.cause, verdict.score), (Cause::ProcessRefused, 91));
        assert!(
            verdict.sentence.starts_with(
                "app was killed by SIGABRT (abort), 6 ms after start: the kernel refused it a new process or thread (clone3: Operation not permitted); stderr: Assertion `(0)"
            ),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn an_older_kernel_or_a_second_try_is_no_refusal() {
        let ended = |mut s: Script| verdict(s.exit(INIT, 1)).cause;
        let words = "fatal: cannot read thread table\n";
        assert_eq!(ended(refused(38, words)), Cause::ExitedNonZero);
        let mut again = Script::new(&["app"]);
        again
            .call(INIT, EventKind::CLONE3, -11, [0; 3], "", "")
            .fork(INIT, 200)
            .exit(200, 0)
            .write(INIT, 2, words);
        assert_eq!(ended(again), Cause::ExitedNonZero);
    }

    #[test]
    fn an_abort_over_something_else_stays_an_abort() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/etc/app/optional.conf", -2)
            .write(INIT, 2, "app: Assertion `ledger is balanced' failed.\n")
            .signal(INIT, 6, -6, (INIT, "app"), SignalOrigin::Inside)
            .exit_status(INIT, 6 | 0x80);
        assert_eq!(verdict(&s).cause, Cause::Aborted);
    }
}
