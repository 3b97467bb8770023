//! What a program meant by a line: the line without what a logger put around the message, and how severe the logger
//! says that it is.
//!
//! `knowledge/formats.toml` says what loggers put before a message: escape sequences of terminals, times, process ids,
//! names of levels. It also says which fields of a JSON or logfmt record hold the message and the error.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::{Regex, RegexSet};
use serde::Deserialize;
use serde_json::{Map, Value};

const FILE: &str = include_str!("../knowledge/formats.toml");
/// How many formats are taken off one line.
const MAX_FORMATS: usize = 6;
/// How many fields of a logfmt record are read.
const MAX_FIELDS: usize = 64;

/// How severe a message is, according to the logger that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For developers.
    Debug,
    /// What happens in every run.
    Info,
    /// What a person may want to know, such as a hint.
    Notice,
    /// The program goes on.
    Warning,
    /// Something failed.
    Error,
    /// The program ends.
    Fatal,
}

/// A line as its program meant it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The message. Of a record it is the message and the error, joined by `: `.
    pub text: String,
    /// The level, if the logger gives one.
    pub level: Option<Level>,
}

impl Message {
    /// The message in a line. A line that begins with a blank belongs to the message before it and is kept as it is.
    #[must_use]
    pub(crate) fn of(line: &str) -> Self {
        let formats = &*FORMATS;
        if line.starts_with([' ', '\t']) {
            return Self {
                text: line.to_owned(),
                level: None,
            };
        }
        let (rest, level) = formats.strip(line);
        match formats.record(rest) {
            Some(record) => Self {
                level: record.level.or(level),
                ..record
            },
            None => Self {
                text: if rest.is_empty() { line } else { rest }.to_owned(),
                level,
            },
        }
    }
}

/// The file `knowledge/formats.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: Vec<Format>,
    record: Record,
    levels: HashMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Format {
    pattern: String,
}

/// Names of fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    message: Vec<String>,
    error: Vec<String>,
    level: Vec<String>,
    logfmt: Vec<String>,
}

struct Formats {
    any: RegexSet,
    each: Vec<Regex>,
    record: Record,
    levels: HashMap<String, Option<Level>>,
}

static FORMATS: LazyLock<Formats> = LazyLock::new(Formats::built_in);

impl Formats {
    fn built_in() -> Self {
        let file = read();
        let patterns: Vec<String> = file
            .format
            .iter()
            .map(|format| format!("^(?:{})", format.pattern))
            .collect();
        let levels = file.levels.iter().flat_map(|(level, names)| {
            let level = level_named(level);
            names.iter().map(move |name| (name.clone(), level))
        });
        Self {
            any: RegexSet::new(&patterns).expect("a test compiles the built-in formats"),
            each: patterns
                .iter()
                .map(|pattern| Regex::new(pattern).expect("a test compiles the built-in formats"))
                .collect(),
            levels: levels.collect(),
            record: file.record,
        }
    }

    /// Takes formats off the start of a line.
    fn strip<'t>(&self, line: &'t str) -> (&'t str, Option<Level>) {
        let (mut rest, mut level) = (line.trim(), None);
        for _ in 0..MAX_FORMATS {
            let next = self.any.matches(rest).into_iter().find_map(|at| {
                let found = self.each[at].captures(rest)?;
                let given = match found.name("level") {
                    Some(name) => Some(*self.levels.get(&name.as_str().to_lowercase())?),
                    None => None,
                };
                let end = found
                    .name("next")
                    .map_or(found.get(0)?.end(), |it| it.start());
                (end < rest.len()).then_some((end, given))
            });
            let Some((end, given)) = next else { break };
            rest = rest[end..].trim_start();
            level = given.flatten().or(level);
            if end == 0 {
                break;
            }
        }
        (rest, level)
    }

    /// The message of a JSON or logfmt record.
    fn record(&self, text: &str) -> Option<Message> {
        let fields = match text.starts_with('{') {
            true => json(text)?,
            false => self.logfmt(text)?,
        };
        let find = |names: &[String]| {
            let mut names = names.iter();
            names.find_map(|name| fields.get(name).filter(|value| !value.is_empty()))
        };
        let (message, error) = (find(&self.record.message), find(&self.record.error));
        let text = match (message, error) {
            (Some(message), Some(error)) if !message.contains(error.as_str()) => {
                format!("{message}: {error}")
            }
            (Some(message), _) => message.clone(),
            (None, error) => error?.clone(),
        };
        // Only the first line of what a record holds is its message; the others are a stack.
        let text = text.lines().next().unwrap_or_default().trim().to_owned();
        let level = find(&self.record.level);
        let level = level.and_then(|level| self.levels.get(&level.to_lowercase()).copied());
        // An error does not happen in every run, whatever the record calls itself.
        let level = level
            .flatten()
            .filter(|level| *level > Level::Info || error.is_none());
        (!text.is_empty()).then_some(Message { text, level })
    }

    /// The fields of `key=value key="a value"`, if the line is made of them and one key is that of a record.
    fn logfmt(&self, text: &str) -> Option<HashMap<String, String>> {
        let mut fields = HashMap::new();
        let mut rest = text;
        while !rest.is_empty() && fields.len() < MAX_FIELDS {
            let (key, after) = rest.split_once('=')?;
            if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c == '"') {
                return None;
            }
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => {
                    let end = closing_quote(quoted)?;
                    let value = quoted[..end].replace("\\\"", "\"").replace("\\n", "\n");
                    (value, &quoted[end + 1..])
                }
                None => {
                    let end = after.find(' ').unwrap_or(after.len());
                    (after[..end].to_owned(), &after[end..])
                }
            };
            fields.insert(key.to_owned(), value);
            rest = after.trim_start();
        }
        let mut keys = self.record.logfmt.iter();
        (fields.len() > 1 && keys.any(|key| fields.contains_key(key))).then_some(fields)
    }
}

/// The place of the first quote that no backslash escapes.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(at)
    })
}

/// The fields of a JSON object that hold text; of an object in a field, the fields `message` and `stack`.
fn json(text: &str) -> Option<HashMap<String, String>> {
    let object: Map<String, Value> = serde_json::from_str(text).ok()?;
    let fields = object.into_iter().filter_map(|(key, value)| {
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Object(inner) => ["message", "msg", "type"]
                .iter()
                .find_map(|key| inner.get(*key)?.as_str().map(str::to_owned))?,
            _ => return None,
        };
        Some((key, text))
    });
    Some(fields.collect())
}

fn read() -> File {
    toml::from_str(FILE).expect("a test reads the built-in formats")
}

fn level_named(name: &str) -> Option<Level> {
    serde_json::from_value(Value::String(name.to_owned())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What only tests read of a format.
    #[derive(Deserialize)]
    struct Tested {
        id: String,
        /// A line, the message in it, and its level.
        examples: Vec<[String; 3]>,
    }

    #[derive(Deserialize)]
    struct AllTested {
        format: Vec<Tested>,
    }

    #[test]
    fn each_format_does_what_its_examples_say() {
        let tested: AllTested = toml::from_str(FILE).unwrap();
        for format in &tested.format {
            assert!(!format.examples.is_empty(), "{}", format.id);
            for [line, text, level] in &format.examples {
                let expected = Message {
                    text: text.clone(),
                    level: level_named(level),
                };
                assert_eq!(Message::of(line), expected, "{}: {line:?}", format.id);
            }
        }
        for level in read().levels.keys() {
            assert!(level == "none" || level_named(level).is_some(), "{level}");
        }
    }

    #[test]
    fn a_record_is_its_message_and_its_error() {
        for (line, text, level) in [
            (
                r#"{"level":"error","ts":1.5,"msg":"cannot start","error":"open /etc/a: no such file or directory"}"#,
                "cannot start: open /etc/a: no such file or directory",
                Level::Error,
            ),
            (
                r#"{"level":50,"msg":"connect ECONNREFUSED 10.0.0.7:80","err":{"type":"Error","message":"connect ECONNREFUSED 10.0.0.7:80","stack":"…"}}"#,
                "connect ECONNREFUSED 10.0.0.7:80",
                Level::Error,
            ),
            (
                r#"ts=2026-11-30T19:47:49.231Z caller=a.go:91 level=error msg="Error opening query log file" file=/data/q err="open /data/q: permission denied""#,
                "Error opening query log file: open /data/q: permission denied",
                Level::Error,
            ),
            (
                r#"time="2026-11-30T19:47:49Z" level=fatal msg="he said \"no\"""#,
                r#"he said "no""#,
                Level::Fatal,
            ),
        ] {
            let message = Message::of(line);
            assert_eq!(
                (&*message.text, message.level),
                (text, Some(level)),
                "{line}"
            );
        }
    }

    #[test]
    fn a_record_with_an_error_is_not_what_happens_in_every_run() {
        let level = |line: &str| Message::of(line).level;
        assert_eq!(
            level(r#"level=info msg="Error parsing my.cnf" err="no such file""#),
            None
        );
        assert_eq!(
            level(r#"level=info msg="listening" port=80"#),
            Some(Level::Info)
        );
        assert_eq!(
            level(r#"level=warn msg="no cache" err="refused""#),
            Some(Level::Warning)
        );
    }

    #[test]
    fn what_is_no_format_stays() {
        for line in [
            "connect: Connection refused",
            "{broken",
            "a=b",
            "[pump] no",
            "KeyError: 'X'",
            "x = y z",
            "nginx: host not found",
            "    at Module._load",
            "404 not found",
            "fatal:",
        ] {
            assert_eq!(Message::of(line).text, line, "{line}");
        }
    }
}
