//! Filters that are made to do harm: each is refused with a sentence, or does its work within bounds.

use super::*;

fn refused(text: &str) -> String {
    let error = Filter::parse(text).unwrap_err().to_string();
    assert!(error.len() < 1000, "{} bytes", error.len());
    assert!(
        error
            .chars()
            .all(|c| c == '\n' || !events::escape::is_harmful(c))
    );
    error
}

#[test]
fn ten_thousand_parentheses() {
    let count = 10_000;
    let error = refused(&format!(
        "{}proc.pid=1{}",
        "(".repeat(count),
        ")".repeat(count)
    ));
    assert!(
        error.starts_with("column 101: parentheses and `not` are nested deeper than 100"),
        "{error}"
    );
    assert!(refused(&"(".repeat(count)).starts_with("column 101:"));
    assert!(refused(&"not ".repeat(count)).starts_with("column 401:"));
    assert!(refused(&")".repeat(count)).starts_with("column 1:"));
}

#[test]
fn the_deepest_that_is_allowed() {
    let nested = format!("{}proc.pid=1{}", "not (".repeat(50), ")".repeat(50));
    let filter = Filter::parse(&nested).unwrap();
    assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
}

#[test]
fn a_mebibyte() {
    let long = "x".repeat(1 << 20);
    for text in [
        long.clone(),
        format!("proc.name={long}"),
        format!("proc.name=\"{long}\""),
        format!("proc.pid in ({})", "1,".repeat(1 << 19)),
        "proc.pid=1 or ".repeat(1 << 16),
        "\u{1f4a3}".repeat(1 << 18),
        "\0".repeat(1 << 20),
    ] {
        let error = refused(&text);
        assert!(error.contains("65536 are the most"), "{error}");
    }
}

#[test]
fn as_long_as_is_allowed_and_wrong_everywhere() {
    let length = MAX_LENGTH - 20;
    for text in [
        "x".repeat(length),
        format!("proc.name={}", "=".repeat(length)),
        format!("proc.name = \"{}", "\\\"".repeat(length / 2)),
        format!("evt.arg[{}] = 1", "x".repeat(length)),
        format!("evt.arg.{} = 1", "x".repeat(length)),
        format!("evt.res = {}", "E".repeat(length)),
        format!("evt.reltime = {}s", "1".repeat(length)),
        format!("evt.time = {}Z", "1".repeat(length)),
        format!("proc.pid = {}", "9".repeat(length)),
        format!("fd.sip = {}", "1.".repeat(length / 2)),
        format!("proc.aname[{}] = x", "9".repeat(length)),
    ] {
        refused(&text);
    }
}

#[test]
fn as_many_values_and_parts_as_fit() {
    let members = vec!["1"; 20_000].join(",");
    let list = Filter::parse(&format!("proc.pid in ({members})")).unwrap();
    let parts = Filter::parse(&vec!["proc.pid=1"; 4_000].join(" or ")).unwrap();
    for filter in [list, parts] {
        assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
    }
}

#[test]
fn patterns_that_explode() {
    for bomb in [
        r"(((a{100}){100}){100}){100}",
        r"\w{1000000}",
        r"(\pL{500}){500}",
        r"((((((((((a{9}){9}){9}){9}){9}){9}){9}){9}){9}){9})",
    ] {
        let error = refused(&format!("proc.name regex \"{bomb}\""));
        assert!(
            error.contains("memory") || error.contains("no regular expression"),
            "{error}"
        );
    }
    let deep = format!(
        "proc.name regex \"{}a{}\"",
        "(".repeat(5_000),
        ")".repeat(5_000)
    );
    refused(&deep);
    refused(&format!("proc.name glob \"{}\"", "{a,".repeat(10_000)));
}

#[test]
fn more_patterns_than_memory() {
    let patterns = |count| vec!["fd.name glob *.log"; count].join(" or ");
    assert!(Filter::parse(&patterns(MAX_PATTERNS)).is_ok());
    let error = refused(&patterns(MAX_PATTERNS + 1));
    assert!(error.contains("more than 64 globs"), "{error}");
}

#[test]
fn patterns_that_backtrack_elsewhere() {
    let mut script = Script::new(&["sh"]);
    script.write(INIT, 1, &"a".repeat(60_000));
    for filter in [
        "evt.buffer regex \"(a+)+b\"",
        "evt.buffer regex \"(a|a)*b\"",
        "evt.buffer regex \"(.*)*x\"",
        "evt.buffer glob *a*a*a*a*a*a*a*a*b",
    ] {
        assert_eq!(
            matching(filter, &header(), &[script.clone()]),
            [0; 0],
            "{filter}"
        );
    }
}

#[test]
fn generations_without_end() {
    let mut script = Script::new(&["sh"]);
    for pid in INIT..INIT + 2000 {
        script.fork(pid, pid + 1);
    }
    let numbers = |filter: &str| matching(filter, &header(), &[script.clone()]);
    assert_eq!(numbers("proc.aname[1024] = sh").len(), 2000 - 1024);
    assert_eq!(numbers("proc.aname[1025] exists"), [0; 0]);
    let far = format!("proc.aname[{}] = sh", usize::MAX);
    assert_eq!(matching(&far, &header(), &[Script::new(&["sh"])]), [0; 0]);
}
