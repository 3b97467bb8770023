//! Command names of processes, followed from exec to exec.

use std::collections::HashMap;

use capture_format::{Event, EventKind};

use crate::escape::escaped_to;
use crate::facts::naming::basename;

/// Names kept at once: beyond it all are forgotten, so that a capture cannot grow the table without end.
const MAX_NAMES: usize = 1 << 16;
/// Longest name, in bytes.
const MAX_NAME: usize = 64;

/// Names by pid.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<u32, String>);

impl Names {
    /// Takes the next event and gives its process's name; empty where it is not known.
    pub(super) fn observe(&mut self, event: &Event) -> String {
        if self.0.len() > MAX_NAMES {
            self.0.clear();
        }
        let name = |bytes: &[u8]| escaped_to(bytes, MAX_NAME).to_string();
        match event.kind {
            EventKind::EXEC => {
                self.0.insert(event.pid, name(basename(&event.name)));
            }
            EventKind::FORK => {
                let parent = self
                    .0
                    .entry(event.pid)
                    .or_insert_with(|| name(&event.name))
                    .clone();
                self.0.insert(event.ret as u32, parent);
            }
            EventKind::EXIT => {
                return self
                    .0
                    .remove(&event.pid)
                    .unwrap_or_else(|| name(&event.name));
            }
            _ => {}
        }
        self.0.get(&event.pid).cloned().unwrap_or_default()
    }
}
