//! Applies all rules to one text.

use std::borrow::Cow;
use std::ops::Range;

use regex::bytes::{Regex, RegexSet};

use crate::config::Config;
use crate::keys::{self, Source};
use crate::mask::mask;
use crate::rules::{Call, Own, Pattern, Rules};
use crate::view::View;
use crate::{Error, Manifest, environment, options, pairs, private_key, secret_object};

/// How many passes are made over a text in which something was found: what one rule masks may enable another rule.
const MAX_PASSES: usize = 4;
/// How many bytes are looked at together. After that, the text is looked at anew from the start of a line.
const WINDOW: usize = 64 << 10;
/// How many bytes before that are looked at again, so that a value after its key is found.
const OVERLAP: usize = 2 << 10;

/// Names of rules that are not in the table of rules.
pub(crate) const OTHER_RULES: &[&str] = &[
    "credential",
    "environment",
    "private_key",
    "secret_file",
    "secret_object",
    "command_line",
    "annotation",
    "http_header",
    "payload",
    "token",
];

/// The kind of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    pub(crate) source: Source,
    /// The text is arguments as a person types them, and not prose.
    pub(crate) typed: bool,
    /// The text continues one that ended inside a private key.
    pub(crate) in_key: bool,
    /// The text ends where the recording was cut off.
    pub(crate) cut: bool,
}

/// How a text ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// Whether something was masked.
    pub(crate) masked: bool,
    /// Whether it ended inside a private key.
    pub(crate) in_key: bool,
}

impl Context {
    pub(crate) const fn of(source: Source) -> Self {
        Self {
            source,
            typed: false,
            in_key: false,
            cut: false,
        }
    }
}

/// The compiled rules.
pub(crate) struct Scanner {
    rules: Rules,
    /// The patterns of the configuration.
    configured: RegexSet,
    patterns: Vec<(String, Regex)>,
}

/// The rules that a text calls for.
struct Calls {
    patterns: Vec<bool>,
    own: Vec<Own>,
    tokens: Vec<Range<usize>>,
    keys: Vec<usize>,
}

impl Scanner {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let rules = Rules::new()?;
        let mut patterns: Vec<(String, Regex)> = Vec::new();
        for (number, pattern) in (1..).zip(&config.patterns) {
            let name = &pattern.name;
            let taken = rules.has(name)
                || OTHER_RULES.contains(&name.as_str())
                || patterns.iter().any(|(other, _)| other == name);
            if name.is_empty() || taken {
                return Err(Error::Name {
                    number,
                    name: name.clone(),
                });
            }
            let regex = Regex::new(&pattern.regex).map_err(|error| Error::Pattern {
                name: name.clone(),
                error: error.into(),
            })?;
            if regex.is_match(b"") {
                return Err(Error::Empty { name: name.clone() });
            }
            patterns.push((name.clone(), regex));
        }
        let configured = RegexSet::new(config.patterns.iter().map(|pattern| &pattern.regex))
            .map_err(|error| Error::Pattern {
                name: "all of them together".into(),
                error: error.into(),
            })?;
        Ok(Self {
            rules,
            configured,
            patterns,
        })
    }

    /// Whether any rule may find something in a text that is not a payload.
    pub(crate) fn suspects(&self, text: &[u8]) -> bool {
        self.rules.keywords.is_match(text) || self.configured.is_match(text)
    }

    /// Masks everything that any rule finds.
    pub(crate) fn mask(&self, text: &mut [u8], context: Context, manifest: &mut Manifest) -> End {
        let Some(mut view) = View::of(text) else {
            return self.mask_plain(text, context, manifest);
        };
        let end = self.mask_plain(&mut view.text, context, manifest);
        if end.masked {
            view.write_back(text);
        }
        end
    }

    fn mask_plain(&self, text: &mut [u8], context: Context, manifest: &mut Manifest) -> End {
        let mut end = End::default();
        for pass in 0..MAX_PASSES {
            let found = private_key::find(text, context.in_key);
            end.in_key = found.open;
            let mut masked = false;
            for place in found.places {
                masked |= mask(text, place, "private_key", manifest);
            }
            end.masked |= masked;
            if pass > 0 && !masked {
                break;
            }
            masked = self.mask_windows(text, context, manifest);
            end.masked |= masked;
            if !masked {
                break;
            }
        }
        end
    }

    fn mask_windows(&self, text: &mut [u8], context: Context, manifest: &mut Manifest) -> bool {
        let mut masked = false;
        let length = text.len();
        let mut start = 0;
        loop {
            let end = window_end(text, start);
            let context = Context {
                cut: context.cut && end == length,
                ..context
            };
            masked |= self.mask_window(&mut text[start..end], context, manifest);
            if end == length {
                return masked;
            }
            // From the start of a line that is also in the window before.
            let again = end.saturating_sub(OVERLAP).max(start + 1);
            let line = text[again..end].iter().position(|byte| *byte == b'\n');
            start = line.map_or(again, |line| again + line + 1).min(end);
        }
    }

    fn mask_window(&self, text: &mut [u8], context: Context, manifest: &mut Manifest) -> bool {
        let mut masked = false;
        for _ in 0..MAX_PASSES {
            let mut changed = false;
            for (place, rule) in self.places(text, context) {
                changed |= mask(text, place, &rule, manifest);
            }
            masked |= changed;
            if !changed {
                break;
            }
        }
        masked
    }

    fn places(&self, text: &[u8], context: Context) -> Vec<(Range<usize>, Cow<'_, str>)> {
        let calls = self.calls(text, context.cut);
        let rules = &self.rules;
        let mut places: Vec<(Range<usize>, Cow<'_, str>)> = Vec::new();
        let add = |places: &mut Vec<_>, found: Vec<Range<usize>>, rule: &'static str| {
            places.extend(found.into_iter().map(|place| (place, Cow::Borrowed(rule))));
        };
        add(&mut places, calls.tokens, "token");
        let called = rules
            .patterns
            .iter()
            .zip(calls.patterns)
            .filter(|(_, called)| *called);
        for (
            Pattern {
                rule,
                regex,
                accept,
            },
            _,
        ) in called
        {
            let found =
                groups(regex, text).filter(|place| accept.holds(&rules.words, text, place.clone()));
            places.extend(found.map(|place| (place, Cow::Borrowed(rule.as_str()))));
        }
        if !calls.keys.is_empty() {
            add(
                &mut places,
                keys::find(rules, text, &calls.keys, context.source),
                "credential",
            );
        }
        for own in calls.own {
            match own {
                Own::Key | Own::PrivateKey => {}
                Own::Pair => add(&mut places, pairs::find(rules, text), "credential"),
                Own::Environment => add(
                    &mut places,
                    environment::find(&rules.words, text),
                    "environment",
                ),
                Own::SecretObject => add(&mut places, secret_object::find(text), "secret_object"),
                Own::Option if calls.keys.is_empty() => {}
                Own::Option => add(
                    &mut places,
                    options::find(rules, text, context.typed),
                    "command_line",
                ),
            }
        }
        for at in self.configured.matches(text) {
            let (name, regex) = &self.patterns[at];
            let found = groups(regex, text);
            places.extend(found.map(|place| (place, Cow::Borrowed(name.as_str()))));
        }
        places
    }

    /// One pass over the text for all keywords.
    fn calls(&self, text: &[u8], cut: bool) -> Calls {
        let rules = &self.rules;
        let mut calls = Calls {
            patterns: vec![false; rules.patterns.len()],
            own: Vec::new(),
            tokens: Vec::new(),
            keys: Vec::new(),
        };
        // A single variable is not an environment.
        let mut variable = None;
        for found in rules.keywords.find_overlapping_iter(text) {
            let keyword = found.pattern().as_usize();
            match rules.calls[keyword] {
                Call::Pattern(at) => calls.patterns[at] = true,
                Call::Found(Own::Key) => calls.keys.push(found.end()),
                Call::Found(Own::Environment) if variable.is_none_or(|known| known == keyword) => {
                    variable = Some(keyword)
                }
                Call::Found(own) if !calls.own.contains(&own) => calls.own.push(own),
                Call::Found(_) => {}
                Call::Token(token, prefix) => {
                    let start = found.end() - prefix;
                    let known = calls
                        .tokens
                        .last()
                        .is_some_and(|last| last.end > found.end());
                    if known
                        || text[start..found.end()] != *rules.prefixes[keyword]
                        || !starts_token(text, start)
                    {
                        continue;
                    }
                    if let Some(length) = rules.tokens[token].length(&text[found.end()..], cut) {
                        calls.tokens.push(start..found.end() + length);
                    }
                }
            }
        }
        calls
    }
}

/// Whether a token can start here: not inside a word, but after the `n` of `
/// ` or the `D` of `%3D`.
fn starts_token(text: &[u8], start: usize) -> bool {
    match &text[..start] {
        [.., b'\\', b'n' | b'r' | b't'] => true,
        [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => true,
        [.., before] => !before.is_ascii_alphanumeric(),
        [] => true,
    }
}

/// Where a window that starts here ends: at the end of a line, if there is one in the window's second half.
fn window_end(text: &[u8], start: usize) -> usize {
    let end = start + WINDOW;
    if end >= text.len() {
        return text.len();
    }
    let half = start + WINDOW / 2;
    let line = memchr::memrchr(b'\n', &text[half..end]);
    line.map_or(end, |line| half + line + 1)
}

/// The places that the first group matches; without a group, all that matches.
fn groups<'t>(regex: &'t Regex, text: &'t [u8]) -> impl Iterator<Item = Range<usize>> + 't {
    let group = |found: regex::bytes::Captures<'_>| {
        found
            .get(1)
            .or_else(|| found.get(0))
            .map(|group| group.range())
    };
    regex.captures_iter(text).filter_map(group)
}
