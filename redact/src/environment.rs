//! Environments as programs print them: `env`, `export -p`, `/proc/PID/environ`, `console.log(process.env)`,
//! `print(os.environ)`.
//!
//! One assignment says little, `KEY=value` is how many configuration files look. Two variables that nearly every process
//! has are what tells an environment; then the values of all are masked.

use std::ops::Range;

use regex::bytes::Regex;

/// Variables that nearly every process or container has.
pub(crate) const TRIGGER: &str = r#"(?:^|[\n\x00 "'{,])(?:PATH|HOME|HOSTNAME|PWD|OLDPWD|SHLVL|LOGNAME|SHELL|TERM|LANG|KUBERNETES_[A-Z_]*|[A-Z0-9_]+_SERVICE_HOST|[A-Z0-9_]+_PORT_[0-9]+_TCP)["']?(?:=|: )"#;

/// `NAME=value` on a line of its own, or ended by NUL.
pub(crate) const LINES: &str =
    r#"(?m-u)(?:^|\x00)(?:export |declare -x |[ \t]*)[A-Za-z_][A-Za-z0-9_]{0,100}=([^\n\x00]+)"#;
/// `'NAME': 'value'`, `"NAME":"value"`, `NAME: 'value'`.
pub(crate) const OBJECT: &str = r#"(?-u)[{,\s]\\?["']?[A-Za-z_][A-Za-z0-9_]{0,100}\\?["']?:\s{0,2}\\?(?:"((?:[^"\\]|\\.)*)"?|'((?:[^'\\]|\\.)*)'?)"#;

/// Such variables it takes.
const ENOUGH: usize = 2;

/// The values of all variables of an environment; nothing if it is none.
pub(crate) fn find(trigger: &Regex, forms: &[Regex; 2], text: &[u8]) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    for (form, sign) in forms.iter().zip([b"=".as_slice(), b": "]) {
        let known = trigger.find_iter(text);
        let known = known.filter(|found| found.as_bytes().ends_with(sign));
        if known.take(ENOUGH).count() == ENOUGH {
            let values = form.captures_iter(text);
            places.extend(
                values.filter_map(|found| Some(found.iter().skip(1).flatten().next()?.range())),
            );
        }
    }
    places
}
