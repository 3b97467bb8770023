//! A name and a value that are two fields of one object, in either order: `name: DB_PASSWORD` and `value: x`.
//! Kubernetes, Compose, Terraform, CloudFormation and XML attributes have this form.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::Regex;

use crate::mask::is_masked;
use crate::rules::{Class, Rules};

/// The field that contains the name, which is the first group.
const NAME: &str = r#"(?i-u)\\*["']?\b(?:name|key|parameterkey|field|variable|header)\\*["']?[ \t]*[:=][ \t]*\\*["']?([A-Za-z0-9_.-]{2,64})"#;
/// The field that contains the value: quoted, or up to its end.
const VALUE: &str = r#"(?i-u)\b(?:value|parametervalue|val)\\*["']?[ \t]*[:=][ \t]*(?:\\*"((?:[^"\\\n]|\\[^"\n])*)|\\*'([^'\n]*)|[|>][-+]?[ \t]*\r?\n([ \t]+[^\n\r]+(?:\r?\n[ \t]{4,}[^\n\r-][^\n\r]*)*)|([^\s"'\\,}<>|&][^\n\r,}<>]*))"#;

/// How many bytes may be between the two fields. Other fields of the same object may be there.
const APART: usize = 160;

#[expect(clippy::expect_used, reason = "constants that the tests compile")]
static FIELDS: LazyLock<[Regex; 2]> =
    LazyLock::new(|| [NAME, VALUE].map(|pattern| Regex::new(pattern).expect("it compiles")));

/// The places of values beside the name of a credential.
pub(crate) fn find(rules: &Rules, text: &[u8]) -> Vec<Range<usize>> {
    let [name, value] = &*FIELDS;
    let names: Vec<(Range<usize>, bool)> = name
        .captures_iter(text)
        .filter_map(|found| {
            let secret = rules.keys.class(found.get(1)?.as_bytes());
            Some((
                found.get(0)?.range(),
                secret.is_some_and(|class| class != Class::Short)
                    || is_header(found.get(1)?.as_bytes()),
            ))
        })
        .collect();
    let values = value.captures_iter(text).filter_map(|found| {
        let (all, own) = (
            found.get(0)?.range(),
            found.iter().skip(1).flatten().next()?,
        );
        let next = names.partition_point(|(name, _)| name.start < all.start);
        let before = next.checked_sub(1).and_then(|at| names.get(at));
        let before = before.filter(|(name, _)| is_same(text, name.end..all.start));
        let after = names
            .get(next)
            .filter(|(name, _)| is_same(text, all.end..name.start));
        // The earlier one wins: `- name: a, value: b, name: c` is not one object.
        let secret = before.or(after)?.1;
        let tells =
            !rules.words.tells_nothing(own.as_bytes()) && !rules.words.is_prose(own.as_bytes());
        let end = own.start() + own.as_bytes().trim_ascii_end().len();
        (secret && tells && !is_masked(own.as_bytes())).then_some(own.start()..end)
    });
    values.collect()
}

fn is_header(name: &[u8]) -> bool {
    [&b"authorization"[..], b"cookie", b"proxy-authorization"]
        .iter()
        .any(|header| name.eq_ignore_ascii_case(header))
}

/// Whether the text between two fields is inside one object: it has no bracket, and no dash that starts another item.
fn is_same(text: &[u8], between: Range<usize>) -> bool {
    let Some(between) = text.get(between).filter(|between| between.len() <= APART) else {
        return false;
    };
    let starts_item = |line: &[u8]| line.trim_ascii_start().starts_with(b"- ");
    !between
        .iter()
        .any(|byte| matches!(byte, b'{' | b'}' | b'<' | b'>' | b'['))
        && !between
            .split(|byte| *byte == b'\n')
            .skip(1)
            .any(starts_item)
}
