//! A program gave up because it may not do something: open a file, bind a port, change an owner.
//!
//! A call failed with EACCES or EPERM. A refused connect(2) does not
//! count, and neither do calls that are refused in nearly every program's life. Executing a program belongs to the rule
//! `exec`, and starting a process to the rule `process_refused`.
//!
//! The rule is wrong if the program had coped with that refusal, and its last words are about another one, such as a
//! server's.

use super::tied::Described;
use super::{Case, Cause};
use crate::candidate::{address, label};
use crate::facts::Failure;
use events::escape::escaped_to;

/// Only the superuser may bind ports below this one, unless `ip_unprivileged_port_start` says otherwise: ip(7).
const PRIVILEGED: u16 = 1024;

pub(super) fn describe(case: &Case<'_>, failure: &Failure) -> Described {
    let call = failure.kind.name().unwrap_or("call");
    let subject = match label(failure) {
        label if label.is_empty() => call.to_owned(),
        label => label,
    };
    let (what, next_step) = in_words(case, failure, call, &subject);
    Described {
        cause: Cause::PermissionDenied,
        subject,
        what: format!(": {what}"),
        next_step,
        more: Vec::new(),
    }
}

fn in_words(case: &Case<'_>, failure: &Failure, call: &str, subject: &str) -> (String, String) {
    let text = failure.errno.text();
    if let Some(address) = address(failure) {
        let privileged = address
            .inet()
            .is_some_and(|address| address.port() < PRIVILEGED);
        let next_step = match privileged {
            true => {
                "Let it listen on a port from 1024 on, or give it the capability NET_BIND_SERVICE."
                    .to_owned()
            }
            false => case.advice(
                format!(
                    "Check what may bind {subject}: securityContext, seccomp and AppArmor profiles."
                ),
                format!("Check what may bind {subject}: seccomp, AppArmor and SELinux."),
            ),
        };
        return (
            format!("it may not listen on {subject} ({text})"),
            next_step,
        );
    }
    if failure.path.is_empty() {
        return (
            format!("{subject} is not permitted ({text})"),
            case.advice(
                format!("Check securityContext: the user, capabilities, and the seccomp profile; {subject}(2) says what it needs."),
                format!("Check the user it runs as and its capabilities; {subject}(2) says what it needs."),
            ),
        );
    }
    let path = escaped_to(&failure.path, 300);
    (
        format!("{call} of \"{subject}\" is not permitted ({text})"),
        case.advice(
            format!(
                "`ls -ld {path}` in the container: compare owner and mode with the user it runs as (securityContext.runAsUser, fsGroup)."
            ),
            format!("`ls -ld {path}`: compare owner and mode with the user it runs as."),
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, inet, verdict};
    use capture_format::EventKind;

    #[test]
    fn a_file_it_may_not_open() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/etc/app.key", -13)
            .write(INIT, 2, "open /etc/app.key: permission denied\n")
            .exit(INIT, 1);
        let verdict = verdict(&s);
        assert_eq!(
            (verdict.cause, verdict.subject.as_str(), verdict.score),
            (Cause::PermissionDenied, "/etc/app.key", 91)
        );
    }

    #[test]
    fn a_port_it_may_not_bind() {
        let mut s = Script::new(&["node"]);
        s.call(
            INIT,
            EventKind::BIND,
            -13,
            [18, 0, 0],
            inet([0, 0, 0, 0], 80),
            "",
        )
        .write(
            INIT,
            2,
            "Error: listen EACCES: permission denied 0.0.0.0:80\n",
        )
        .exit(INIT, 1);
        let verdict = verdict(&s);
        assert_eq!(
            (verdict.cause, verdict.subject.as_str()),
            (Cause::PermissionDenied, "0.0.0.0:80")
        );
        assert!(verdict.next_step.contains("NET_BIND_SERVICE"));
    }

    #[test]
    fn what_a_server_denied_is_not_a_failed_calls_doing() {
        let mut s = Script::new(&["psql"]);
        s.open(INIT, "/root/.pgpass", -13)
            .open(INIT, "/root/.psqlrc", -13);
        s.write(INIT, 2, "ERROR: permission denied for table users\n")
            .exit(INIT, 1);
        assert_eq!(verdict(&s).cause, Cause::ExitedNonZero);
    }

    #[test]
    fn a_single_call_that_was_not_named_is_less_sure() {
        let mut s = Script::new(&["app"]);
        s.call(INIT, EventKind::SETUID, -1, [0; 3], "", "")
            .write(INIT, 2, "fatal: operation not permitted\n")
            .exit(INIT, 1);
        let verdict = verdict(&s);
        assert_eq!((verdict.subject.as_str(), verdict.score), ("setuid", 68));
    }
}
