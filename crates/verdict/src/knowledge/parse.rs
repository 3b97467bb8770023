//! From the text of a file to its scope and entries.
//!
//! Each entry is parsed by itself, so a fault in one leaves the others as they are. An entry begins with a line
//! `[[entry]]`; what is before the first one is the scope.

use serde::Deserialize;

use super::entry::{Entry, Row};
use super::scope::Scope;
use super::{Fault, Sheet};

/// How many entries a file may have.
const MAX_ENTRIES: usize = 500;

/// What is before the first entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    scope: Option<Scope>,
}

/// One entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    entry: [Row; 1],
}

/// A part of a file, with the number of its first line.
struct Lines<'a> {
    text: &'a str,
    first: usize,
}

impl Lines<'_> {
    /// The line at a place of the text.
    fn at(&self, place: usize) -> usize {
        let before = self.text.as_bytes().iter().take(place);
        self.first + before.filter(|&&byte| byte == b'\n').count()
    }

    /// The line that gives this field; the first one if none does.
    fn of_field(&self, field: &str) -> usize {
        let gives = |line: &str| {
            let rest = line.trim_start().strip_prefix(field);
            rest.is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        self.first + self.text.lines().position(gives).unwrap_or(0)
    }

    fn fault(&self, error: &toml::de::Error) -> (usize, String) {
        let place = error.span().map_or(0, |span| span.start);
        (self.at(place), error.message().to_owned())
    }
}

/// A file's entries, and what is wrong with others of it. `name` is the name of the file without its ending.
pub(super) fn parse(name: &str, text: &str) -> (Sheet, Vec<Fault>) {
    let (head, parts) = split(text);
    let fault = |line, entry, message| Fault {
        file: format!("{name}.toml"),
        line,
        entry,
        message,
    };
    let nothing = || Sheet::new(name.to_owned(), None, Vec::new());
    let scope = match toml::from_str::<Head>(head.text) {
        Ok(head) => head.scope,
        Err(error) => {
            let (line, message) = head.fault(&error);
            return (nothing(), vec![fault(line, None, message)]);
        }
    };
    if let Some(message) = scope.as_ref().and_then(Scope::fault) {
        let line = head.first
            + head
                .text
                .lines()
                .position(|l| l.trim() == "[scope]")
                .unwrap_or(0);
        return (nothing(), vec![fault(line, None, message)]);
    }
    let (mut entries, mut faults): (Vec<Entry>, Vec<Fault>) = (Vec::new(), Vec::new());
    for (number, part) in parts.iter().enumerate() {
        if number == MAX_ENTRIES {
            let message =
                format!("a file may have {MAX_ENTRIES} entries: this and later ones are left out");
            faults.push(fault(part.first, None, message));
            break;
        }
        let row = match toml::from_str::<Part>(part.text) {
            Ok(Part { entry: [row] }) => row,
            Err(error) => {
                let (line, message) = part.fault(&error);
                faults.push(fault(line, id_in(part.text), message));
                continue;
            }
        };
        let id = row.id.clone();
        if let Some(message) = wrong_id(name, &id, &entries) {
            faults.push(fault(part.of_field("id"), Some(id), message));
            continue;
        }
        match Entry::check(row, part.first, scope.is_some()) {
            Ok(entry) => entries.push(entry),
            Err((field, message)) => {
                let message = format!("{field}: {message}");
                faults.push(fault(part.of_field(field), Some(id), message));
            }
        }
    }
    let sheet = Sheet::new(name.to_owned(), scope, entries);
    if sheet.set().is_none() {
        let message = "the patterns of this file are too large together: divide it".to_owned();
        return (nothing(), vec![fault(1, None, message)]);
    }
    (sheet, faults)
}

/// A file of the built-in catalogue, whose entries a test has checked.
pub(super) fn checked(name: &str, text: &str) -> Option<Sheet> {
    #[derive(Deserialize)]
    struct File {
        scope: Option<Scope>,
        entry: Vec<Row>,
    }
    let file: File = toml::from_str(text).ok()?;
    let entries = file.entry.into_iter().map(Entry::unchecked).collect();
    Some(Sheet::new(name.to_owned(), file.scope, entries))
}

/// Divides a file before each line `[[entry]]`.
fn split(text: &str) -> (Lines<'_>, Vec<Lines<'_>>) {
    let mut parts = Vec::new();
    let (mut start, mut first, mut place) = (0, 1, 0);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let code = line.split('#').next().unwrap_or_default();
        if code.trim() == "[[entry]]" {
            parts.push(Lines {
                text: &text[start..place],
                first,
            });
            (start, first) = (place, number);
        }
        place += line.len();
    }
    parts.push(Lines {
        text: &text[start..],
        first,
    });
    let head = parts.remove(0);
    (head, parts)
}

/// What is wrong with an id.
fn wrong_id(file: &str, id: &str, others: &[Entry]) -> Option<String> {
    let name = id
        .strip_prefix(file)
        .and_then(|rest| rest.strip_prefix('.'));
    let is_name = |name: &str| {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        !name.is_empty() && name.len() <= 64 && name.bytes().all(known)
    };
    if !name.is_some_and(is_name) {
        return Some(format!(
            "id: it is `{file}.` and a name of small letters, digits and `_`"
        ));
    }
    let is_taken = others.iter().any(|other| other.id() == id);
    is_taken.then(|| "id: another entry of the file has it".to_owned())
}

/// The id in the text of an entry that cannot be parsed.
fn id_in(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| {
        let rest = line.trim_start().strip_prefix("id")?.trim_start();
        rest.strip_prefix('=')
    })?;
    let id = line.trim().trim_matches(['"', '\'']);
    Some(id.to_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[scope]
executed = ["kafka*"]

[[entry]]
id = "kafka.no_broker"
pattern = 'no broker at (?<host>[^:]+):(?<port>\d+)'
severity = "why"
examples = ["no broker at db:9092"]
"#;

    /// The ids that are left, and the faults as text.
    fn parsed(text: &str) -> (Vec<String>, Vec<String>) {
        let (sheet, faults) = parse("kafka", text);
        let ids = sheet.entries.iter().map(|entry| entry.id().to_owned());
        (
            ids.collect(),
            faults.iter().map(ToString::to_string).collect(),
        )
    }

    fn fault_of(entry: &str) -> String {
        let text = format!(
            "{GOOD}\n[[entry]]\n{entry}\n{}",
            &GOOD[30..].replace("no_broker", "other")
        );
        let (ids, faults) = parsed(&text);
        assert_eq!(ids, ["kafka.no_broker", "kafka.other"], "{faults:?}");
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults[0].clone()
    }

    #[test]
    fn a_fault_in_one_entry_leaves_the_others_and_has_its_line() {
        let rest = "severity = \"why\"\nexamples = [\"x\"]";
        for (entry, fault) in [
            (
                format!("id = \"kafka.x\"\npattern = '('\n{rest}"),
                "kafka.toml:13: kafka.x: pattern: unclosed group",
            ),
            (
                format!("id = \"kafka.x\"\npattern = 'x\n{rest}"),
                "kafka.toml:13: kafka.x: invalid literal string",
            ),
            (
                format!("id = \"kafka.x\"\npattern = 'x'\ncolour = 1\n{rest}"),
                "kafka.toml:14: kafka.x: unknown field `colour`",
            ),
            (
                format!("id = \"kafka.x\"\n{rest}"),
                "kafka.toml:11: kafka.x: missing field `pattern`",
            ),
            (
                format!("id = \"kafka.x\"\npattern = 'y'\n{rest}"),
                "kafka.toml:15: kafka.x: examples: the pattern does not match \"x\"",
            ),
            (
                format!("id = \"kafka.x\"\npattern = 'x'\n{rest}\ncounterexamples = [\"x.\"]"),
                "kafka.toml:16: kafka.x: counterexamples: the pattern matches \"x.\"",
            ),
            (
                format!("id = \"kafka.x\"\npattern = 'x*'\n{rest}"),
                "kafka.toml:13: kafka.x: pattern: it matches an empty line",
            ),
            (
                format!("id = \"kafka.x\"\npattern = '(?<file>x)'\n{rest}"),
                "kafka.toml:13: kafka.x: pattern: no kind of thing has the name of the group `file`",
            ),
            (
                format!("id = \"kafka.x\"\npattern = 'x{{900}}{{900}}'\n{rest}"),
                "kafka.toml:13: kafka.x: pattern: it is larger than",
            ),
            (
                format!("id = \"kafka.x\"\npattern = '{}'\n{rest}", "x".repeat(5000)),
                "kafka.toml:13: kafka.x: pattern: it has 5000 bytes",
            ),
            (
                format!("id = \"other.x\"\npattern = 'x'\n{rest}"),
                "kafka.toml:12: other.x: id: it is `kafka.` and a name",
            ),
            (
                format!("id = \"kafka.no_broker\"\npattern = 'x'\n{rest}"),
                "kafka.toml:12: kafka.no_broker: id: another entry of the file has it",
            ),
            (
                format!("id = \"kafka.x\"\npattern = 'x'\ncause = \"locked\"\n{rest}"),
                "kafka.toml:14: kafka.x: cause: `cause`, `what` and `next_step` go together",
            ),
            (
                format!(
                    "id = \"kafka.x\"\npattern = 'x'\ncause = \"oom_killed\"\nwhat = \"x\"\nnext_step = \"x\"\n{rest}"
                ),
                "kafka.toml:14: kafka.x: cause: `oom_killed` is nothing that words can prove",
            ),
            (
                format!(
                    "id = \"kafka.x\"\npattern = 'x'\ncause = \"locked\"\nwhat = \"{{path}}\"\nnext_step = \"x\"\n{rest}"
                ),
                "kafka.toml:15: kafka.x: what: the pattern has no group for {path}",
            ),
            (
                "id = \"kafka.x\"\npattern = 'x'\nseverity = \"why\"".to_owned(),
                "kafka.toml:11: kafka.x: examples: give at least one",
            ),
        ] {
            let found = fault_of(&entry);
            assert!(found.starts_with(fault), "{found}\nand not\n{fault}");
        }
    }

    #[test]
    fn a_file_whose_scope_has_a_fault_says_nothing() {
        for (head, fault) in [
            (
                "[scope]\nexecuted = [\"*\"]\n",
                "kafka.toml:1: \"*\" is no name",
            ),
            ("[scope]\n", "kafka.toml:1: the scope names nothing"),
            (
                "[scope]\ncomm = [\"x\"]\n",
                "kafka.toml:2: unknown field `comm`",
            ),
            ("[scope\n", "kafka.toml:1: "),
        ] {
            let entry = &GOOD[GOOD.find("[[entry]]").unwrap()..];
            let (ids, faults) = parsed(&format!("{head}{entry}"));
            assert!(ids.is_empty());
            assert!(faults[0].starts_with(fault), "{}", faults[0]);
        }
    }

    #[test]
    fn without_a_scope_there_is_no_cause() {
        let entry =
            "[[entry]]\nid = \"kafka.x\"\npattern = 'x'\nseverity = \"why\"\nexamples = [\"x\"]\n";
        assert_eq!(parsed(entry).0, ["kafka.x"]);
        let cause = "cause = \"locked\"\nwhat = \"x\"\nnext_step = \"x\"\n";
        let (ids, faults) = parsed(&format!("{entry}{cause}"));
        assert!(ids.is_empty());
        assert!(faults[0].contains("a file without a scope names no cause"));
    }

    #[test]
    fn a_file_has_a_limited_number_of_entries() {
        let entries: String = (0..MAX_ENTRIES + 20)
            .map(|n| format!("[[entry]]\nid = \"kafka.x{n}\"\npattern = 'x{n} '\nseverity = \"why\"\nexamples = [\"x{n} \"]\n"))
            .collect();
        let (ids, faults) = parsed(&entries);
        assert_eq!((ids.len(), faults.len()), (MAX_ENTRIES, 1));
    }

    #[test]
    fn a_fault_cannot_write_to_the_terminal() {
        let (_, faults) = parsed("[[entry]]\nid = \"kafka.\u{1b}[2J\"\n");
        assert!(!faults[0].contains('\u{1b}'), "{}", faults[0]);
    }
}
