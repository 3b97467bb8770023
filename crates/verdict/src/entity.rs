//! Entities: the things that a call or a sentence is about, such as a file, a host with its port, or a module.
//!
//! Three questions come up again and again, and this module has the answer to each of them. Does a text name an entity?
//! Are two entities the same one, although a part of their names is made up anew each time? What stays of a text if all
//! such parts are left out? The tie between a call and the last words, the comparison of runs, and the fingerprint of a
//! fault use the same answers.

use std::ops::Range;

/// A part of a name must be at least this long to be taken for random.
const MIN_RANDOM: usize = 4;

/// Whether `text` contains `name` as a whole word: right before and after it there is no letter, digit or other
/// character of names.
pub(crate) fn names(text: &str, name: &str) -> bool {
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

/// Whether two texts are about the same thing, although each of them was said at another time: the texts are equal,
/// except for the parts that are different each time (`/tmp/tmpx8_2kq0a` and `/tmp/tmp1mm_w3ze`, a pid in the name of a
/// file, the port of a socket that asked for no certain port).
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
            || is_port && is_ephemeral(one) && is_ephemeral(other)
            || is_path && !is_port && is_random(one, other)
    };
    separators(one) == separators(other) && tokens.all(same)
}

/// Whether Linux may have given this port to a socket that asked for no certain port: ip_local_port_range of ip(7).
pub(crate) fn is_ephemeral(port: &str) -> bool {
    const FIRST: u32 = 32768;
    port.parse().is_ok_and(|port: u32| port >= FIRST)
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
    let temporary = is_temporary(one) && is_temporary(other);
    temporary
        || number(one) && number(other)
        || one.len() == other.len() && differs >= MIN_RANDOM && made_up()
}

/// The normal form of a host: without what a cluster's search list appends, and without the number of a replica.
pub(crate) fn host(name: &str) -> String {
    let name = name.trim_end_matches('.');
    let name = name.find(".svc.").map_or(name, |at| &name[..at]);
    normal(name.strip_suffix(".svc").unwrap_or(name))
}

/// A text without the parts that are different each time: numbers, hashes, random names, masked bytes, the amount of
/// white space.
#[must_use]
pub fn normal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            c if in_word(c) => rest.find(|c| !in_word(c)).unwrap_or(rest.len()),
            '*' => rest.find(|c| c != '*').unwrap_or(rest.len()),
            c if c.is_whitespace() => rest
                .find(|c: char| !c.is_whitespace())
                .unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        match first {
            c if in_word(c) => push_word(&mut out, token),
            '*' => out.push('*'),
            c if c.is_whitespace() => out.push(' '),
            c => out.push(c),
        }
        rest = after;
    }
    out.trim().to_owned()
}

/// Appends a word of letters, digits and `_`. A number that follows another one, as in `10.0.0.7`, `1.5` or
/// `2026-11-30 12:00:01`, becomes one with it.
fn push_word(out: &mut String, word: &str) {
    let is_digit = |c: char| c.is_ascii_digit();
    let in_uuid = out.ends_with("#-") && matches!(word.len(), 4 | 12) && is_hexadecimal(word);
    if is_number(word) || in_uuid || is_hash(word) || is_suffix_of_a_pod(word) {
        let before = out.trim_end_matches(['.', ',', ':', '-', '/', ' ']);
        match before.ends_with('#') {
            true => out.truncate(before.len()),
            false => out.push('#'),
        }
        return;
    }
    if is_temporary(word) {
        out.push_str("tmp#");
        return;
    }
    let mut in_number = false;
    for c in word.chars() {
        match (is_digit(c), in_number) {
            (true, true) => {}
            (true, false) => out.push('#'),
            (false, _) => out.push(c),
        }
        in_number = is_digit(c);
    }
}

/// Digits, or a part of a time such as `30T12` or `01Z`.
fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
        && word
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'T' | b'Z'))
}

/// A hash, a UID or its part, an address in memory: eight hexadecimal digits or more, not all of them letters.
fn is_hash(word: &str) -> bool {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let is_address = digits.len() < word.len() && !digits.is_empty();
    (digits.len() >= 8 || is_address)
        && is_hexadecimal(digits)
        && (is_address || digits.bytes().any(|b| b.is_ascii_digit()))
}

fn is_hexadecimal(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What a controller appends to the names of its pods: letters and digits that form no words
/// (`k8s.io/apimachinery/pkg/util/rand`).
fn is_suffix_of_a_pod(word: &str) -> bool {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (5..=10).contains(&word.len())
        && word.bytes().all(|b| ALPHABET.contains(&b))
        && word.bytes().any(|b| b.is_ascii_digit())
}

/// What mkstemp(3) and its kin make up: `tmp` and six to eight characters.
fn is_temporary(word: &str) -> bool {
    word.strip_prefix("tmp")
        .is_some_and(|rest| (6..=8).contains(&rest.chars().count()))
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

    #[test]
    fn what_differs_each_time_is_left_out() {
        for (one, other) in [
            (
                "2026-11-21 06:39:30.718 FATAL pool-7: lost 10.0.0.7:5432 after 1.5 s",
                "2027-01-02T16:40:31 FATAL pool-12: lost 10.244.18.9:5433 after 30 s",
            ),
            ("/tmp/tmpx8_2kq0a/lock", "/tmp/tmp1mm_w3ze/lock"),
            ("/data/shard-1/state.db", "/data/shard-12/state.db"),
            ("/proc/4711/status", "/proc/8/status"),
            (
                "no session 3fa85f64-5717-4562-b3fc-2c963f66afa6",
                "no session 00000000-aaaa-bbbb-cccc-1234567890ab",
            ),
            ("web-7d4b9cdf64-x2x9z: gone", "web-58f4cbd6d9-7kq4z: gone"),
            ("segfault at 0x7fff21c0f3ec", "segfault at 0x0"),
            ("password=***** refused", "password=******** refused"),
            ("a   b\tc", "a b c"),
            ("libssl.so.1.1", "libssl.so.3"),
        ] {
            assert_eq!(normal(one), normal(other));
        }
    }

    #[test]
    fn what_a_fault_is_about_stays() {
        for (one, other) in [
            ("/etc/app/settings.conf", "/etc/app/secrets.conf"),
            ("missing key \"port\"", "missing key \"host\""),
            ("KeyError: 'CUSTOMER_ID'", "KeyError: 'ORDER_ID'"),
            ("feedface is no number", "deadbeef is no number"),
            ("tmpfs is full", "tmp is full"),
        ] {
            assert_ne!(normal(one), normal(other));
        }
    }

    #[test]
    fn a_host_is_the_same_by_each_of_its_names() {
        for name in [
            "db.shop",
            "db.shop.svc",
            "db.shop.svc.cluster.local",
            "db.shop.svc.cluster.local.",
        ] {
            assert_eq!(host(name), "db.shop");
        }
        assert_eq!(host("db-0.db"), host("db-2.db"));
        assert_ne!(host("db"), host("cache"));
    }
}
