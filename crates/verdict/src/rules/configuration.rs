//! A program gave up because a configuration file is empty or malformed.
//!
//! The last words have to complain about content: in words that only parsers use, or in words such as `unexpected` and
//! `invalid` beside the name of a file. The rule takes the file that the words name, if the program had read it. If
//! they name none, it takes the last configuration file that the same process had read. If no such file was recorded,
//! it takes a path with a line number from the words. A complaint right before the last words that names a place in a
//! file goes first, if all that was said after it names configuration files: one file includes the other.
//!
//! The rule is wrong if the parser complained about something that is not a file, such as an answer from the network. A
//! program's own source does not count, and neither do the files that libraries read in every program.

use super::doubt::is_warning;
use super::phrase::{says, sentences};
use super::words::{Follows, is_complaint};
use super::{Case, Cause, Evidence, Finding};
use crate::entity::{names, places};
use crate::facts::config_files::ConfigFile;
use crate::facts::output::Line;
use crate::lexicon::lexicon;
use events::basename;
use events::escape::escaped_to;

/// Endings of files that are not configuration but a program's own source.
const SOURCES: &[&[u8]] = &[
    b".py", b".js", b".mjs", b".cjs", b".ts", b".rb", b".pl", b".php", b".sh", b".java", b".go",
    b".c",
];

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    case.gave_up()?;
    let read = || {
        case.facts
            .config_files
            .iter()
            .rev()
            .filter(|file| case.below_chain(file.pid))
    };
    let block = case.words.block();
    let earlier = |file: &ConfigFile| {
        let path = String::from_utf8_lossy(&file.path).into_owned();
        case.words.earlier().find(|line| {
            let about = is_about(line, file)
                && says(&without(line.said(), file), &lexicon().beside_file.words);
            about && !is_warning(line) && case.words.follows(line, &path) != Follows::AnotherFailure
        })
    };
    // A complaint that names a place in a file, and complaints after it that only name configuration files.
    let located_earlier = case.words.earlier().find_map(|line| {
        let file = read().find(|file| is_about(line, file) && is_located(line.said(), file))?;
        let mut after = case.words.after(line).filter(|other| is_complaint(other));
        let of_files = after.all(|other| read().any(|file| is_about(other, file)));
        (is_complaint(line) && of_files).then_some((file, line))
    });
    if let Some((file, line)) = located_earlier {
        let why = "the program read the file, and a line right before its last words names the place in it";
        let mut finding = verdict(case, &file.path, Some(file), line, 72, why);
        finding.rests_on = Some(line.event);
        return Some(finding);
    }
    let named = read().find_map(|file| {
        let line = block.iter().copied().find(|line| is_about(line, file));
        Some((file, line?))
    });
    let named_earlier = || read().find_map(|file| Some((file, earlier(file)?)));
    let parses = |line: &&&Line| says(line.said(), &lexicon().of_parsers.words);
    if let Some((file, line)) = named
        && says(&without(line.said(), file), &lexicon().beside_file.words)
    {
        let (score, why) = match one_sentence(line.said(), file) {
            true => (
                88,
                "the program read the file, and its last words name it and what is wrong in it",
            ),
            false => (
                72,
                "the program read the file, and its last words name it beside something that is wrong",
            ),
        };
        return Some(verdict(case, &file.path, Some(file), line, score, why));
    }
    if let Some((file, line)) = named_earlier() {
        let why = "the program read the file, and a line right before its last words names it and what is wrong in it";
        let mut finding = verdict(case, &file.path, Some(file), line, 72, why);
        finding.rests_on = Some(line.event);
        return Some(finding);
    }
    // The headline says more than a line that only one word makes a parser's.
    let headline = block
        .first()
        .filter(|line| is_complaint(line) && says(line.said(), &lexicon().beside_file.words));
    if let Some(line) = block
        .iter()
        .find(parses)
        .map(|line| headline.unwrap_or(line))
        && !block.iter().any(|line| names_a_source(line.said()))
        && let Some(file) = read()
            .find(|file| file.event < line.event && file.pid == line.pid && !is_of_system(file))
    {
        let (score, why) = match file.empty {
            true => (
                84,
                "its parser gave up, and the last configuration file it read is empty",
            ),
            false => (
                72,
                "its parser gave up, and this is the last configuration file it read before",
            ),
        };
        return Some(verdict(case, &file.path, Some(file), line, score, why));
    }
    let (path, line) = block
        .iter()
        .find_map(|line| Some((located(line.said())?, *line)))?;
    let why = "the last words name file and line; that it was read was not seen";
    says(&line.said().replace(path, ""), &lexicon().beside_file.words)
        .then(|| verdict(case, path.as_bytes(), None, line, 64, why))
}

/// Whether this is a file that libraries read in every program. A file that does not parse is one of the program's own.
fn is_of_system(file: &ConfigFile) -> bool {
    const STARTS: &[&[u8]] = &[
        b"/usr/",
        b"/lib",
        b"/etc/ssl/",
        b"/etc/nsswitch.conf",
        b"/etc/resolv.conf",
        b"/etc/host.conf",
        b"/etc/gai.conf",
        b"/proc/",
        b"/sys/",
    ];
    STARTS.iter().any(|start| file.path.starts_with(start))
}

/// Whether a line names the file by its path or by its last component.
fn is_about(line: &Line, file: &ConfigFile) -> bool {
    let [path, name] = [&file.path[..], basename(&file.path)].map(String::from_utf8_lossy);
    line.event > file.event && (names(line.said(), &path) || names(line.said(), &name))
}

/// Whether a line names a place in the file: `app.conf:3`, `app.conf[3]`, `app.conf line 3`.
fn is_located(text: &str, file: &ConfigFile) -> bool {
    const BEFORE: &[&str] = &[":", "[", "(", " line ", ", line ", " on line ", " at line "];
    let [path, name] = [&file.path[..], basename(&file.path)].map(String::from_utf8_lossy);
    places(text, &path).chain(places(text, &name)).any(|place| {
        let after = text[place.end..].trim_start_matches(['"', '\'']);
        let mut numbers = BEFORE
            .iter()
            .filter_map(|before| after.strip_prefix(before));
        numbers.any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// Whether one sentence names the file and the fault.
fn one_sentence(text: &str, file: &ConfigFile) -> bool {
    let [path, name] = [&file.path[..], basename(&file.path)].map(String::from_utf8_lossy);
    let of_parser = says(text, &lexicon().of_parsers.words);
    let mut sentences = sentences(text).filter(|it| names(it, &path) || names(it, &name));
    sentences
        .any(|sentence| of_parser || says(&without(sentence, file), &lexicon().beside_file.words))
}

fn without(text: &str, file: &ConfigFile) -> String {
    let [path, name] = [&file.path[..], basename(&file.path)].map(String::from_utf8_lossy);
    text.replace(&*path, "").replace(&*name, "")
}

/// Whether a line names a program's source: then the source is what failed to parse. Frames of a stack trace do not
/// count.
fn names_a_source(text: &str) -> bool {
    let mut words =
        text.split(|c: char| c.is_whitespace() || matches!(c, ':' | '"' | '\'' | '(' | ')'));
    !text.starts_with([' ', '\t'])
        && words.any(|word| {
            word.contains('/') && SOURCES.iter().any(|end| word.as_bytes().ends_with(end))
        })
}

/// `/etc/nginx/nginx.conf` of `in /etc/nginx/nginx.conf:5`, if it is not a source.
fn located(text: &str) -> Option<&str> {
    let mut words = text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '(' | ')'));
    words.find_map(|word| {
        let (path, line) = word.trim_end_matches([':', ',', '.']).split_once(':')?;
        let number = line.starts_with(|c: char| c.is_ascii_digit());
        let source = SOURCES.iter().any(|end| path.as_bytes().ends_with(end));
        (path.starts_with('/') && number && !source).then_some(path)
    })
}

fn verdict(
    case: &Case<'_>,
    path: &[u8],
    file: Option<&ConfigFile>,
    line: &Line,
    score: u8,
    why: &str,
) -> Finding {
    let path = escaped_to(path, 300).to_string();
    let empty = file.is_some_and(|file| file.empty);
    let (is, next_step) = match empty {
        true => (
            "is empty",
            case.advice(
                format!("Fill {path}: check the ConfigMap's key, and that the volume mount (subPath) names it."),
                format!("Fill {path}."),
            ),
        ),
        false => (
            "is not what the program takes",
            case.advice(
                format!("Correct {path} where the message says; check the ConfigMap or the template it is made from."),
                format!("Correct {path} where the message says."),
            ),
        ),
    };
    let read = file.map(|file| {
        let said = if empty { ", and it was empty" } else { "" };
        Evidence::new(file.event, file.time, format!("read {path}{said}"))
    });
    Finding {
        rests_on: None,
        sentence: format!(
            "{}: the configuration file \"{path}\" {is}; {}",
            case.ended(),
            line.cited()
        ),
        cause: Cause::InvalidConfiguration,
        subject: path,
        score,
        why: why.into(),
        evidence: read.into_iter().chain([line.evidence()]).collect(),
        next_step,
        weakened_by: if score < 80 {
            case.missing_events()
        } else {
            Vec::new()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Verdict;
    use crate::testing::{INIT, Script, verdict};

    fn reads(path: &str, content: &str, words: &str) -> Verdict {
        let mut s = Script::new(&["app"]);
        let name = path.rsplit('/').next().unwrap();
        s.open(INIT, path, 3)
            .read(INIT, 3, name, content)
            .close(INIT, 3);
        verdict(s.write(INIT, 2, words).exit(INIT, 1))
    }

    #[test]
    fn nginx_names_file_and_line() {
        let verdict = reads(
            "/etc/nginx/nginx.conf",
            "prox_pass x;",
            "nginx: [emerg] unknown directive \"prox_pass\" in /etc/nginx/nginx.conf:5\n",
        );
        assert_eq!(
            (verdict.cause, verdict.subject.as_str(), verdict.score),
            (Cause::InvalidConfiguration, "/etc/nginx/nginx.conf", 88)
        );
    }

    #[test]
    fn a_parser_that_does_not_name_it_is_tied_to_what_was_read_last() {
        let verdict = reads(
            "/srv/config.json",
            "{\"port\":",
            "json.decoder.JSONDecodeError: Expecting value: line 1 column 9 (char 8)\n",
        );
        assert_eq!(
            (verdict.subject.as_str(), verdict.score),
            ("/srv/config.json", 72)
        );
    }

    #[test]
    fn the_file_that_was_included_is_to_blame() {
        let mut s = Script::new(&["radiusd"]);
        for (fd, path, name) in [
            (3, "/etc/radius/radiusd.conf", "radiusd.conf"),
            (4, "/etc/radius/clients.conf", "clients.conf"),
        ] {
            s.open(INIT, path, fd).read(INIT, fd, name, "client x {");
        }
        s.write(INIT, 2, "Error: /etc/radius/clients.conf[1]: EOF reached\n");
        let mut other = s.clone();
        s.write(
            INIT,
            2,
            "Error: Errors reading or parsing /etc/radius/radiusd.conf\n",
        );
        let verdict_of = |s: &mut Script| verdict(s.exit(INIT, 1));
        let verdict = verdict_of(&mut s);
        assert_eq!(
            (verdict.subject.as_str(), verdict.score),
            ("/etc/radius/clients.conf", 72)
        );
        other.write(INIT, 2, "Error: no dictionary: licence expired\n");
        assert_eq!(verdict_of(&mut other).cause, Cause::ExitedNonZero);
    }

    #[test]
    fn an_empty_file_is_said_to_be_empty() {
        let verdict = reads(
            "/srv/config.json",
            "",
            "SyntaxError: Unexpected end of JSON input\n",
        );
        assert!(
            verdict.sentence.contains("\"/srv/config.json\" is empty"),
            "{}",
            verdict.sentence
        );
        assert_eq!(verdict.score, 84);
    }

    #[test]
    fn a_name_that_dns_does_not_know_is_no_fault_of_the_file_that_has_it() {
        let verdict = crate::testing::verdict(&crate::testing::nginx());
        assert_eq!(verdict.cause, Cause::DnsNoSuchHost);
    }

    #[test]
    fn a_source_is_no_configuration() {
        let words = "/srv/app.rb:3: syntax error, unexpected end-of-input\n";
        let mut s = Script::new(&["ruby"]);
        assert_eq!(
            verdict(s.write(INIT, 2, words).exit(INIT, 1)).cause,
            Cause::ExitedNonZero
        );
    }

    #[test]
    fn a_source_that_does_not_parse_is_not_the_fault_of_the_configuration() {
        let words =
            "PHP Parse error:  syntax error, unexpected token in /srv/index.php on line 1\n";
        assert_eq!(
            reads("/etc/php.ini", "x=1", words).cause,
            Cause::ExitedNonZero
        );
    }

    #[test]
    fn what_libraries_read_is_not_what_the_program_parsed() {
        let words = "*** FATAL CONFIG FILE ERROR ***\n";
        assert_eq!(
            reads("/usr/lib/ssl/openssl.cnf", "x=1", words).cause,
            Cause::ExitedNonZero
        );
        assert_eq!(
            reads("/srv/redis.conf", "x=1", words).cause,
            Cause::InvalidConfiguration
        );
    }

    #[test]
    fn a_file_that_was_fine_is_not_blamed() {
        let verdict = reads("/srv/config.json", "{}", "fatal: licence server says no\n");
        assert_eq!(verdict.cause, Cause::ExitedNonZero);
    }
}
