//! Turns events into steps that can be compared between two runs.

use capture_format::{Class, EventKind as K, ExitStatus};

use crate::views::Subject;
use crate::views::errors::{call_name, failed};
use events::context::Seen;
use events::decode::{Message, Signal, SockAddr};
use events::escape::{escaped_to, is_text};
use events::fds::{Fd, has_path, is_on_socket};
use verdict::entity::normal;
use verdict::facts::fails_anyway;
use verdict::facts::lookup;
use verdict::rules::how;

/// How many bytes of a text are compared.
const MAX_TEXT: usize = 200;
/// Directories of temporary files.
const TEMPORARY: &[&[u8]] = &[b"/tmp/", b"/var/tmp/", b"/dev/shm/", b"/run/"];
/// A part of a temporary name must be at least this long to be taken for made up.
const MIN_RANDOM: usize = 6;

/// The event as a step: a text in which `#` replaces whatever differs between any two runs; escaped. `None` for events
/// that say nothing about what the run did.
pub(super) fn step_of(seen: &Seen<'_>) -> Option<String> {
    let event = seen.event;
    let text = match event.kind {
        K::EXEC => format!("runs {}", arguments(&event.data)),
        K::EXIT => how(ExitStatus::from_wait(event.ret as i32)),
        K::OOM_KILL => "is chosen by the OOM killer".to_owned(),
        K::SIGNAL_GENERATE => {
            let signal = Signal::from_ret(event.ret)?;
            // SIGCHLD, SIGURG and similar signals come at any time.
            (signal.asks_to_end() || signal.is_fault()).then(|| format!("is sent {signal}"))?
        }
        kind if !kind.is_syscall() => return None,
        // The process is left out: its name is not known if its exec was overwritten.
        _ => return call(seen),
    };
    Some(format!("{} {text}", seen.program.label))
}

fn call(seen: &Seen<'_>) -> Option<String> {
    let event = seen.event;
    if let Some(message) = dns(seen) {
        return Some(message);
    }
    let errno = failed(event);
    if errno.is_some_and(|errno| fails_anyway(event.kind, errno, &event.name)) {
        return None;
    }
    if event.kind == K::CONNECT {
        let address = SockAddr::parse(&event.name)?.canonical();
        let failed = errno.map(|errno| format!(": {errno}")).unwrap_or_default();
        return Some(format!("connects to {address}{failed}"));
    }
    if let Some(errno) = errno {
        return Some(format!(
            "{} {}: {errno}",
            call_name(event.kind),
            subject(seen)
        ));
    }
    if event.kind.class() == Class::Opens {
        return Some(format!("opens {}", subject(seen)));
    }
    let is_log = seen.fd.as_ref().is_some_and(is_output);
    if event.kind.class() == Class::Writes && is_log {
        return Some(format!("says on {}: {}", subject(seen), words(&event.data)));
    }
    if event.kind.class() == Class::Reads
        && event.ret > 0
        && is_text(&event.data)
        && !event.data.is_empty()
    {
        let is_file = seen.fd.as_ref().and_then(Fd::path).is_some();
        return is_file.then(|| format!("reads {}: {}", subject(seen), words(&event.data)));
    }
    None
}

/// A DNS message without its id.
fn dns(seen: &Seen<'_>) -> Option<String> {
    let event = seen.event;
    if !is_on_socket(event, seen.fd.as_ref()) || event.data.is_empty() {
        return None;
    }
    let message = Message::parse_framed(&event.data)?;
    let name = escaped_to(message.name.as_bytes(), MAX_TEXT).to_string();
    let qtype = &message.qtype;
    if !message.response {
        return Some(format!("asks DNS for {name} {qtype}"));
    }
    let outcome = lookup::outcome_of_answer(message.rcode, message.answered);
    let said = crate::views::dns::said(outcome);
    Some(format!("DNS says of {name} {qtype}: {said}"))
}

/// Whether a descriptor is standard output, standard error, or a log.
fn is_output(fd: &Fd) -> bool {
    fd.stdio.is_some() || fd.path().is_some_and(|path| path.ends_with(b".log"))
}

fn subject(seen: &Seen<'_>) -> String {
    match Subject::of(seen) {
        Subject::Path(_) if has_path(seen.event.kind) => {
            escaped_to(&temporary(&seen.path), MAX_TEXT).to_string()
        }
        Subject::Path(path) | Subject::Name(path) => {
            escaped_to(&temporary(path.as_bytes()), MAX_TEXT).to_string()
        }
        Subject::Descriptor(_) => "a descriptor".to_owned(),
        subject => subject.to_string(),
    }
}

fn arguments(data: &[u8]) -> String {
    let arguments = data.strip_suffix(b"\0").unwrap_or(data).to_vec();
    let arguments: Vec<u8> = arguments
        .into_iter()
        .map(|byte| if byte == 0 { b' ' } else { byte })
        .collect();
    escaped_to(&temporary(&arguments), MAX_TEXT).to_string()
}

/// Text without what is different each time.
fn words(data: &[u8]) -> String {
    let text = String::from_utf8_lossy(&data[..data.len().min(4 * MAX_TEXT)]);
    escaped_to(normal(&text).as_bytes(), MAX_TEXT).to_string()
}

/// A path without the pid in /proc, and without the parts that look made up below directories of temporary files.
pub(super) fn temporary(path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/proc/") {
        return normal(&String::from_utf8_lossy(path)).into_bytes();
    }
    if !TEMPORARY.iter().any(|start| path.starts_with(start)) {
        return path.to_vec();
    }
    let mut name = Vec::with_capacity(path.len());
    for part in path.split_inclusive(|byte| !byte.is_ascii_alphanumeric()) {
        let (word, end) = match part.split_last() {
            Some((last, word)) if !last.is_ascii_alphanumeric() => (word, Some(*last)),
            _ => (part, None),
        };
        match is_made_up(word) {
            true => name.push(b'#'),
            false => name.extend(word),
        }
        name.extend(end);
    }
    name
}

/// Whether a word looks made up: it is a number, or it mixes upper and lower case or letters and digits, and is at
/// least as long as mkstemp(3) makes it.
fn is_made_up(word: &[u8]) -> bool {
    let has = |test: fn(&u8) -> bool| word.iter().any(test);
    let digits = has(u8::is_ascii_digit);
    let letters = has(u8::is_ascii_alphabetic);
    let mixed = has(u8::is_ascii_lowercase) && word.iter().skip(1).any(u8::is_ascii_uppercase);
    digits && !letters || word.len() >= MIN_RANDOM && letters && (digits || mixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_temporary_files_are_alike_and_others_are_not() {
        for (path, normal) in [
            ("/tmp/x.aB3dE9", "/tmp/x.#"),
            ("/tmp/npm-12345/package.json", "/tmp/npm-#/package.json"),
            ("/proc/4711/status", "/proc/#/status"),
            ("/etc/app2.conf", "/etc/app2.conf"),
            ("/tmp/settings.json", "/tmp/settings.json"),
            ("/var/tmp/QwErTyUi", "/var/tmp/#"),
        ] {
            assert_eq!(temporary(path.as_bytes()), normal.as_bytes(), "{path}");
        }
    }

    #[test]
    fn numbers_in_texts_do_not_count() {
        assert_eq!(
            words(b"2026/11/20 23:36:04 [emerg] 100#100: x\x1b"),
            "# [emerg] ##: x\\x1b"
        );
    }
}
