//! The catalogue: what messages of known programs mean.
//!
//! An *entry* says what one message means: which words it has, how much they say about the end of the program, and which
//! things they name. Entries are data: `crates/verdict/knowledge/*.toml`, one file for each runtime or program, and
//! files of the same form that operators add ([`Catalogue::with_packs`]).
//!
//! Entries of a file count for processes in its *scope* alone, which is given by what a process executed and which
//! libraries it loaded ([`Program`](crate::facts::program::Program)). So words of one program never change what is said
//! about another one. A file without a scope may help to choose the line that is cited, and names no cause.
//!
//! ```text
//! *.toml ─► parse    the text of a file: the scope, and each entry by itself
//!             └─► entry    one message: pattern, severity, cause; whether all of that fits together
//!                   ├─► check        examples match, counterexamples do not, no two entries contradict
//!                   └─► Catalogue    which entries a process's text matches
//! ```
//!
//! Entries are not trusted to be harmless: their number, their patterns and the compiled size of these are limited, and
//! `regex` needs linear time whatever the pattern.

#[cfg(test)]
mod ablation;
mod built_in;
mod check;
mod entry;
mod packs;
mod parse;
mod scope;

use std::fmt;
use std::sync::{Arc, OnceLock};

use regex::bytes::{RegexSet, RegexSetBuilder};

pub use entry::{Conclusion, EntityKind, Entry, Severity};
pub use packs::Unreadable;

use crate::facts::Process;
use events::escape::escaped_to;
use scope::Scope;

/// How many bytes the patterns of one file may have together once they are compiled.
const MAX_SET: usize = 8 << 20;
/// How many bytes of intermediate results the patterns of one file may keep.
const MAX_CACHE: usize = 1 << 20;

/// The catalogue of this process, if it is not the built-in one.
static INSTALLED: OnceLock<Catalogue> = OnceLock::new();

/// All entries that are known.
#[derive(Clone, Debug)]
pub struct Catalogue {
    sheets: Vec<Arc<Sheet>>,
}

/// The entries of one file.
#[derive(Debug)]
pub(crate) struct Sheet {
    /// The name of the file without its ending.
    name: String,
    /// Whose messages these are; `None` if anybody's.
    scope: Option<Scope>,
    entries: Vec<Entry>,
    /// One automaton for the patterns of all entries, in their order. `None` if that is too large.
    set: OnceLock<Option<RegexSet>>,
}

/// What a text means according to one entry.
#[derive(Clone, Debug)]
pub struct Meaning<'c, 't> {
    /// The entry.
    pub entry: &'c Entry,
    /// What the text names, in the order of the pattern's groups. Never what was masked.
    pub named: Vec<(EntityKind, &'t str)>,
    /// Where in the text the message ends.
    pub end: usize,
    /// Whether it is a message of the very program that wrote the text. If not, the words may mean something else.
    pub is_own: bool,
}

/// Something that is wrong with an entry, or with the scope of a file: this entry, or this file, is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The name of the file.
    pub file: String,
    /// The line of the file, from 1 on.
    pub line: usize,
    /// The entry, if the fault is in one that has an id.
    pub entry: Option<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |text: &str| escaped_to(text.as_bytes(), 500).to_string();
        write!(f, "{}:{}: ", escaped(&self.file), self.line)?;
        if let Some(entry) = &self.entry {
            write!(f, "{}: ", escaped(entry))?;
        }
        f.write_str(&escaped(&self.message))
    }
}

impl Catalogue {
    /// The entries that lastword comes with.
    #[must_use]
    pub fn built_in() -> &'static Self {
        built_in::catalogue()
    }

    /// The entries by which this process judges: those of [`Catalogue::install`], else the built-in ones.
    #[must_use]
    pub fn current() -> &'static Self {
        INSTALLED.get().unwrap_or_else(|| Self::built_in())
    }

    /// Makes this the catalogue by which the process judges. Only the first call has an effect: verdicts of one process
    /// must not differ.
    pub fn install(self) {
        let _ = INSTALLED.set(self);
    }

    /// The number of the entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().count()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.sheets.iter().flat_map(|sheet| &sheet.entries)
    }

    /// What a text means that this process wrote: entries of the process's own programs first, then those for everybody.
    /// The text is one line, or several with line breaks between them.
    #[must_use]
    pub fn matches<'t>(&self, process: &Process, text: &'t str) -> Vec<Meaning<'_, 't>> {
        let of = |sheet: &&Arc<Sheet>| match &sheet.scope {
            Some(scope) => scope.covers(&process.program),
            None => true,
        };
        let mut sheets: Vec<&Arc<Sheet>> = self.sheets.iter().filter(of).collect();
        sheets.sort_by_key(|sheet| sheet.scope.is_none());
        let matches = sheets.into_iter().flat_map(|sheet| sheet.matches(text));
        matches.collect()
    }

    /// How much a text that this process wrote says about its end: the most that an entry says of a part of it. Entries
    /// of the process's own programs go before those for everybody. `None` if no entry knows the text.
    #[must_use]
    pub fn severity(&self, process: &Process, text: &str) -> Option<Severity> {
        let meanings = self.matches(process, text);
        let most = |own: bool| {
            let meanings = meanings.iter().filter(|meaning| meaning.is_own == own);
            meanings.map(|meaning| meaning.entry.severity()).min()
        };
        most(true).or_else(|| most(false))
    }
}

impl Sheet {
    fn new(name: String, scope: Option<Scope>, entries: Vec<Entry>) -> Self {
        Self {
            name,
            scope,
            entries,
            set: OnceLock::new(),
        }
    }

    /// All patterns as one automaton.
    fn set(&self) -> Option<&RegexSet> {
        let compile = || {
            let patterns = self.entries.iter().map(Entry::pattern);
            let mut builder = RegexSetBuilder::new(patterns);
            let builder = builder
                .unicode(false)
                .crlf(true)
                .multi_line(true)
                .size_limit(MAX_SET)
                .dfa_size_limit(MAX_CACHE);
            builder.build().ok()
        };
        self.set.get_or_init(compile).as_ref()
    }

    fn matches<'t>(&self, text: &'t str) -> Vec<Meaning<'_, 't>> {
        let Some(set) = self.set() else {
            return Vec::new();
        };
        let found = set.matches(text.as_bytes()).into_iter();
        let meanings = found.filter_map(|at| {
            let (named, end) = self.entries[at].find(text)?;
            Some(Meaning {
                entry: &self.entries[at],
                named,
                end,
                is_own: self.scope.is_some(),
            })
        });
        meanings.collect()
    }
}
