//! The report as an HTML parser sees it: what it may contain whatever a capture holds, and how large it may be.
//!
//! What the report does in a browser is tested in `browser.rs`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use capture_format::{BootTime, Event, EventKind, ExitStatus, Header, Reader, Run, Tid, Writer};
use html5gum::{Token, Tokenizer};
use sha2::{Digest, Sha256};

mod hostile;

/// What "under 2 MB" is.
const LIMIT: usize = 2_000_000;

/// Elements the template has; none that loads, embeds or submits.
const ELEMENTS: [&str; 54] = [
    "a", "b", "body", "button", "circle", "code", "dd", "details", "dialog", "div", "dl", "dt",
    "footer", "g", "h1", "h2", "h3", "h4", "head", "header", "html", "input", "kbd", "label", "li",
    "line", "main", "meta", "nav", "ol", "option", "output", "p", "path", "pre", "rect", "script",
    "search", "section", "select", "span", "style", "summary", "svg", "table", "tbody", "td",
    "text", "th", "thead", "title", "tr", "tspan", "ul",
];

fn report(reader: &mut Reader<Cursor<Vec<u8>>>) -> String {
    let mut out = Vec::new();
    inspect::report::write(reader, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// A silent end, with a failed call that the command line names.
fn silent() -> fixtures::Script {
    let mut s = fixtures::Script::new(&["slapd", "-f", "/etc/ldap/app.conf"]);
    s.stat(fixtures::INIT, "/etc/ldap/app.conf", 2)
        .exit(fixtures::INIT, 1);
    s
}

#[test]
fn leads_link_to_their_events() {
    let page = report(&mut fixtures::capture(&[silent()]));
    let leads = page.split_once("ol class=\"leads\"").unwrap().1;
    assert!(leads.contains("href=\"#event-3\""), "{leads}");
    assert!(leads.contains("it is on the command line"));
}

/// A page, taken apart as browsers do.
struct Parsed {
    /// How often each element begins.
    elements: BTreeMap<String, usize>,
    /// Name and value of every attribute, with its element.
    attributes: Vec<(String, String, String)>,
    text: String,
    comments: usize,
}

fn parse(page: &str) -> Parsed {
    let mut parsed = Parsed {
        elements: BTreeMap::new(),
        attributes: Vec::new(),
        text: String::new(),
        comments: 0,
    };
    let lossy = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut emitter = html5gum::DefaultEmitter::default();
    emitter.naively_switch_states(true);
    for token in Tokenizer::new_with_emitter(page, emitter) {
        match token.unwrap() {
            Token::StartTag(tag) => {
                let name = lossy(&tag.name);
                *parsed.elements.entry(name.clone()).or_default() += 1;
                for (attribute, value) in &tag.attributes {
                    parsed
                        .attributes
                        .push((name.clone(), lossy(attribute), lossy(value)));
                }
            }
            Token::String(text) => parsed.text += &lossy(&text),
            Token::Comment(_) => parsed.comments += 1,
            Token::Error(error) => panic!("not well formed: {error:?}"),
            Token::EndTag(_) | Token::Doctype(_) => {}
        }
    }
    parsed
}

#[test]
fn no_capture_adds_an_element_or_an_attribute() {
    for (path, page) in all() {
        has_what_the_template_has(path, &parse(&page));
    }
}

fn has_what_the_template_has(path: &str, parsed: &Parsed) {
    let allowed = BTreeSet::from(ELEMENTS);
    for element in parsed.elements.keys() {
        assert!(allowed.contains(element.as_str()), "{path}: <{element}>");
    }
    let [scripts, styles] = ["script", "style"].map(|name| parsed.elements[name]);
    assert_eq!((scripts, styles, parsed.comments), (1, 1, 0), "{path}");
    for (element, name, value) in &parsed.attributes {
        let what = format!("{path}: <{element} {name}={value}>");
        let acts = ["src", "style", "srcdoc", "action"].contains(&name.as_str());
        assert!(!name.starts_with("on") && !acts, "{what}");
        if name.ends_with("href") {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
            let anchor = value.strip_prefix('#');
            assert!(anchor.is_some_and(|it| it.chars().all(is_word)), "{what}");
        }
        if ["id", "class", "d", "transform", "tabindex"].contains(&name.as_str()) {
            assert!(!value.contains("hostile"), "{what}");
        }
    }
}

#[test]
fn all_of_a_hostile_capture_is_told_and_nothing_of_it_is_hidden() {
    let page = report(&mut hostile::capture());
    let parsed = parse(&page);
    for payload in hostile::PAYLOADS {
        assert!(parsed.text.contains(payload), "{payload}");
        if payload.contains(['<', '"']) {
            assert!(!page.contains(payload), "{payload} is not escaped");
        }
    }
    for spelt_out in [
        r"\u{202e}",
        r"\x00",
        r"\u{200b}",
        r"\u{2028}",
        r"\x1b",
        r"\xff\xfe",
    ] {
        assert!(parsed.text.contains(spelt_out), "{spelt_out}");
    }
    let hides = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let values = parsed.attributes.iter().map(|(.., value)| value.as_str());
    for text in values.chain([page.as_str()]) {
        assert_eq!(text.chars().find(|&c| hides(c)), None);
    }
}

#[test]
fn the_policy_admits_what_the_page_has_and_nothing_else() {
    let page = report(&mut hostile::capture());
    let parsed = parse(&page);
    let policy = parsed
        .attributes
        .iter()
        .find(|(_, name, value)| name == "content" && value.contains("default-src"));
    let policy = &policy.unwrap().2;
    assert!(
        policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"),
        "{policy}"
    );
    for (element, directive) in [("script", "script-src"), ("style", "style-src")] {
        let (_, rest) = page.split_once(&format!("<{element}>")).unwrap();
        let (content, _) = rest.split_once(&format!("</{element}>")).unwrap();
        let hash = BASE64_STANDARD.encode(Sha256::digest(content));
        assert!(
            policy.contains(&format!("{directive} 'sha256-{hash}'; ")),
            "{directive} in {policy}"
        );
    }
    // Before anything that it is to govern.
    assert!(page.find("Content-Security-Policy") < page.find("<style>"));
}

#[test]
fn every_link_leads_to_one_place() {
    for (path, page) in all() {
        let parsed = parse(&page);
        let of = |wanted: &str| -> Vec<&str> {
            let attributes = parsed.attributes.iter();
            let named = attributes.filter(|(_, name, _)| name == wanted);
            named.map(|(.., value)| value.as_str()).collect()
        };
        let ids = of("id");
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "{path}");
        for link in of("href") {
            assert!(unique.contains(&link[1..]), "{path}: {link}");
        }
    }
}

/// Reports of the captures in `tests/captures`.
static OF_REAL_CRASHES: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures");
    let paths = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let captures = paths.filter(|path| path.extension().is_some_and(|it| it == "lwcap"));
    let pages = captures.map(|path| {
        let bytes = std::fs::read(&path).unwrap();
        let page = report(&mut Reader::open(Cursor::new(bytes)).unwrap());
        (path.display().to_string(), page)
    });
    pages.collect()
});

/// Those, and the report of a hostile capture.
fn all() -> impl Iterator<Item = (&'static str, Cow<'static, str>)> {
    let crashes = OF_REAL_CRASHES.iter();
    let crashes = crashes.map(|(path, page)| (path.as_str(), Cow::from(page)));
    let hostile = report(&mut hostile::capture());
    crashes.chain([("hostile", Cow::from(hostile))])
}

/// What stands between two texts, wherever it does.
fn between<'p>(page: &'p str, start: &str, end: &str) -> Vec<&'p str> {
    let parts = page.split(start).skip(1);
    parts
        .map(|part| part.split_once(end).map_or(part, |(it, _)| it))
        .collect()
}

#[test]
fn the_verdict_looks_as_sure_as_it_is() {
    let mut seen = BTreeSet::new();
    for (path, page) in OF_REAL_CRASHES.iter() {
        for level in between(page, "class=\"level ", " height") {
            let (name, width) = level.split_once("\" width=\"").unwrap();
            let confidence: u8 = width.trim_end_matches('"').parse().unwrap();
            let expected = match confidence {
                80.. => "sure",
                50.. => "likely",
                _ => "doubtful",
            };
            assert_eq!(name, expected, "{path}: {confidence} %");
            seen.insert(expected);
        }
        // In the page the last words stand below the advice, in the terminal above.
        for step in between(page, "<dd class=\"next\">", "</dd>") {
            assert!(!step.contains(" above"), "{path}: {step}");
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn evidence_and_timeline_say_when() {
    for (path, page) in OF_REAL_CRASHES.iter() {
        for evidence in between(page, "<ol class=\"evidence\">", "</ol>") {
            let items = between(evidence, "<li>", "</li>");
            assert!(!items.is_empty(), "{path}");
            for item in items {
                let times = between(item, "<span class=\"time\"", "</span>");
                assert!(
                    times.len() == 1 && times[0].contains(">+"),
                    "{path}: {item}"
                );
            }
        }
        for timeline in between(page, "<svg class=\"timeline\"", "</svg>") {
            let ticks = between(timeline, "<text class=\"tick\"", "</text>");
            let told = ticks.iter().filter(|tick| !tick.ends_with(" idle"));
            assert!(told.count() >= 2, "{path}: {ticks:?}");
        }
    }
}

/// `runs` runs of `count` events, each with as much as events hold of what takes most room in HTML.
fn large(runs: u32, count: u64) -> Reader<Cursor<Vec<u8>>> {
    let mut writer = Writer::new(Vec::new(), &Header::default()).unwrap();
    let name = Bytes::from(vec![b'"'; 511]);
    let data = Bytes::from(
        ["\"".repeat(63), "\n".into()]
            .concat()
            .repeat(64)
            .into_bytes(),
    );
    let kinds = [
        EventKind::OPENAT,
        EventKind::WRITE,
        EventKind::EXEC,
        EventKind::READ,
        EventKind::CONNECT,
        EventKind::FORK,
    ];
    for number in 1..=runs {
        let status = Some(ExitStatus::Code((number % 7) as u8));
        let run = Run {
            number,
            init_pid: 100,
            start: BootTime(1),
            end: Some(BootTime(count * 1_000)),
            status,
            ..Run::default()
        };
        writer.begin_run(&run).unwrap();
        for at in 0..count {
            let kind = kinds[at as usize % kinds.len()];
            let unique = [at.to_string().as_bytes(), &name[..480]].concat();
            writer
                .event(&Event {
                    time: BootTime(at * at),
                    pid: 100 + (at % 40) as u32,
                    tid: Tid(100),
                    kind,
                    ret: if at % 3 == 0 { -2 } else { 2 },
                    args: [2, 0, 0],
                    name: Bytes::from(unique),
                    data: data.clone(),
                    ..Event::default()
                })
                .unwrap();
        }
        writer.end_run().unwrap();
    }
    let (bytes, _) = writer.finish().unwrap();
    Reader::open(Cursor::new(bytes)).unwrap()
}

#[test]
fn a_page_of_any_capture_is_below_2_mb() {
    for (runs, count) in [(0, 0), (1, 4_000), (30, 400)] {
        let page = report(&mut large(runs, count));
        parse(&page);
        println!("{runs} runs of {count} events: {} bytes", page.len());
        assert!(
            page.len() < LIMIT,
            "{runs} runs of {count} events: {} bytes",
            page.len()
        );
    }
    let page = report(&mut hostile::capture());
    assert!(page.len() < LIMIT, "{} bytes", page.len());
}

#[test]
fn what_is_left_out_is_told() {
    let page = parse(&report(&mut large(30, 400))).text;
    for told in [
        "10 earlier runs",
        "lastword show FILE",
        "events not listed",
        "not in this page",
    ] {
        assert!(page.contains(told), "{told}");
    }
}

#[test]
fn a_capture_without_runs_is_a_page() {
    let page = parse(&report(&mut large(0, 0)));
    assert!(page.text.contains("the capture holds no run"));
}
