//! A program gave up because another process already listens on a port, or on the path of a Unix socket.
//!
//! bind(2) or listen(2) failed with EADDRINUSE. If a process of the
//! same container had bound that address, the verdict names the process; a process outside of the container is not
//! seen.
//!
//! The rule is wrong if the program tries several ports, needs only one of them, and gave up over something else.

use super::tied::Described;
use super::{Case, Cause, Evidence};
use crate::candidate::label;
use crate::facts::{Bind, Failure};

pub(super) fn describe(case: &Case<'_>, failure: &Failure) -> Described {
    let address = label(failure);
    let holder = holder(case, failure.event, &address);
    let by = holder.map_or_else(String::new, |bind| {
        let process = case.facts.processes.get(bind.pid);
        let name = process.map_or_else(|| "a process".to_owned(), |process| process.name());
        format!(" by {name} (pid {}) of this container", bind.pid)
    });
    let more = holder.map(|bind| {
        let text = format!("bind {address} by pid {} succeeded", bind.pid);
        Evidence::new(bind.event, bind.time, text)
    });
    Described {
        cause: Cause::PortInUse,
        what: format!(": {address} is already in use{by}"),
        subject: address,
        next_step: case.advice(
            "Find out who listens there (`ss -ltnp` in the pod's network namespace): another container of the pod, a host port, or the same program twice.",
            "Find out who listens there (`ss -ltnp`): another program, or the same program twice.",
        ),
        more: more.into_iter().collect(),
    }
}

/// The process of the container that bound the address before. A wildcard address covers every address of its port.
fn holder<'a>(case: &Case<'a>, before: u64, address: &str) -> Option<&'a Bind> {
    let port = |address: &str| address.rsplit(':').next().map(str::to_owned);
    let mut binds = case
        .facts
        .binds
        .iter()
        .rev()
        .filter(|bind| bind.event < before);
    binds.find(|bind| {
        let bound = bind.address.to_string();
        let any = ["0.0.0.0:", "[::]:"]
            .iter()
            .any(|any| bound.starts_with(any) || address.starts_with(any));
        bound == address || any && port(&bound) == port(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, inet, verdict};
    use capture_format::EventKind;

    fn bind(s: &mut Script, pid: u32, ret: i64) {
        s.call(
            pid,
            EventKind::BIND,
            ret,
            [3, 0, 0],
            inet([0, 0, 0, 0], 8080),
            "",
        );
    }

    #[test]
    fn node_names_the_port() {
        let mut s = Script::new(&["node"]);
        bind(&mut s, INIT, -98);
        s.write(
            INIT,
            2,
            "Error: listen EADDRINUSE: address already in use :::8080\n",
        )
        .exit(INIT, 1);
        let verdict = verdict(&s);
        assert_eq!(
            (verdict.cause, verdict.subject.as_str(), verdict.score),
            (Cause::PortInUse, "0.0.0.0:8080", 91)
        );
    }

    #[test]
    fn another_thing_that_is_in_use_is_no_port() {
        for words in [
            "fatal: name 'orders' is already in use by tenant 8080\n",
            "fatal: \"db-lock\" already in use\n",
        ] {
            let mut s = Script::new(&["app"]);
            bind(&mut s, INIT, -98);
            let verdict = verdict(s.write(INIT, 2, words).exit(INIT, 1));
            assert_eq!(verdict.cause, Cause::ExitedNonZero, "{words}");
        }
        let mut s = Script::new(&["app"]);
        bind(&mut s, INIT, -98);
        let verdict = verdict(
            s.write(INIT, 2, "port 8080 is already in use\n")
                .exit(INIT, 1),
        );
        assert_eq!((verdict.cause, verdict.score), (Cause::PortInUse, 91));
    }

    #[test]
    fn who_holds_it_is_told_where_it_was_seen() {
        let mut s = Script::new(&["sh"]);
        s.fork(INIT, 200).exec(200, &["app"]);
        bind(&mut s, 200, 0);
        s.exec(INIT, &["app"]);
        bind(&mut s, INIT, -98);
        s.write(INIT, 2, "bind: Address already in use\n")
            .exit(INIT, 1);
        let verdict = verdict(&s);
        assert!(
            verdict
                .sentence
                .contains("in use by app (pid 200) of this container"),
            "{}",
            verdict.sentence
        );
    }
}
