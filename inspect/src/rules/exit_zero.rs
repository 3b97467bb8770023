//! Exit code 0: it did what it was told and was done, or went into the background.

use capture_format::ExitStatus;

use super::{Case, Cause, Evidence, Verdict};

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    if case.run.status != Some(ExitStatus::Code(0)) {
        return None;
    }
    let init = case.facts.init();
    let left = init.and_then(|init| {
        let end = init.exit?;
        let outlived = |event: Option<u64>| event.is_none_or(|event| event > end.event);
        case.facts
            .processes
            .iter()
            .find(|p| p.parent == Some(init.pid) && outlived(p.exit.map(|exit| exit.event)))
    });
    let (what, next_step) = match left {
        Some(child) => (
            format!(
                "it left {} (pid {}) running in the background, and a container ends with its first process",
                child.name(),
                child.pid
            ),
            "Run the program in the foreground, such as `nginx -g 'daemon off;'`.",
        ),
        None => (
            "it finished without an error, and nothing kept it running".to_owned(),
            "If it should go on running, check its command and arguments: a shell without a terminal, a one-off command, or a server told to go into the background ends at once.",
        ),
    };
    let started = init.and_then(|init| init.exec.as_ref());
    let argv = |exec: &crate::facts::process::Exec| {
        exec.argv
            .iter()
            .map(|arg| crate::escape::escaped_to(arg, 100).to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    Some(Verdict {
        sentence: format!("{}: {what}", case.ended()),
        cause: Cause::ExitedZero,
        subject: String::new(),
        confidence: 95,
        why: "the exit code says success, and no signal from outside came before it".into(),
        evidence: started
            .map(|exec| Evidence::new(exec.event, format!("executed: {}", argv(exec))))
            .into_iter()
            .collect(),
        next_step: next_step.into(),
        weakened_by: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};

    #[test]
    fn success_is_no_failure_whatever_failed_on_the_way() {
        let mut s = Script::new(&["migrate"]);
        s.open(INIT, "/etc/app.conf", -2)
            .write(INIT, 2, "error: /etc/app.conf: No such file or directory\n")
            .exit(INIT, 0);
        let verdict = verdict(&s);
        assert_eq!(verdict.cause, Cause::ExitedZero);
        assert_eq!(
            verdict.sentence,
            "migrate exited 0, 5 ms after start: it finished without an error, and nothing kept it running"
        );
    }

    #[test]
    fn a_daemon_left_behind_is_told() {
        let mut s = Script::new(&["nginx"]);
        s.fork(INIT, 200).exit(INIT, 0);
        assert!(
            verdict(&s)
                .sentence
                .contains("it left nginx (pid 200) running in the background")
        );
    }
}
