//! The last words: which of the lines that processes printed last says why the run ended.
//!
//! The **headline** is the line that most likely says why. It is one of the last few lines, and no part of a stack
//! trace. A line that reports a failure goes before one that does not, and a line that says what failed goes before a
//! warning, a hint, or a line that only says that the program ends. The **block** is the headline and what follows it.
//! Only what is in the block ties a failed call to the end of the process, so a warning that was followed by another
//! failure is no evidence.
//!
//! The headline is wrong if the decisive line came earlier, is in words that are not known here, or went where output
//! is not recorded.

use super::Evidence;
use super::doubt::{is_tolerated, is_warning};
use super::phrase::{affirms, said, says, sentences};
use crate::facts::output::{Fate, Line, Stream};
use crate::lexicon::lexicon;
use crate::message::Level;
use crate::symptom::tried;
use events::escape::escaped_to;

/// How many lines are looked at, without those before them that begin the message of the first one.
const MAX_LINES: usize = 48;
/// How many lines may follow the headline that are not part of a stack trace.
const MAX_AFTER: usize = 3;
/// For how long a program may say other things while it ends: 1 s, in nanoseconds.
const WHILE_ENDING: u64 = 1_000_000_000;
/// How many bytes of a line are quoted.
const MAX_QUOTE: usize = 300;

/// A line that was said.
pub(crate) type Words = Line;

impl Words {
    /// The line as evidence.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        Evidence::new(
            self.event,
            self.time,
            format!("{}: {}", self.source(), self.quoted()),
        )
    }

    /// The line escaped and cut to what fits into a sentence.
    #[must_use]
    pub fn quoted(&self) -> String {
        self.shortened(&self.text)
    }

    /// Where the line went, and the line without what a logger put around the message: `error.log: host not found`.
    #[must_use]
    pub fn cited(&self) -> String {
        format!("{}: {}", self.source(), self.shortened(self.said()))
    }

    /// The line without what a logger put around the message, not escaped.
    #[must_use]
    pub(crate) fn said(&self) -> &str {
        &self.message().text
    }

    fn shortened(&self, text: &str) -> String {
        let mut text = escaped_to(text.trim().as_bytes(), MAX_QUOTE).to_string();
        if self.cut && !text.ends_with('…') {
            text.push('…');
        }
        text
    }

    /// Where the line went: `stderr`, `stderr (the write failed)`.
    fn source(&self) -> String {
        match self.fate {
            Fate::Failed => format!("{} (the write failed)", self.stream),
            Fate::Written | Fate::Discarded => self.stream.to_string(),
        }
    }
}

/// What was said after a line that may say why, the more of it is another reason the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Follows {
    /// Nothing that reports a failure.
    Nothing,
    /// Failures of the same thing: `could not load pg_hba.conf`.
    TheSame,
    /// Failures of nothing that has a name: `could not create any sockets`.
    NothingNew,
    /// A failure of something else.
    AnotherFailure,
}

/// What the processes of a chain printed last.
#[derive(Debug)]
pub struct LastWords<'a> {
    lines: Vec<&'a Words>,
    headline: Option<usize>,
}

impl<'a> LastWords<'a> {
    /// Takes the last of these lines, in the order in which they were written. Lines that went to /dev/null are left
    /// out: nobody wanted to read them. So is what the program repeats after it said that it ends.
    #[must_use]
    pub fn of(lines: impl Iterator<Item = &'a Words>) -> Self {
        let heard = lines.filter(|line| line.fate != Fate::Discarded);
        let mut lines: Vec<&Words> = heard.collect();
        lines.sort_by_key(|line| line.event);
        lines.drain(..start(&lines));
        let ended_it = (1..=lines.len()).map(|end| !was_survived(&lines[..end]));
        let mut ended_it = ended_it.collect::<Vec<bool>>().into_iter();
        lines.retain(|_| ended_it.next().unwrap_or(true));
        Self {
            headline: headline(&lines),
            lines,
        }
    }

    /// The line that says why the run ended; the last line if none does.
    #[must_use]
    pub fn headline(&self) -> Option<&'a Words> {
        self.headline.map(|at| self.lines[at])
    }

    /// The headline, if it reports a failure and no later line negates that.
    #[must_use]
    pub fn complaint(&self) -> Option<&'a Words> {
        let at = self.headline?;
        let line = self.lines[at];
        let after = &self.lines[at + 1..];
        let over = after.iter().any(|line| speaks_of_success(line.said()));
        (is_complaint(line) && !over).then_some(line)
    }

    /// Whether the program itself said something on the same stream after the headline: then that may be why it ended.
    #[must_use]
    pub(crate) fn went_on(&self) -> bool {
        let Some(at) = self.headline else {
            return false;
        };
        let headline = self.lines[at];
        self.lines[at + 1..].iter().any(|line| {
            let same = line.pid == headline.pid && line.stream == headline.stream;
            same && line.event != headline.event && line.said().contains(": ") && says_why(line)
        })
    }

    /// The headline and the lines after it. If a message went to several streams, the lines on each of them belong to
    /// it.
    #[must_use]
    pub fn block(&self) -> &[&'a Words] {
        let Some(at) = self.headline else { return &[] };
        let same = |other: usize| {
            let (one, other) = (self.lines[at], self.lines[other]);
            one.stream != other.stream && one.said() == other.said()
        };
        let start = if at > 0 && same(at - 1) { at - 1 } else { at };
        &self.lines[start..]
    }

    /// The first line of the block that passes a test. Frames of a stack trace are skipped: they name code and not what
    /// went wrong. If the line continues the headline, the headline is returned.
    pub fn find(&self, test: impl Fn(&str) -> bool) -> Option<&'a Words> {
        let mut lines = self
            .block()
            .iter()
            .copied()
            .filter(|line| !is_frame(line.said()));
        let line = lines.find(|line| test(line.said()))?;
        if is_continuation(line.said()) {
            self.headline()
        } else {
            Some(line)
        }
    }

    /// The line that an event wrote.
    pub(crate) fn written_by(&self, event: u64) -> Option<&'a Words> {
        self.lines.iter().copied().find(|line| line.event == event)
    }

    /// The lines right before the block, the latest first, back to one that speaks of success.
    pub(crate) fn earlier(&self) -> impl Iterator<Item = &'a Words> {
        let start = self.lines.len() - self.block().len();
        let from = self.headline().map(|line| line.time);
        let before = self.lines[..start].iter().rev().copied();
        before.take_while(move |line| {
            let close = from.is_some_and(|from| from.since(line.time) <= WHILE_ENDING);
            close && (reports_failure(line) || !speaks_of_success(line.said()))
        })
    }

    /// The lines after a line.
    pub(crate) fn after(&self, line: &Words) -> impl Iterator<Item = &'a Words> {
        let lines = self.lines.iter().copied();
        lines
            .skip_while(move |other| !std::ptr::eq(*other, line))
            .skip(1)
    }

    /// What was said after a line that is about the thing with this label.
    pub(crate) fn follows(&self, line: &Words, label: &str) -> Follows {
        let of_others = self
            .after(line)
            .filter(|other| reports_failure(other) && says_why(other));
        let of_other = |other: &Words| {
            let known = |word: &str| line.said().contains(word) || label.contains(word);
            let mut named = named_things(other.said()).peekable();
            let is_new = |thing: &str| !known(thing);
            if named.peek().is_some() {
                return match named.any(is_new) {
                    true => Follows::AnotherFailure,
                    false => Follows::TheSame,
                };
            }
            let (known, new): (Vec<&str>, Vec<&str>) =
                telling_words(other.said()).partition(|word| known(word));
            match new.len() {
                0 | 1 => Follows::NothingNew,
                2 if !known.is_empty() => Follows::NothingNew,
                _ => Follows::AnotherFailure,
            }
        };
        of_others.map(of_other).max().unwrap_or(Follows::Nothing)
    }

    /// The lines after one event and before another.
    pub fn between(&self, after: u64, before: u64) -> impl Iterator<Item = &'a Words> {
        let lines = self.lines.iter().copied();
        lines.filter(move |line| (after..before).contains(&line.event))
    }

    /// Whether a line after this one says that a warning is why the program ends.
    pub(crate) fn is_referred_to(&self, line: &Words) -> bool {
        self.after(line)
            .any(|other| refers_to_warnings(other.said()))
    }

    /// Whether nothing was printed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The last lines as evidence, the headline first, complaints before others: those of stderr if there are any, else
    /// those of logs, else those of stdout.
    #[must_use]
    pub fn evidence(&self, count: usize) -> Vec<Evidence> {
        let lines = self.headline().into_iter().chain(self.tail(count));
        lines.map(Words::evidence).collect()
    }

    fn tail(&self, count: usize) -> Vec<&'a Words> {
        let of = |wanted: fn(&Stream) -> bool| -> Vec<&'a Words> {
            self.lines
                .iter()
                .copied()
                .filter(|line| wanted(&line.stream) && !is_underline(&line.text))
                .collect()
        };
        let kinds: [fn(&Stream) -> bool; 4] = [
            |s| *s == Stream::Stderr,
            |s| matches!(s, Stream::Log(_)),
            |s| *s == Stream::Stdout,
            |s| *s == Stream::Pipe,
        ];
        let lines = kinds.into_iter().map(of).find(|lines| !lines.is_empty());
        let mut lines = lines.unwrap_or_default();
        // What happens in every run says nothing beside a complaint.
        if lines.iter().any(|line| is_complaint(line)) {
            lines.retain(|line| line.message().level.is_none_or(|level| level > Level::Info));
        }
        // Complaints say more than what was said between them.
        let is_complaint = |at: &usize| {
            let line = lines[*at];
            is_complaint(line) && !is_continuation(line.said())
        };
        let mut chosen: Vec<usize> = (0..lines.len()).collect();
        chosen.sort_by_key(is_complaint);
        chosen.drain(..chosen.len().saturating_sub(count));
        chosen.sort_unstable();
        chosen.into_iter().map(|at| lines[at]).collect()
    }
}

/// The place of the first line that is looked at. A message with a long stack trace is looked at from its beginning.
fn start(lines: &[&Words]) -> usize {
    let start = lines.len().saturating_sub(MAX_LINES);
    let before = lines[..start].iter().rev();
    let first = lines.get(start);
    let trace = first
        .into_iter()
        .chain(before)
        .take_while(|line| is_continuation(line.said()));
    start.saturating_sub(trace.count())
}

/// The place of the line that says why.
///
/// Of the last few lines it is the last one that reports a failure and says what failed. If none of them does, it is
/// such a line further back, unless something was said after it that speaks of success: programs say many things while
/// they end.
fn headline(lines: &[&Words]) -> Option<usize> {
    let heads: Vec<usize> = (0..lines.len())
        .filter(|&at| !is_continuation(lines[at].said()))
        .collect();
    let (before, recent) = heads.split_at(heads.len().saturating_sub(MAX_AFTER + 1));
    let fails = |at: usize| {
        let before = &lines[..at];
        before.last().is_some_and(|line| is_opening(line.said()))
            || ends_a_trace(before)
            || reports_failure(lines[at])
    };
    let failing = || recent.iter().rev().filter(|&&at| fails(at));
    // A line such as `see warnings above` says that a warning is the reason.
    let warned = || {
        let end = failing().find(|&&at| refers_to_warnings(lines[at].said()))?;
        let before = heads.iter().rev().filter(|at| *at < end);
        let mut before =
            before.take_while(|&&at| lines[*end].time.since(lines[at].time) <= WHILE_ENDING);
        before.find(|&&at| fails(at) && !is_closing(lines[at].said()) && !is_hint(lines[at].said()))
    };
    let earlier = || {
        let end = lines.last().map(|line| line.time)?;
        let any_success = recent.iter().any(|&at| speaks_of_success(lines[at].said()));
        let mut before = before.iter().rev().take_while(|&&at| {
            end.since(lines[at].time) <= WHILE_ENDING
                && (fails(at) || !speaks_of_success(lines[at].said()))
        });
        before
            .find(|&&at| fails(at) && says_why(lines[at]))
            .filter(|_| !any_success)
    };
    failing()
        .find(|&&at| says_why(lines[at]))
        .or_else(warned)
        .or_else(earlier)
        .or(failing().find(|&&at| !is_warning(lines[at])))
        .or(recent
            .last()
            .filter(|&&at| lines[at].stream == Stream::Stderr && says_why(lines[at])))
        .or(failing().next())
        .or(heads.last())
        .copied()
        .or(lines.len().checked_sub(1))
}

/// Whether the lines before a line are a stack trace of Python, which ends with the error, whatever its words are.
fn ends_a_trace(before: &[&Words]) -> bool {
    let mut trace = before
        .iter()
        .rev()
        .take_while(|line| is_continuation(line.said()));
    trace.any(|line| line.said().trim_start().starts_with("File \""))
}

/// Whether the program had said the last of these lines before, and only then that it ends: so it went on after it the
/// first time, and something else ended it.
fn was_survived(lines: &[&Words]) -> bool {
    let Some((last, before)) = lines.split_last() else {
        return false;
    };
    let is_fatal = |line: &&Words| {
        line.message().level == Some(Level::Fatal) || affirms(line.said(), &["fatal*"])
    };
    let end = before.iter().rposition(is_fatal);
    let first = end.and_then(|end| before[..end].iter().find(|line| line.said() == last.said()));
    first.is_some() && !is_fatal(last)
}

/// Whether a line says that the reason was called a warning: `Reading config failed--see warnings above.`
fn refers_to_warnings(text: &str) -> bool {
    says(text, &["warnings above", "warning above"])
}

/// Whether a line is an aside: `(Background on this error at: …)`.
fn is_aside(text: &str) -> bool {
    let text = text.trim();
    text.starts_with('(') && text.ends_with(')') && text.matches('(').count() == 1
}

/// Whether a line reports a failure: its logger says so, or the words do.
pub(super) fn reports_failure(line: &Words) -> bool {
    line.message().level >= Some(Level::Error) || speaks_of_failure(line.said())
}

/// Whether a line reports a failure, and does not call it a warning.
pub(super) fn is_complaint(line: &Words) -> bool {
    reports_failure(line) && !is_warning(line)
}

/// Whether a line can say why: it is not a warning or hint, and it says more than that the program ends or that the
/// reason follows.
fn says_why(line: &Words) -> bool {
    let text = line.said();
    !(is_continuation(text)
        || is_warning(line)
        || is_closing(text)
        || is_hint(text)
        || is_aside(text)
        || is_opening(text)
        || is_underline(text))
}

/// Whether a line is what C++ or Rust says before the message: `terminate called after throwing an instance of
/// 'std::bad_alloc'`, `thread 'main' panicked at src/main.rs:5:10:`.
fn is_opening(text: &str) -> bool {
    text.starts_with("terminate called after throwing")
        || text.starts_with("thread '") && text.contains("' panicked at ") && text.ends_with(':')
}

/// Whether a line says nothing but that something failed, or that the program ends: `startup failed`, `giving up`.
pub(crate) fn says_nothing(line: &Words) -> bool {
    is_closing(line.said()) || telling_words(line.said()).next().is_none()
}

/// The words of a message that say more than that something failed.
fn telling_words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '\''));
    words.filter(|word| {
        let is_code = word.contains(|c: char| c.is_ascii_digit());
        !word.is_empty() && !is_code && !tried().generic.contains(&word.to_ascii_lowercase())
    })
}

/// Whether a word of a text is a number of errors: `2 errors in configuration file`.
fn counts_errors(text: &str, word: &str) -> bool {
    let mut after = text.split(word).skip(1).map(str::trim_start);
    word.bytes().all(|byte| byte.is_ascii_digit())
        && after.any(|rest| rest.starts_with("error") || rest.starts_with("warning"))
}

/// The words of a message that name a particular thing: a path, a number, a host, what is in quotes.
fn named_things(text: &str) -> impl Iterator<Item = &str> {
    let is_separator =
        |c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | '[' | ']' | '<' | '>');
    let quotes = |c: char| matches!(c, '"' | '\'' | '`');
    let mut words = text
        .split(is_separator)
        .filter(|word| !word.is_empty())
        .enumerate();
    std::iter::from_fn(move || {
        words.find_map(|(at, word)| {
            let bare = word.trim_matches(|c: char| quotes(c) || matches!(c, ':' | ';' | '.' | '!'));
            // The number of a message is no thing: `AH00015: Unable to open logs`. Neither is a count: `2 errors`.
            let is_code = at == 0 && word.ends_with(':') || counts_errors(text, word);
            let inner = bare.trim_start_matches(|c: char| !c.is_alphanumeric());
            let is_thing = word.starts_with(quotes)
                || bare.contains(|c: char| c.is_ascii_digit() || matches!(c, '/' | '_' | '='))
                || inner.contains('.');
            // `TCP/IP`
            let says_more =
                telling_words(bare).next().is_some() || bare.contains(|c: char| c.is_ascii_digit());
            (is_thing && says_more && !is_code).then_some(bare)
        })
    })
}

fn is_continuation(text: &str) -> bool {
    // Assertions of Node and V8 follow `#`.
    let says = ["what(): ", "# "];
    let indented = text.starts_with([' ', '\t'])
        && !says
            .iter()
            .any(|start| text.trim_start().starts_with(start));
    // `{` continues with an object; `{"level":"error",…}` is a line of a log.
    let is_record = text.starts_with("{\"") && text.ends_with('}');
    indented
        || !is_record
            && lexicon()
                .continuation
                .words
                .iter()
                .any(|start| text.starts_with(start))
}

/// Whether a line says that the program ends and not why: `fatal error, exiting with code 1`.
fn is_closing(text: &str) -> bool {
    said(text, &lexicon().closing.words).any(|place| {
        let rest = &text[place.end..];
        !rest.contains(|c: char| c.is_alphabetic())
    })
}

/// Whether a line says what to do about a failure: `hint: to allow it, run store trust`.
fn is_hint(text: &str) -> bool {
    let message = text.split_once(": ").map_or("", |(_, rest)| rest);
    [text, message].iter().any(|text| {
        let text = text.trim_start().to_ascii_lowercase();
        lexicon().hint.words.iter().any(|start| {
            let rest = text.strip_prefix(start);
            rest.is_some_and(|rest| rest.starts_with([' ', ':', ',']))
        })
    })
}

/// Whether a line is an underline, which says nothing without the line above it: `    ^^^^~~^`.
fn is_underline(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '^' | '~' | ' ' | '\t'))
}

/// Whether a line is a frame of a stack trace: `    at Module._load (node:…)`, `  File "app.py", line 1`.
pub(crate) fn is_frame(text: &str) -> bool {
    let text = text.trim_start();
    let numbered = text
        .strip_prefix('#')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    numbered
        || ["at ", "File \"", "from ", "- /"]
            .iter()
            .any(|start| text.starts_with(start))
}

/// The sentences of a line that speak of a failure; none if the line is a warning.
pub(crate) fn complaints(line: &Words) -> impl Iterator<Item = &str> {
    let is_serious = !is_warning(line) && !is_tolerated(line.said());
    let sentences = is_serious.then(|| sentences(line.said()));
    sentences
        .into_iter()
        .flatten()
        .filter(|sentence| speaks_of_failure(sentence))
}

pub(super) fn speaks_of_success(text: &str) -> bool {
    affirms(text, &lexicon().success.words)
}

fn speaks_of_failure(text: &str) -> bool {
    affirms(text, &lexicon().failure.words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::testing::{INIT, Script};

    fn headline(writes: &[(i64, &str)]) -> (String, Vec<String>) {
        let mut s = Script::new(&["app"]);
        for &(fd, text) in writes {
            s.write(INIT, fd, text);
        }
        let facts = Facts::of(&s.run, s.numbered());
        let words = LastWords::of(facts.processes.get(INIT).unwrap().output.lines());
        let block = words.block().iter().map(|line| line.text.clone()).collect();
        (
            words
                .headline()
                .map(|line| line.text.clone())
                .unwrap_or_default(),
            block,
        )
    }

    #[test]
    fn a_log_of_json_has_its_error_as_headline() {
        let error = "{\"level\":\"error\",\"msg\":\"schema version 9 is newer than 7\"}";
        let log = format!(
            "{{\"level\":\"info\",\"msg\":\"starting\"}}\n{error}\n{{\"level\":\"info\",\"msg\":\"shutdown complete\"}}\n"
        );
        assert_eq!(headline(&[(1, &log)]).0, error);
    }

    #[test]
    fn what_follows_a_warning_is_the_headline() {
        let warning = "cache disabled: [Errno 30] Read-only file system: '/data/cache'\n";
        let of = |last| headline(&[(2, warning), (2, last)]).0;
        let why = "rules are no JSON: Expecting ',' delimiter";
        assert_eq!(of("rules are no JSON: Expecting ',' delimiter\n"), why);
        assert_eq!(of("exiting\n"), warning.trim());
    }

    #[test]
    fn an_assertion_of_node_is_the_headline_and_not_its_trace() {
        let text = "\n  #  node[7]: void node::Start() at ../src/node_platform.cc:68\n  #  Assertion failed: (0) == (uv_thread_create(t.get(), start_thread, this))\n\n----- Native stack trace -----\n\n 1: 0xcb5167 node::Assert() [node]\n";
        assert_eq!(
            headline(&[(2, text)]).0.trim(),
            "#  Assertion failed: (0) == (uv_thread_create(t.get(), start_thread, this))"
        );
    }

    #[test]
    fn what_ends_a_trace_is_the_headline_whatever_its_words_are() {
        let trace = "Traceback (most recent call last):\n  File \"app.py\", line 3, in <module>\n    client.get()\nclient.RemoteDisconnected: Remote end closed connection without response\n";
        let (head, _) = headline(&[
            (2, "sh: warn: cannot set locale\n"),
            (2, trace),
            (1, "bye\n"),
        ]);
        assert_eq!(
            head,
            "client.RemoteDisconnected: Remote end closed connection without response"
        );
    }

    #[test]
    fn what_follows_an_opening_is_the_headline() {
        let of = |text: &str| headline(&[(2, text)]).0;
        assert_eq!(
            of(
                "terminate called after throwing an instance of 'ParseError'\n  what():  lane 3 has no exit\n"
            ),
            "  what():  lane 3 has no exit"
        );
        assert_eq!(
            of(
                "thread 'main' panicked at src/main.rs:5:10:\nledger out of balance\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
            ),
            "ledger out of balance"
        );
        assert_eq!(
            of("terminate called without an active exception\n"),
            "terminate called without an active exception"
        );
    }

    #[test]
    fn a_message_that_is_repeated_is_its_last_saying() {
        let (_, block) = headline(&[(2, "db: refused\ndb: refused\n"), (2, "giving up\n")]);
        assert_eq!(block, ["db: refused", "giving up"]);
    }

    #[test]
    fn a_node_trace_has_its_error_as_headline() {
        let trace = "node:events:502\n      throw er; // Unhandled 'error' event\n      ^\n\nError: connect ECONNREFUSED 127.0.0.1:3999\n    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1611:16)\nEmitted 'error' event on Socket instance at:\n    at emitErrorNT (node:internal/streams/destroy:169:8) {\n  errno: -111,\n}\n";
        let (head, block) = headline(&[(2, trace), (2, "\nNode.js v20.20.2\n")]);
        assert_eq!(head, "Error: connect ECONNREFUSED 127.0.0.1:3999");
        assert_eq!(block.last().unwrap(), "Node.js v20.20.2");
    }

    #[test]
    fn a_go_panic_and_a_java_cause() {
        let go = "panic: open /x: no such file or directory\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:9 +0x1d\nexit status 2\n";
        assert_eq!(
            headline(&[(2, go)]).0,
            "panic: open /x: no such file or directory"
        );
        let java = "Exception in thread \"main\" java.lang.RuntimeException: boot\n\tat Main.main(Main.java:3)\nCaused by: java.net.ConnectException: Connection refused\n\t... 3 more\n";
        assert_eq!(
            headline(&[(2, java)]).0,
            "Caused by: java.net.ConnectException: Connection refused"
        );
    }

    #[test]
    fn neither_what_closes_nor_a_hint_is_the_headline() {
        for (after, head) in [
            (
                "pump: initialization failed",
                "pump: binding 192.0.2.9:7000: Cannot assign",
            ),
            (
                "pump: fatal error, exiting with code 1",
                "pump: binding 192.0.2.9:7000: Cannot assign",
            ),
            (
                "hint: to make an exception, run pump trust",
                "pump: binding 192.0.2.9:7000: Cannot assign",
            ),
            (
                "pump: see the manual if the address is unknown",
                "pump: binding 192.0.2.9:7000: Cannot assign",
            ),
            (
                "pump: initialization failed: no licence",
                "pump: initialization failed: no licence",
            ),
            (
                "fatal: exiting with a corrupt queue",
                "fatal: exiting with a corrupt queue",
            ),
        ] {
            let words = format!("pump: binding 192.0.2.9:7000: Cannot assign\n{after}\n");
            assert_eq!(headline(&[(2, &words)]).0, head);
        }
        assert_eq!(
            headline(&[(
                2,
                "warn: no colours, ignoring\npump: initialization failed\n"
            )])
            .0,
            "pump: initialization failed"
        );
    }

    #[test]
    fn an_aside_is_no_headline() {
        let why = "shop.db.OperationalError: connection to db:5432 failed: Connection refused";
        let text = format!("{why}\n(Background on this error at: https://shop.example/e/14)\n");
        assert_eq!(headline(&[(2, &text)]).0, why);
        let only = "(all workers failed)";
        assert_eq!(headline(&[(2, "starting\n(all workers failed)\n")]).0, only);
    }

    #[test]
    fn a_warning_that_the_last_words_refer_to_is_the_headline() {
        let warning = "[warn] Failed to parse config: Unknown option 'ExitPolice'.";
        let of = |last: &str| headline(&[(2, &format!("{warning}\n{last}\n"))]).0;
        let refers = "[err] Reading config failed--see warnings above.";
        assert_eq!(of(refers), warning);
        let other = "[err] Reading keys failed: no key.";
        assert_eq!(of(other), other);
    }

    #[test]
    fn what_a_program_went_on_after_is_no_headline() {
        let lock = "no lock file (No such file or directory): /run/a/lock";
        let fatal = "app: Fatal error during start up: cannot open PID file '/run/a/pid'";
        let of = |texts: &[&str]| headline(&[(2, &(texts.join("\n") + "\n"))]).0;
        assert_eq!(of(&[lock, fatal, lock]), fatal);
        assert_eq!(of(&[fatal, lock]), lock);
        assert_eq!(of(&[lock, "cannot open cache", lock]), lock);
    }

    #[test]
    fn a_message_with_a_long_trace_is_looked_at_from_its_beginning() {
        let frames: String = (0..60)
            .map(|n| format!("  File \"/usr/lib/a.py\", line {n}, in step\n    step()\n"))
            .collect();
        let error = "CRITICAL: Unrecoverable error: no broker";
        let text = format!("{error}\nTraceback (most recent call last):\n{frames}");
        assert_eq!(headline(&[(2, &text)]).0, error);
    }

    #[test]
    fn a_warning_before_another_failure_is_not_in_the_block() {
        let (head, block) = headline(&[
            (
                2,
                "warn: cannot open /etc/opt.conf: No such file or directory\n",
            ),
            (2, "fatal: bad port\n"),
        ]);
        assert_eq!(head, "fatal: bad port");
        assert_eq!(block, ["fatal: bad port"]);
    }

    #[test]
    fn a_failure_long_before_the_end_is_no_headline() {
        let later = (0..10)
            .map(|n| format!("request {n} done\n"))
            .collect::<String>();
        assert_eq!(
            headline(&[(2, "error: metrics refused\n"), (1, &later)]).0,
            "request 9 done"
        );
        assert_eq!(
            headline(&[(2, "error: metrics refused\n"), (1, "bye\n")]).0,
            "error: metrics refused"
        );
    }
}
