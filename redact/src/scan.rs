//! All rules over one text.

use std::borrow::Cow;
use std::ops::Range;

use regex::bytes::{Regex, RegexSet};

use crate::config::Config;
use crate::credential::Source;
use crate::mask::{MASK, mask};
use crate::{Error, Manifest, credential, environment, patterns, private_key};

/// Passes over a text in which something was found: what one rule masks may be what another waited for.
const MAX_PASSES: usize = 4;

/// Where a text stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    pub(crate) source: Source,
    /// It goes on from a text that ended inside a private key.
    pub(crate) in_key: bool,
    /// Bytes before the text that are there to be understood: they are written already.
    pub(crate) before: usize,
}

impl Context {
    /// A text of its own.
    pub(crate) const fn of(source: Source) -> Self {
        Self {
            source,
            in_key: false,
            before: 0,
        }
    }

    /// The part of a place that lies in the text itself.
    fn own(&self, place: Range<usize>) -> Range<usize> {
        let start = place.start.max(self.before);
        start..place.end.max(start)
    }
}

/// How a text ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// Something was masked.
    pub(crate) masked: bool,
    /// It ended inside a private key.
    pub(crate) in_key: bool,
    /// Its last byte was masked: what follows may belong to the same value.
    pub(crate) in_value: bool,
}

/// How a rule finds its places.
enum Find {
    Pattern(Regex, fn(&[u8]) -> bool),
    Credential(Regex),
    Environment(Regex, Box<[Regex; 2]>),
    PrivateKey,
}

struct Rule {
    name: Cow<'static, str>,
    find: Find,
}

/// The compiled rules.
pub(crate) struct Scanner {
    /// A pattern for each rule, at the same place: one pass tells which can find anything.
    triggers: RegexSet,
    rules: Vec<Rule>,
}

impl Scanner {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let mut triggers = Vec::new();
        let mut rules = Vec::new();
        let mut add = |trigger: &str, name: Cow<'static, str>, find| {
            triggers.push(format!("(?-u){trigger}"));
            rules.push(Rule { name, find });
        };
        let own = |pattern: &str| compile("", &format!("(?-u){pattern}"));
        for trigger in [private_key::TRIGGER, private_key::BODY_TRIGGER] {
            add(trigger, "private_key".into(), Find::PrivateKey);
        }
        for known in patterns::KNOWN {
            let find = Find::Pattern(own(known.pattern)?, known.accept);
            add(known.pattern, known.rule.into(), find);
        }
        let find = Find::Environment(
            own(environment::TRIGGER)?,
            Box::new([own(environment::LINES)?, own(environment::OBJECT)?]),
        );
        add(environment::TRIGGER, "environment".into(), find);
        let find = Find::Credential(own(credential::TRIGGER)?);
        add(credential::TRIGGER, "credential".into(), find);
        for (number, pattern) in (1..).zip(&config.patterns) {
            let name = &pattern.name;
            let taken = patterns::KNOWN.iter().any(|known| known.rule == name)
                || patterns::OTHER_RULES.contains(&name.as_str())
                || rules.iter().any(|rule: &Rule| rule.name == *name);
            if name.is_empty() || taken {
                return Err(Error::Name {
                    number,
                    name: name.clone(),
                });
            }
            let regex = compile(name, &pattern.regex)?;
            if regex.is_match(b"") {
                return Err(Error::Empty { name: name.clone() });
            }
            triggers.push(pattern.regex.clone());
            rules.push(Rule {
                name: name.clone().into(),
                find: Find::Pattern(regex, |_| true),
            });
        }
        let triggers = RegexSet::new(&triggers).map_err(|source| Error::Pattern {
            name: "all of them together".into(),
            source: source.into(),
        })?;
        Ok(Self { triggers, rules })
    }

    /// Whether any rule may find something.
    pub(crate) fn suspects(&self, text: &[u8]) -> bool {
        self.triggers.is_match(text)
    }

    /// Masks everything that any rule finds.
    pub(crate) fn mask(&self, text: &mut [u8], context: Context, manifest: &mut Manifest) -> End {
        let mut end = End::default();
        for _ in 0..MAX_PASSES {
            let mut changed = false;
            let suspects: Vec<usize> = self.triggers.matches(text).into_iter().collect();
            let suspects = || suspects.iter().map(|&at| &self.rules[at]);
            end.in_key = false;
            if context.in_key || suspects().any(|rule| matches!(rule.find, Find::PrivateKey)) {
                let found = private_key::find(text, context.in_key);
                end.in_key = found.open;
                for place in found.places {
                    changed |= mask(text, context.own(place), "private_key", manifest);
                }
            }
            for rule in suspects() {
                let places = match &rule.find {
                    Find::PrivateKey => continue,
                    Find::Pattern(regex, accept) => places(regex, *accept, text),
                    Find::Credential(regex) => credential::find(regex, text, context.source),
                    Find::Environment(regex, forms) => environment::find(regex, forms, text),
                };
                for place in places {
                    changed |= mask(text, context.own(place), &rule.name, manifest);
                }
            }
            end.masked |= changed;
            if !changed {
                break;
            }
        }
        end.in_value = end.masked && text.last() == Some(&MASK);
        end
    }
}

fn places(regex: &Regex, accept: fn(&[u8]) -> bool, text: &[u8]) -> Vec<Range<usize>> {
    let found = regex.captures_iter(text);
    let group = |found: regex::bytes::Captures<'_>| {
        found
            .get(1)
            .or_else(|| found.get(0))
            .map(|group| group.range())
    };
    found
        .filter_map(group)
        .filter(|place| accept(&text[place.clone()]))
        .collect()
}

fn compile(name: &str, pattern: &str) -> Result<Regex, Error> {
    Regex::new(pattern).map_err(|source| Error::Pattern {
        name: name.to_owned(),
        source: source.into(),
    })
}
