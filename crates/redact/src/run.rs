//! Masks credentials in the events of one run.
//!
//! A program may read or write a secret in pieces. So everything that moved through one descriptor is treated as one
//! text: the pieces are joined, and after masking each piece gets its part back. A text ends where something is
//! missing: at a payload that was recorded in part, at a read or write at a position of its own, and when the
//! descriptor is closed. The texts of processes that share a pipe or a file are joined too, where a piece ended in the
//! middle of a line.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;
use capture_format::{Class, Event, EventFlags, EventKind};
use events::fds::{Fds, has_path};

use crate::arguments::arguments;
use crate::config::Payload;
use crate::keys::Source;
use crate::mask::mask;
use crate::scan::Context;
use crate::{Manifest, Redactor, path};

impl Redactor {
    /// Masks secrets in the events of a run, and counts them. It must get all events, in the order of the capture.
    /// Lengths do not change, except of payloads that must not be kept at all. `secret_mounts` are the paths at which
    /// the container sees secrets.
    pub fn run(
        &self,
        events: &mut [Event],
        payload: Payload,
        secret_mounts: &[String],
        manifest: &mut Manifest,
    ) {
        let mut fds = Fds::default();
        let mut streams = Streams::default();
        for (at, event) in events.iter_mut().enumerate() {
            let fd = fds.observe(event);
            if event.kind == EventKind::CLOSE {
                streams.close(event);
            }
            if !moves_bytes(event.kind) {
                self.other(event, manifest);
            } else if payload == Payload::None {
                if !event.data.is_empty() {
                    event.data = Bytes::new();
                    event.flags = event.flags | EventFlags::TRUNCATED | EventFlags::REDACTED;
                    manifest.count("payload");
                }
            } else if !event.data.is_empty() {
                let path = fd.as_ref().and_then(|fd| fd.path());
                let paths = [path.map_or(&[][..], |path| path), &event.name];
                match self.rule_of(paths, secret_mounts) {
                    Some(rule) => {
                        let masked = self.shared(&mut event.data, manifest, |_, data, manifest| {
                            mask(data, 0..data.len(), rule, manifest)
                        });
                        flag(event, masked);
                    }
                    None => streams.add(at, event),
                }
            }
        }
        let mut in_keys: Vec<bool> = Vec::new();
        for text in streams.texts(events) {
            let in_key = text
                .follows
                .and_then(|before| in_keys.get(before))
                .is_some_and(|in_key| *in_key);
            in_keys.push(self.text_of(events, &text, in_key, manifest));
        }
    }

    /// Masks an event that is neither a read nor a write.
    fn other(&self, event: &mut Event, manifest: &mut Manifest) {
        use EventKind as K;
        let mut masked = match event.kind {
            kind if kind.has_numbers() => return,
            K::EXEC | K::EXECVE | K::EXECVEAT => {
                let rule = |redactor: &Self, data: &mut [u8], manifest: &mut Manifest| {
                    arguments(&redactor.scanner, data, manifest)
                };
                self.shared(&mut event.data, manifest, rule)
            }
            _ => self.scanned(&mut event.data, manifest),
        };
        if has_path(event.kind) {
            masked |= self.scanned(&mut event.name, manifest);
        }
        flag(event, masked);
    }

    /// The rule that forbids keeping anything of a file, judged by its path or the path's last component.
    fn rule_of(&self, paths: [&[u8]; 2], secret_mounts: &[String]) -> Option<&'static str> {
        let config = &self.secret_paths;
        if paths.iter().any(|path| path::is_environment(path)) {
            return Some("environment");
        }
        let secret =
            |path: &&[u8]| path::is_below(path, config) || path::is_below(path, secret_mounts);
        let [path, _] = paths;
        // If the path is known, its last component alone does not count: it may also be the name of a public file.
        let known = if path.is_empty() { paths[1] } else { path };
        (path::is_secret(known) || paths.iter().any(secret)).then_some("secret_file")
    }

    /// Masks payloads as one text. Returns whether it ended inside a private key.
    fn text_of(
        &self,
        events: &mut [Event],
        text: &Text,
        in_key: bool,
        manifest: &mut Manifest,
    ) -> bool {
        let Some((&first, &last)) = text.events.first().zip(text.events.last()) else {
            return in_key;
        };
        let mut joined =
            Vec::with_capacity(text.events.iter().map(|&at| events[at].data.len()).sum());
        text.events
            .iter()
            .for_each(|&at| joined.extend_from_slice(&events[at].data));
        let context = Context {
            in_key,
            cut: events[last].flags.contains(EventFlags::TRUNCATED),
            ..Context::of(if events[first].kind.class().takes_in() {
                Source::Read
            } else {
                Source::Written
            })
        };
        let end = self.scanner.mask(&mut joined, context, manifest);
        if !end.masked {
            return end.in_key;
        }
        let mut start = 0;
        for &at in &text.events {
            let event = &mut events[at];
            let end_of_event = start + event.data.len();
            let own = &joined[start..end_of_event];
            let masked = own != &*event.data;
            if masked {
                event.data = Bytes::copy_from_slice(own);
            }
            flag(event, masked);
            start = end_of_event;
        }
        end.in_key
    }
}

fn flag(event: &mut Event, masked: bool) {
    if masked {
        event.flags = event.flags | EventFlags::REDACTED;
    }
}

/// The bytes that one descriptor moved without a gap, as positions of events.
#[derive(Default)]
struct Text {
    events: Vec<usize>,
    /// The text before the gap. It may have ended inside a private key.
    follows: Option<usize>,
}

/// A process's descriptor.
type Descriptor = (u32, i64);
/// An inode number (0 where unknown), and whether it is read.
type Inode = (i64, bool);

/// Texts by the descriptor or inode that they belong to.
#[derive(Default)]
struct Streams {
    texts: Vec<Text>,
    /// For each descriptor, the text that still continues.
    open: HashMap<Descriptor, HashMap<Inode, usize>>,
    /// For each inode that several processes may share, its events and their descriptors.
    shared: HashMap<Inode, Vec<(usize, Descriptor)>>,
}

impl Streams {
    fn add(&mut self, at: usize, event: &Event) {
        let read = event.kind.class().takes_in();
        let (descriptor, inode) = ((event.pid, event.args[0]), (event.args[1], read));
        let open = self.open.entry(descriptor).or_default();
        let alone = has_position(event.kind);
        let text = match open.entry(inode) {
            Entry::Occupied(open) if !alone => *open.get(),
            entry => {
                let follows = match &entry {
                    Entry::Occupied(before) => Some(*before.get()),
                    Entry::Vacant(_) => None,
                };
                let text = self.texts.len();
                self.texts.push(Text {
                    events: Vec::new(),
                    follows,
                });
                entry.insert_entry(text);
                text
            }
        };
        self.texts[text].events.push(at);
        if event.flags.contains(EventFlags::TRUNCATED) {
            open.insert(inode, self.texts.len());
            self.texts.push(Text {
                events: Vec::new(),
                follows: Some(text),
            });
        }
        if inode.0 != 0 && !alone {
            self.shared.entry(inode).or_default().push((at, descriptor));
        }
    }

    fn close(&mut self, event: &Event) {
        self.open.remove(&(event.pid, event.args[0]));
    }

    /// All texts. Texts that several processes wrote together come last.
    fn texts(self, events: &[Event]) -> Vec<Text> {
        let mut texts = self.texts;
        let mut shared: Vec<_> = self.shared.into_values().collect();
        shared.sort_unstable_by_key(|pieces| pieces.first().copied());
        for pieces in shared {
            let mut text = Text::default();
            for pair in pieces.windows(2) {
                let [(at, one), (next, other)] = pair else {
                    continue;
                };
                let data = &events[*at].data;
                let unfinished = !data.ends_with(b"\n") && !data.ends_with(b"\0");
                let seam = unfinished && (one != other || text.events.last() == Some(at));
                if !seam || events[*at].flags.contains(EventFlags::TRUNCATED) {
                    texts.push(std::mem::take(&mut text));
                    continue;
                }
                if text.events.is_empty() {
                    text.events.push(*at);
                }
                text.events.push(*next);
            }
            texts.push(text);
        }
        texts
    }
}

/// Whether the payload of such an event may be anything. Every class is named, so that a new class must be considered
/// here.
fn moves_bytes(kind: EventKind) -> bool {
    match kind.class() {
        Class::Reads | Class::Writes | Class::Sends | Class::Receives | Class::Unknown => true,
        Class::ChangesProcess
        | Class::Signals
        | Class::StartsProcess
        | Class::Opens
        | Class::ChangesDescriptor
        | Class::ChangesDirectory
        | Class::CreatesSocket
        | Class::Connects
        | Class::LooksUp
        | Class::ActsOnPath
        | Class::ActsOnFile
        | Class::Gap
        | Class::Other => false,
    }
}

/// Whether such a call has its own position in the file, so that its bytes do not continue the last ones.
fn has_position(kind: EventKind) -> bool {
    use EventKind as K;
    [
        K::PREAD64,
        K::PREADV,
        K::PREADV2,
        K::PWRITE64,
        K::PWRITEV,
        K::PWRITEV2,
    ]
    .contains(&kind)
}
