//! Environments as programs print them: `env`, `export -p`, `/proc/PID/environ`, `console.log(process.env)`,
//! `print(os.environ)`.
//!
//! A single assignment proves little, because many configuration files consist of `KEY=value`. An environment is
//! recognised by two variables that nearly every process has, close to each other. Then the values of the other
//! variables around them are masked.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::Regex;

use crate::value::Words;

/// Every environment has one of these variables.
pub(crate) const KEYWORDS: &[&str] = &[
    "path=",
    "path'",
    "path\"",
    "path:",
    "home=",
    "home'",
    "home\"",
    "home:",
    "hostname=",
    "hostname'",
    "hostname\"",
    "hostname:",
    "pwd=",
    "shlvl=",
    "shlvl'",
    "shlvl\"",
    "shlvl:",
    "logname=",
    "kubernetes_",
    "_service_host",
    "_tcp=",
    "lang=",
    "shell=",
];

/// `NAME=value` on its own line, or ended by NUL.
const LINE: &str =
    r#"(?-u)\A(?:export |declare -x |setenv |[ \t]*)([A-Za-z_][A-Za-z0-9_]{0,100})=([^\n\x00]*)"#;
/// `'NAME': 'value'`, `"NAME":"value"`, `NAME: 'value'`.
const OBJECT: &str = r#"(?-u)(?:\A|[{,\s])\\?["']?([A-Za-z_][A-Za-z0-9_]{0,100})\\?["']?:\s{0,2}\\?(?:"((?:[^"\\]|\\.)*)"?|'((?:[^'\\]|\\.)*)'?)"#;

/// How many known variables make an environment.
const ENOUGH: usize = 2;
/// How many lines that are not assignments may be between two assignments of one environment, because some values have
/// several lines.
const LINES_APART: usize = 3;
/// How many bytes may be between two members of one object.
const BYTES_APART: usize = 16;

#[expect(clippy::expect_used, reason = "constants that the tests compile")]
static FORMS: LazyLock<[Regex; 2]> =
    LazyLock::new(|| [LINE, OBJECT].map(|form| Regex::new(form).expect("it compiles")));

/// The values of an environment's variables, except those variables that every environment has; empty if the text is
/// not an environment.
pub(crate) fn find(words: &Words, text: &[u8]) -> Vec<Range<usize>> {
    let [line, object] = &*FORMS;
    let mut places = Vec::new();
    let mut block = Block::default();
    let (mut at, mut apart) = (0, 0);
    for entry in text.split(|byte| matches!(byte, b'\n' | 0)) {
        let start = at;
        at += entry.len() + 1;
        if one_line(entry, start, &mut places) {
            continue;
        }
        let found = line
            .captures(entry)
            .and_then(|found| Some((found.get(1)?, found.get(2)?)));
        let Some((name, value)) = found else {
            apart += 1;
            continue;
        };
        if apart > LINES_APART {
            block.end(&mut places);
        }
        apart = 0;
        // A message about a variable is not the variable's value.
        if !words.is_prose(value.as_bytes()) {
            block.add(name.as_bytes(), start + value.start()..start + value.end());
        }
    }
    block.end(&mut places);
    let mut last = 0;
    for found in object.captures_iter(text) {
        let (Some(all), Some(name)) = (found.get(0), found.get(1)) else {
            continue;
        };
        let Some(value) = found.iter().skip(2).flatten().next() else {
            continue;
        };
        if all.start() > last + BYTES_APART {
            block.end(&mut places);
        }
        last = all.end();
        block.add(name.as_bytes(), value.range());
    }
    block.end(&mut places);
    places
}

/// A line with `PATH=… HOME=… MODE=…` and nothing else.
fn one_line(line: &[u8], start: usize, places: &mut Vec<Range<usize>>) -> bool {
    let mut block = Block::default();
    let mut at = start;
    let mut count = 0;
    for word in line.split(|byte| *byte == b' ') {
        let place = at..at + word.len();
        at = place.end + 1;
        let name = word
            .iter()
            .take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b'_')
            .count();
        if name == 0 || word.get(name) != Some(&b'=') || word.ends_with(b":") {
            return false;
        }
        count += 1;
        block.add(&word[..name], place.start + name + 1..place.end);
    }
    if count < 3 {
        return false;
    }
    block.end(places);
    true
}

/// Assignments that belong to one environment.
#[derive(Default)]
struct Block {
    known: usize,
    values: Vec<Range<usize>>,
}

impl Block {
    fn add(&mut self, name: &[u8], value: Range<usize>) {
        if is_known(name) {
            self.known += 1;
        } else if !value.is_empty() {
            self.values.push(value);
        }
    }

    fn end(&mut self, places: &mut Vec<Range<usize>>) {
        let Self { known, values } = std::mem::take(self);
        if known >= ENOUGH {
            places.extend(values);
        }
    }
}

/// Whether nearly every process or container has this variable. The values of such variables are not secret, and say
/// much.
fn is_known(name: &[u8]) -> bool {
    const KNOWN: &[&[u8]] = &[
        b"PATH",
        b"HOME",
        b"HOSTNAME",
        b"PWD",
        b"OLDPWD",
        b"SHLVL",
        b"LOGNAME",
        b"SHELL",
        b"TERM",
        b"LANG",
    ];
    let port =
        |name: &[u8]| name.windows(6).any(|part| part == b"_PORT_") && name.ends_with(b"_TCP");
    KNOWN.contains(&name)
        || name.starts_with(b"KUBERNETES_")
        || name.ends_with(b"_SERVICE_HOST")
        || port(name)
}
