//! Redaction of one run's events, in their order.
//!
//! A program may read or write a secret in pieces. Of each descriptor whose last payload ended in the middle of a line, that line is
//! remembered (its secrets masked), so that `password=` and `hunter2` are seen together; where the last payload ended inside a
//! value or a private key, the next one starts inside it. A token that is cut in two is known by its first piece only if that is
//! long enough to be recognised.

use std::collections::VecDeque;

use bytes::Bytes;
use capture_format::{Event, EventFlags, EventKind};
use inspect::fds::{Fds, has_path};

use crate::arguments::arguments;
use crate::config::Payload;
use crate::credential::Source;
use crate::mask::mask;
use crate::scan::{Context, End};
use crate::{Manifest, Redactor, path};

/// Descriptors whose last line is remembered.
const MAX_STREAMS: usize = 64;
/// Bytes of it.
const MAX_LINE: usize = 128;

/// Masks the events of one run. Feed it every event in the order of the capture.
pub struct RunRedactor<'r> {
    redactor: &'r Redactor,
    payload: Payload,
    secret_mounts: &'r [String],
    fds: Fds,
    streams: VecDeque<(Stream, Unfinished)>,
}

/// One direction of one descriptor: process, descriptor, inode number (0 where unknown), and whether it is read.
type Stream = (u32, i64, i64, bool);

/// How the last payload of a stream ended.
struct Unfinished {
    /// Its last line, or the end of it.
    line: Vec<u8>,
    end: End,
}

impl<'r> RunRedactor<'r> {
    pub(crate) fn new(
        redactor: &'r Redactor,
        payload: Payload,
        secret_mounts: &'r [String],
    ) -> Self {
        Self {
            redactor,
            payload,
            secret_mounts,
            fds: Fds::default(),
            streams: VecDeque::new(),
        }
    }

    /// Masks what an event must not tell, and counts it. Lengths stay as they are, but for payloads that are not to be
    /// kept at all.
    pub fn event(&mut self, event: &mut Event, manifest: &mut Manifest) {
        use EventKind as K;
        let fd = self.fds.observe(event);
        let read = is_read(event.kind);
        let mut masked = false;
        if !read && !is_write(event.kind) {
            match event.kind {
                // Numbers, not text.
                K::STDIO | K::SIGNAL_GENERATE => return,
                K::CLOSE => self
                    .streams
                    .retain(|(stream, _)| (stream.0, stream.1) != (event.pid, event.args[0])),
                K::EXEC | K::EXECVE | K::EXECVEAT => {
                    masked |= self.data(event, manifest, |redactor, data, manifest| {
                        arguments(&redactor.scanner, data, manifest)
                    });
                }
                _ => masked |= self.redactor.scanned(&mut event.data, manifest),
            }
            if has_path(event.kind) {
                masked |= self.redactor.scanned(&mut event.name, manifest);
            }
        } else if self.payload == Payload::None {
            if !event.data.is_empty() {
                event.data = Bytes::new();
                event.flags = event.flags | EventFlags::TRUNCATED;
                manifest.count("payload");
                masked = true;
            }
        } else if !event.data.is_empty() {
            let path = fd.as_ref().and_then(|fd| fd.path());
            let paths = [path.map_or(&[][..], |path| path), &event.name];
            masked = match self.rule_of(paths) {
                Some(rule) => self.data(event, manifest, |_, data, manifest| {
                    mask(data, 0..data.len(), rule, manifest)
                }),
                None => self.payload(event, read, manifest),
            };
        }
        if masked {
            event.flags = event.flags | EventFlags::REDACTED;
        }
    }

    /// The rule that forbids to keep anything of a file, by its path or the last component of it.
    fn rule_of(&self, paths: [&[u8]; 2]) -> Option<&'static str> {
        let config = &self.redactor.secret_paths;
        if paths.iter().any(|path| path::is_environment(path)) {
            return Some("environment");
        }
        let secret =
            |path: &&[u8]| path::is_below(path, config) || path::is_below(path, self.secret_mounts);
        let [path, _] = paths;
        // A last component alone may be that of a public file whose path is known.
        let known = if path.is_empty() { paths[1] } else { path };
        (path::is_secret(known) || paths.iter().any(secret)).then_some("secret_file")
    }

    fn data(
        &self,
        event: &mut Event,
        manifest: &mut Manifest,
        rule: impl Fn(&Redactor, &mut [u8], &mut Manifest) -> bool,
    ) -> bool {
        self.redactor.shared(&mut event.data, manifest, rule)
    }

    /// A payload, after what the same descriptor said last.
    fn payload(&mut self, event: &mut Event, read: bool, manifest: &mut Manifest) -> bool {
        let scanner = &self.redactor.scanner;
        let stream = (event.pid, event.args[0], event.args[1], read);
        let known = self.streams.iter().rposition(|(other, _)| *other == stream);
        let before = known.and_then(|at| self.streams.remove(at));
        let before = before.map(|(_, unfinished)| unfinished);
        let ended_with_line = event.data.ends_with(b"\n") || event.data.ends_with(b"\0");
        if before.is_none() && !scanner.suspects(&event.data) {
            if !ended_with_line {
                let line = last_line(&event.data);
                self.remember(stream, line, End::default(), event);
            }
            return false;
        }
        let before = before.unwrap_or(Unfinished {
            line: Vec::new(),
            end: End::default(),
        });
        let mut text = if before.end.in_key {
            Vec::new()
        } else {
            before.line
        };
        let start = text.len();
        text.extend_from_slice(&event.data);
        let mut masked = false;
        if before.end.in_value && !before.end.in_key {
            let rest = &text[start..];
            let ends = |byte: &u8| {
                byte.is_ascii_whitespace()
                    || matches!(byte, 0 | b'"' | b'\'' | b'&' | b';' | b',' | b'<' | b'@')
            };
            let value = rest.iter().position(ends).unwrap_or(rest.len());
            masked |= value > 0 && mask(&mut text, start..start + value, "credential", manifest);
        }
        let source = if read { Source::Read } else { Source::Written };
        let context = Context {
            source,
            in_key: before.end.in_key,
            before: start,
        };
        let mut end = scanner.mask(&mut text, context, manifest);
        end.in_value |= masked && text[start..].iter().all(|&byte| byte == crate::mask::MASK);
        masked |= end.masked;
        if !ended_with_line || end.in_key {
            self.remember(stream, last_line(&text), end, event);
        }
        if masked {
            event.data = Bytes::from(text.split_off(start));
        }
        masked
    }

    /// What follows a payload that was recorded in part is somewhere else in the stream, if not in the same key.
    fn remember(&mut self, stream: Stream, line: Vec<u8>, end: End, event: &Event) {
        let cut = event.flags.contains(EventFlags::TRUNCATED);
        if cut && !end.in_key {
            return;
        }
        if self.streams.len() == MAX_STREAMS {
            self.streams.pop_front();
        }
        self.streams.push_back((stream, Unfinished { line, end }));
    }
}

/// The text behind the last line break, or the end of it.
fn last_line(text: &[u8]) -> Vec<u8> {
    let start = text
        .iter()
        .rposition(|&byte| byte == b'\n' || byte == 0)
        .map_or(0, |at| at + 1);
    text[start.max(text.len().saturating_sub(MAX_LINE))..].to_vec()
}

fn is_read(kind: EventKind) -> bool {
    use EventKind as K;
    (K::READ..=K::PREADV2).contains(&kind) || (K::RECVFROM..=K::RECVMMSG).contains(&kind)
}

fn is_write(kind: EventKind) -> bool {
    use EventKind as K;
    (K::WRITE..=K::PWRITEV2).contains(&kind) || (K::SENDTO..=K::SENDMMSG).contains(&kind)
}
