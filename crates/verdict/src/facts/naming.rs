//! Whether a text names a file, an address or another thing.

use std::ops::Range;

/// Whether `text` contains `name` as a whole word: right before and after it there is no letter, digit or other
/// character of names.
#[must_use]
pub fn names(text: &str, name: &str) -> bool {
    places(text, name).next().is_some()
}

/// Where `text` contains `name` as a whole word.
pub(crate) fn places(text: &str, name: &str) -> impl Iterator<Item = Range<usize>> {
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let is_whole = move |&(at, _): &(usize, &str)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let mut next = after.chars();
        let ends = match next.next() {
            // A dot or slash ends the name, unless the name goes on after it.
            Some('.' | '/') => !next.next().is_some_and(in_name),
            Some(c) => !in_name(c),
            None => true,
        };
        let starts = name.starts_with('/')
            || !before
                .chars()
                .next_back()
                .is_some_and(|c| in_name(c) || matches!(c, '.' | '/'));
        ends && starts
    };
    // The search first builds a table for the name. This check saves that cost for names that cannot occur.
    let possible = !name.is_empty() && name.len() <= text.len();
    let matches = possible.then(|| text.match_indices(name));
    let whole = matches.into_iter().flatten().filter(is_whole);
    whole.map(|(at, name)| at..at + name.len())
}

/// A part of a name must be at least this long to be taken for random.
const MIN_RANDOM: usize = 4;
/// From this number on, Linux gives ports to sockets that ask for no certain port: ip_local_port_range of ip(7).
pub(crate) const EPHEMERAL: u32 = 32768;

/// Whether two texts say the same, except for parts that are different each time: `/tmp/tmpx8_2kq0a` and
/// `/tmp/tmp1mm_w3ze`, a pid in the name of a file, the port of a socket that asked for no certain port.
#[must_use]
pub fn alike(one: &str, other: &str) -> bool {
    let in_token = |c: char| c.is_alphanumeric() || c == '_';
    let separators = |text: &str| text.chars().filter(|&c| !in_token(c)).collect::<String>();
    if one == other {
        return true;
    }
    let is_path = one.contains('/');
    let mut before = None;
    let mut seps = one.chars().filter(|&c| !in_token(c));
    let mut tokens = one
        .split(|c| !in_token(c))
        .zip(other.split(|c| !in_token(c)));
    let same = |(one, other): (&str, &str)| {
        let is_port = before == Some(':');
        before = seps.next();
        one == other
            || is_port && is_ephemeral(one, other)
            || is_path && !is_port && is_random(one, other)
    };
    separators(one) == separators(other) && tokens.all(same)
}

fn is_ephemeral(one: &str, other: &str) -> bool {
    [one, other]
        .iter()
        .all(|port| port.parse().is_ok_and(|port: u32| port >= EPHEMERAL))
}

/// Whether two words differ as pids do, or as names do that mkstemp(3) makes up.
fn is_random(one: &str, other: &str) -> bool {
    let number = |text: &str| text.len() >= MIN_RANDOM && text.bytes().all(|b| b.is_ascii_digit());
    let (first, second) = (one.as_bytes(), other.as_bytes());
    let start = first.iter().zip(second).take_while(|(a, b)| a == b).count();
    let end = first
        .iter()
        .rev()
        .zip(second.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let differs = one.len().saturating_sub(start + end);
    let mixed = |text: &[u8]| {
        let any = |is: fn(&u8) -> bool| text.iter().any(is);
        any(u8::is_ascii_digit) && any(u8::is_ascii_alphabetic)
            || any(u8::is_ascii_uppercase) && any(u8::is_ascii_lowercase)
    };
    let made_up =
        || mixed(first) || mixed(second) || one.starts_with("tmp") && other.starts_with("tmp");
    number(one) && number(other) || one.len() == other.len() && differs >= MIN_RANDOM && made_up()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_only_as_a_whole() {
        assert!(names("open() \"/etc/app.conf\" failed", "/etc/app.conf"));
        assert!(names("cannot resolve flask.", "flask"));
        assert!(names("lookup flask: no such host", "flask"));
        assert!(!names(
            "open /etc/app.conf.d: no such file",
            "/etc/app.conf"
        ));
        assert!(!names(
            "open /etc/app.conf/x: no such file",
            "/etc/app.conf"
        ));
        assert!(!names("my-flask: no", "flask"));
        assert!(!names("host flask.example.com not found", "flask"));
        assert!(!names("anything", ""));
    }

    #[test]
    fn what_is_another_one_each_time_makes_no_difference() {
        for (one, other) in [
            ("/tmp/tmpx8_2kq0a", "/tmp/tmp1mm_w3ze"),
            ("/tmp/tmpabcdefgh", "/tmp/tmpzyxwvuts"),
            ("/srv/sess.aQ3xZp", "/srv/sess.Lm9TTb"),
            ("/run/worker.4711.pid", "/run/worker.12034.pid"),
            ("127.0.0.1:45123", "127.0.0.1:38000"),
        ] {
            assert!(alike(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("/etc/app-1.conf", "/etc/app-2.conf"),
            ("/etc/alpha.conf", "/etc/gamma.conf"),
            ("/data/shard1a", "/data/shard2b"),
            ("127.0.0.1:5432", "127.0.0.1:5433"),
            ("127.0.0.1:45123", "127.0.0.2:45123"),
            ("/tmp/tmpabcdefgh", "/tmp/tmpabcdefgh/x"),
            ("db1.example", "db2.example"),
        ] {
            assert!(!alike(one, other), "{one} {other}");
        }
    }
}
