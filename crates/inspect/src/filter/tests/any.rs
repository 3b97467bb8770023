//! Arbitrary expressions, on arbitrary events.

use std::convert::Infallible;

use bytes::Bytes;
use capture_format::{
    BootTime, Columns, Event, EventFlags, EventKind, FdType, RunIndex, Tid, Writer,
};
use proptest::prelude::*;

use super::*;
use crate::filter::ast::{Argument, Check, Comparison, Expr, Part, Test};
use crate::filter::fields::Takes;
use crate::filter::literal::Literal;
use crate::filter::pattern::{Pattern, Syntax};
use crate::scan::{Found, scan};
use crate::select::{Chosen, Selection};
use events::decode::Errno;

fn text() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "nginx",
        "/etc",
        "and",
        "A 10.0.0.7",
        "",
        "\"",
        "\\",
        "it's",
        "a\\\"b",
        "10.0.0.1:53",
    ];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
        any::<String>().prop_map(String::into_bytes),
    ]
}

fn number() -> impl Strategy<Value = i128> {
    prop_oneof![6 => -3i128..12, 4 => 98i128..106, 1 => any::<i64>().prop_map(i128::from)]
}

fn literal(field: &'static Field) -> BoxedStrategy<Literal> {
    let from = |names: Vec<String>| {
        prop::sample::select(names).prop_map(|name| Literal::Text(name.into_bytes()))
    };
    match field.of {
        Type::Number => number().prop_map(Literal::Number).boxed(),
        Type::Duration => number().prop_map(Literal::Duration).boxed(),
        Type::Boolean => any::<bool>().prop_map(Literal::Boolean).boxed(),
        Type::Text => text().prop_map(Literal::Text).boxed(),
        Type::Word => from(field.words.iter().map(ToString::to_string).collect()).boxed(),
        Type::Event => from(
            EventKind::ALL
                .iter()
                .filter_map(|kind| kind.name())
                .map(Into::into)
                .collect(),
        )
        .boxed(),
        Type::Result => prop::sample::select(vec![0, -2, -13, -11, -4000])
            .prop_map(|ret| Literal::Result(Errno::from_ret(ret)))
            .boxed(),
        Type::Time => prop_oneof![
            (-20i128..20).prop_map(Literal::Instant),
            (0i128..86_400_000_000_000).prop_map(Literal::TimeOfDay),
        ]
        .boxed(),
        Type::Address => {
            let net = prop::sample::select(vec![
                "10.0.0.1/32",
                "10.0.0.0/8",
                "::1/128",
                "fd00::/8",
                "0.0.0.0/0",
            ]);
            net.prop_map(|net| Literal::Network(net.parse().unwrap()))
                .boxed()
        }
    }
}

fn pattern() -> impl Strategy<Value = Test> {
    let source = prop::sample::select(vec![
        "*", "a?[b-d]", "{x,y\"}", ".*", r"\d+\\", "'\"", "(a|b)+",
    ]);
    let syntax = prop::sample::select(vec![Syntax::Glob, Syntax::IGlob, Syntax::Regex]);
    (syntax, source).prop_filter_map("no pattern", |(syntax, source)| {
        Some(Test::Like(Pattern::new(syntax, source.to_owned()).ok()?))
    })
}

fn test(field: &'static Field) -> BoxedStrategy<Test> {
    use Comparison::{AtLeast, AtMost, Equal, Greater, Less, NotEqual};
    let comparisons = match field.of.is_ordered() {
        true => vec![Equal, NotEqual, Less, AtMost, Greater, AtLeast],
        false => vec![Equal, NotEqual],
    };
    let is = (prop::sample::select(comparisons), literal(field))
        .prop_map(|(how, than)| Test::Is(how, than));
    let one_of = prop::collection::vec(literal(field), 1..4).prop_map(Test::In);
    if !field.of.is_textual() {
        return prop_oneof![1 => Just(Test::Exists), 4 => is, 2 => one_of].boxed();
    }
    let parts = vec![
        Part::Anywhere,
        Part::AnywhereInAnyCase,
        Part::Start,
        Part::End,
    ];
    let part = (prop::sample::select(parts), text()).prop_map(|(part, text)| Test::Has(part, text));
    let under = prop::collection::vec(text(), 1..3).prop_map(Test::Under);
    prop_oneof![1 => Just(Test::Exists), 4 => is, 2 => one_of, 2 => part, 1 => under, 1 => pattern()].boxed()
}

/// Fields about which a block's summary says something.
fn told() -> Vec<&'static Field> {
    let told = |field: &&Field| !matches!(field.rests_on, fields::RestsOn::More);
    fields().filter(told).collect()
}

fn check(among: Vec<&'static Field>) -> impl Strategy<Value = Expr> {
    let field = prop::sample::select(among);
    field.prop_flat_map(|field| {
        let argument = match field.takes {
            Takes::Nothing => Just(Argument::None).boxed(),
            Takes::Generation => prop_oneof![
                Just(Argument::None),
                (0usize..4).prop_map(Argument::Generation)
            ]
            .boxed(),
            Takes::Name(names) => prop::sample::select(names())
                .prop_map(|name| Argument::Name(name.to_owned()))
                .boxed(),
        };
        (argument, test(field)).prop_map(move |(argument, test)| {
            Expr::Check(Check {
                field,
                argument,
                test,
            })
        })
    })
}

fn expression(among: Vec<&'static Field>) -> impl Strategy<Value = Expr> {
    check(among).prop_recursive(4, 24, 4, |inner| {
        let several = || prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several().prop_map(Expr::And),
            several().prop_map(Expr::Or),
            inner.clone().prop_map(|inner| Expr::Not(Box::new(inner))),
        ]
    })
}

fn event() -> impl Strategy<Value = Event> {
    let bytes = || {
        prop_oneof![
            Just(b"/etc/nginx".to_vec()),
            Just(b"\x02\0\0\x35\x0a\0\0\x01\0\0\0\0\0\0\0\0".to_vec()),
            Just(b"\0\x07\x81\x83\0\x01\0\0\0\0\0\0\x05flask\x02io\0\0\x01\0\x01".to_vec()),
            prop::collection::vec(any::<u8>(), 0..8),
        ]
    };
    let kind = prop_oneof![
        8 => prop::sample::select(EventKind::ALL.to_vec()),
        1 => any::<u16>().prop_map(EventKind),
    ];
    let number = || -3i64..12;
    (
        kind,
        100u32..104,
        0u64..20,
        -20i64..106,
        [number(), number(), number()],
        bytes(),
        bytes(),
        0u8..14,
        any::<u8>(),
    )
        .prop_map(
            |(kind, pid, time, ret, args, name, data, fd_type, flags)| Event {
                time: BootTime(time),
                pid,
                tid: Tid(pid),
                kind,
                flags: EventFlags(flags & 63),
                fd_type: FdType(fd_type),
                ret,
                args,
                name: Bytes::from(name),
                data: Bytes::from(data),
            },
        )
}

fn capture(events: &[Event]) -> Reader<Cursor<Vec<u8>>> {
    let mut header = header();
    header.host.clock_offset = 3;
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    writer
        .begin_run(&Run {
            number: 1,
            start: BootTime(5),
            ..Run::default()
        })
        .unwrap();
    events.iter().for_each(|event| writer.event(event).unwrap());
    writer.end_run().unwrap();
    Reader::open(Cursor::new(writer.finish().unwrap().0)).unwrap()
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(expression in expression(fields().collect())) {
        let filter = Filter(expression);
        let written = filter.to_string();
        match Filter::parse(&written) {
            Ok(read) => prop_assert_eq!(read, filter, "{}", written),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        if let Err(error) = Filter::parse(&text) {
            let said = error.to_string();
            prop_assert!(error.column() <= text.chars().count() + 1);
            prop_assert!(said.chars().all(|c| c == '\n' || !events::escape::is_harmful(c)), "{}", said);
        }
    }

    #[test]
    fn pieces_of_the_language_are_read_or_refused(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "proc.name", "evt.type", "fd.sip", "evt.arg", "[", "]", "(", ")", "=", "!=", "in", "not", "and", "or", "\"", "'", "\\", ",",
            "openat", "10.0.0.0/8", "exists", "regex", "glob", "*", "1.5s", " ", " ", " ", "é",
        ]), 0..12)
    ) {
        let text = pieces.concat();
        if let Ok(filter) = Filter::parse(&text) {
            prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// What a block's summary excludes does not match, and a filter for one run matches what it matched before.
    #[test]
    fn no_event_of_an_excluded_block_matches(
        events in prop::collection::vec(event(), 1..12),
        from in 0usize..12,
        expression in prop_oneof![expression(told()), expression(fields().chain(told()).collect())],
    ) {
        let filter = Filter(expression);
        let mut reader = capture(&events);
        let of_run = filter.for_run(reader.header(), &reader.runs()[0]);
        let first = from.min(events.len() - 1);
        let block = &events[first..];
        let kinds: Vec<_> = block.iter().map(|event| event.kind).collect();
        let pids: Vec<_> = block.iter().map(|event| event.pid).collect();
        let times = || block.iter().map(|event| event.time);
        let time = times().min().unwrap()..=times().max().unwrap();
        let numbers = first as u64 + 1..=events.len() as u64;
        let known = Known { kinds: &kinds, pids: &pids, time, numbers: numbers.clone(), ret: None };
        let (by_any, by_run) = (filter.excludes(&known), of_run.excludes(&known));
        each_seen(&mut reader, |scope, seen| {
            let matches = filter.matches(scope, seen);
            assert_eq!(of_run.matches(scope, seen), matches, "{filter}\n{of_run}");
            if numbers.contains(&seen.number) {
                assert!(!(matches && (by_any || by_run)), "{filter}\n{:?}", seen.event);
                let alone = Known {
                    kinds: &[seen.event.kind],
                    ret: Some(seen.event.ret),
                    ..known.clone()
                };
                assert!(!(matches && of_run.excludes(&alone)), "{filter}\n{:?}", seen.event);
            }
        });
    }
}

/// Makes events similar: few kinds and results, so that many events agree in one and differ in the other. Two
/// pairs of results (-2 and 254, 101 and 357) share a place among the answers that a selection remembers.
fn similar(event: Event) -> Event {
    const KINDS: [EventKind; 5] = [
        EventKind::OPENAT,
        EventKind::WRITE,
        EventKind::FORK,
        EventKind::EXIT,
        EventKind::EXEC,
    ];
    const RESULTS: [i64; 4] = [-2, 254, 101, 357];
    Event {
        kind: KINDS[usize::from(event.kind.0) % KINDS.len()],
        ret: RESULTS[event.ret.rem_euclid(4) as usize],
        ..event
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_scan_finds_what_a_walk_over_everything_finds(
        events in prop::collection::vec(event().prop_map(similar), 1..40),
        expression in prop_oneof![expression(told()), expression(fields().chain(told()).collect())],
        follow in prop::option::of(100u32..104),
    ) {
        let select = Selection {
            filter: Some(Filter(expression)),
            follow,
            ..Selection::default()
        };
        let mut reader = capture(&events);
        let (header, run) = (reader.header().clone(), reader.runs()[0].clone());
        let mut in_run = select.in_run(&mut reader, RunIndex(0));
        let chosen = Chosen::new(in_run.clone(), &header, &run);
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        each_seen(&mut reader, |scope, seen| {
            expected.extend(in_run.takes(scope, seen).then_some(seen.number));
        });
        let all = scan(&mut reader, RunIndex(0), &chosen, |item| {
            if let Found::Event(candidate) = item {
                found.push(candidate.number());
            }
            Ok::<_, Infallible>(())
        });
        prop_assert!(all.is_ok());
        prop_assert_eq!(found, expected, "{}", select.filter.unwrap());
    }
}

#[test]
fn what_a_summary_excludes() {
    let excludes = |text: &str| {
        let filter = Filter::parse(text).unwrap();
        let run = Run {
            start: BootTime(900),
            ..Run::default()
        };
        let filter = filter.for_run(&header(), &run);
        filter.excludes(&Known {
            kinds: &[EventKind::OPENAT, EventKind::READ],
            pids: &[7, 9],
            time: BootTime(1000)..=BootTime(2000),
            numbers: 11..=20,
            ret: None,
        })
    };
    for text in [
        "evt.type = write",
        "evt.type in (write, exit)",
        "not evt.type in (openat, read)",
        "evt.type startswith w",
        "proc.pid = 8",
        "proc.pid > 9",
        "not proc.pid in (7, 9)",
        "evt.num = 21",
        "evt.num <= 10",
        "evt.num < 11",
        "evt.num > 20",
        "evt.num >= 21",
        "not evt.num > 10",
        "evt.num in (1, 2)",
        "evt.reltime < 100ns",
        "evt.reltime > 1100",
        "evt.boottime < 1000",
        "evt.time < 2026-01-01T00:00:00Z",
        "evt.is_io_write = true",
        "dns.name = flask and evt.type = openat and evt.num = 30",
        "fd.stdio = stderr and evt.type = write",
        "proc.pid = 8 or evt.num = 1",
    ] {
        assert!(excludes(text), "{text}");
    }
    for text in [
        "evt.type != write",
        "proc.pid = 9",
        "proc.pid != 9",
        "proc.name = x",
        "not proc.name = x",
        "evt.num = 11",
        "evt.num < 12",
        "evt.num <= 11",
        "evt.num > 19",
        "evt.num >= 20",
        "evt.num != 11",
        "not evt.num = 11",
        "evt.reltime >= 1100",
        "fd.name = x",
        "evt.time > 10:00:00",
        "not dns.name = x",
    ] {
        assert!(!excludes(text), "{text}");
    }
    let exits = Filter::parse("dns.name = flask or fd.name exists").unwrap();
    let known = |kinds, ret| Known {
        kinds,
        pids: &[7],
        time: BootTime(0)..=BootTime(9),
        numbers: 1..=9,
        ret,
    };
    assert!(exits.excludes(&known(&[EventKind::EXIT, EventKind::FORK], None)));
    for (text, ret) in [
        ("evt.failed = true", 3),
        ("evt.failed = false", -2),
        ("evt.res = ENOENT", -13),
        ("not evt.res = ENOENT", -2),
        ("evt.rawres > 0", 0),
        ("evt.type = read or evt.failed = true", 0),
    ] {
        let filter = Filter::parse(text).unwrap();
        assert!(filter.columns().contains(Columns::RET), "{text}");
        assert!(
            filter.excludes(&known(&[EventKind::OPENAT], Some(ret))),
            "{text}"
        );
        assert!(
            !filter.excludes(&known(&[EventKind::OPENAT], None)),
            "{text}"
        );
    }
    // An event that is not a system call has no result.
    let failed = Filter::parse("evt.failed = true").unwrap();
    assert!(failed.excludes(&known(&[EventKind::EXIT], Some(-2))));
    let by_number = Filter::parse("not evt.num = 3").unwrap();
    assert_eq!(by_number.columns(), Columns::TIME);
}

#[test]
fn an_execution_is_an_execve_too() {
    let excludes = |text: &str, kinds| {
        let (pids, time, numbers) = (&[7][..], BootTime(0)..=BootTime(9), 1..=9);
        let known = Known {
            kinds,
            pids,
            time,
            numbers,
            ret: None,
        };
        Filter::parse(text).unwrap().excludes(&known)
    };
    for text in [
        "evt.type = exec",
        "evt.type = execve",
        "evt.type in (execve, execveat)",
    ] {
        assert!(!excludes(text, &[EventKind::EXEC]), "{text}");
    }
    assert!(excludes("evt.type != execve", &[EventKind::EXEC]));
    assert!(excludes("evt.type = exec", &[EventKind::EXECVE]));
}
