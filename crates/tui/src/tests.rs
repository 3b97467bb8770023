//! The whole UI without a terminal: keys go in, screens come out.

use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::Path;

use capture_format::{
    BootTime, Event, EventKind, ExitStatus, Header, Reader, Run, RunIndex, Tid, Writer,
};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;
use ratatui::style::{Color, Modifier};

use crate::app::{App, Ask, Message};
use crate::digest;
use crate::draw::{Theme, draw};
use crate::pager::Pager;
use crate::places::MAX_PLACES;
use crate::window::MAX_LINES;

/// The program. The reading parts run in the same thread.
struct Tui<R> {
    app: App,
    pager: Pager<R>,
    reader: Reader<R>,
    size: (u16, u16),
    /// The most lines that were ever held.
    most_lines: usize,
    most_places: usize,
}

impl<R: Read + Seek> Tui<R> {
    fn new(readers: [Reader<R>; 2], size: (u16, u16)) -> Self {
        let [one, reader] = readers;
        let mut tui = Self {
            app: App::new("sample.lwcap", &one, size),
            pager: Pager::new(one),
            reader,
            size,
            most_lines: 0,
            most_places: 0,
        };
        tui.finish();
        tui
    }

    /// Answers all requests.
    fn finish(&mut self) {
        while !self.app.asks.is_empty() || !self.pager.is_idle() {
            for ask in std::mem::take(&mut self.app.asks) {
                match ask {
                    Ask::Pager(ask) => self.pager.take(ask),
                    Ask::Digest(ask) => {
                        let answer = digest::answer(&mut self.reader, ask);
                        self.app.update(Message::Digest(answer));
                    }
                }
            }
            self.slice();
        }
    }

    fn slice(&mut self) {
        let mut answers = Vec::new();
        self.pager.slice(&mut |answer| answers.push(answer));
        for answer in answers {
            self.app.update(Message::Pager(answer));
        }
        self.most_lines = self.most_lines.max(self.app.window.lines.len());
        self.most_places = self.most_places.max(self.pager.places_held());
    }

    fn code(&mut self, code: KeyCode) -> &mut Self {
        let key = KeyEvent::new(code, KeyModifiers::NONE);
        self.app.update(Message::Key(key));
        self.finish();
        self
    }

    /// Types keys; `
    /// ` is Enter, `\t` is Tab.
    fn keys(&mut self, keys: &str) -> &mut Self {
        for c in keys.chars() {
            self.code(match c {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                c => KeyCode::Char(c),
            });
        }
        self
    }

    fn screen(&self) -> String {
        let (columns, rows) = self.size;
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        let theme = Theme { colours: false };
        terminal
            .draw(|frame| draw(&self.app, theme, frame))
            .unwrap();
        terminal.backend().to_string()
    }

    fn current(&self) -> u64 {
        self.app.window.current().map_or(0, |line| line.number)
    }
}

fn sample(name: &str, size: (u16, u16)) -> Tui<File> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/captures")
        .join(name)
        .with_extension("lwcap");
    let open = || capture_format::open_file(&path).unwrap();
    Tui::new([open(), open()], size)
}

fn nginx() -> Tui<File> {
    sample("nginx-upstream", (100, 30))
}

/// A capture of one run with this many events: a program that writes lines, of which every thousandth is an error.
fn long(events: u64) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &Header::default()).unwrap();
    let run = Run {
        number: 1,
        status: Some(ExitStatus::Code(1)),
        ..Run::default()
    };
    writer.begin_run(&run).unwrap();
    for number in 0..events {
        let is_bad = number % 1000 == 999;
        let line = if is_bad {
            format!("error {number}\n")
        } else {
            "fine\n".to_owned()
        };
        let event = Event {
            time: BootTime(number * 1000),
            pid: 100,
            tid: Tid(100),
            kind: EventKind::WRITE,
            ret: line.len() as i64,
            args: [if is_bad { 2 } else { 1 }, 0, line.len() as i64],
            data: line.into_bytes().into(),
            ..Event::default()
        };
        writer.event(&event).unwrap();
    }
    writer.finish().unwrap().0
}

fn long_tui(events: u64) -> Tui<Cursor<Vec<u8>>> {
    let bytes = long(events);
    let open = || Reader::open(Cursor::new(bytes.clone())).unwrap();
    Tui::new([open(), open()], (100, 30))
}

#[test]
fn main_screen() {
    insta::assert_snapshot!(nginx().screen());
}

#[test]
fn main_screen_of_the_smallest_usual_terminal() {
    insta::assert_snapshot!(sample("nginx-upstream", (80, 24)).screen());
}

#[test]
fn a_terminal_that_is_too_small_is_told_so() {
    insta::assert_snapshot!(sample("nginx-upstream", (40, 10)).screen());
}

#[test]
fn a_wrong_filter_is_marked_below_the_box() {
    let mut tui = nginx();
    tui.keys("/prc.name=nginx\n");
    insta::assert_snapshot!(tui.screen());
    // The next key removes the message, and the events are those from before.
    tui.keys("x");
    assert!(!tui.screen().contains("there is no field"));
    assert!(tui.app.filter.is_none());
}

#[test]
fn a_filter_leaves_what_matches_and_counts_it() {
    let mut tui = nginx();
    tui.keys("/evt.failed=true\n");
    insta::assert_snapshot!(tui.screen());
    let matches = tui.app.count.matches;
    assert!(tui.app.count.done && matches > 0);
    assert_eq!(matches, tui.app.window.lines.len() as u64);
    tui.code(KeyCode::Esc);
    assert!(tui.app.filter.is_none() && tui.app.window.lines.len() as u64 > matches);
}

#[test]
fn evidence_leads_to_its_event() {
    let mut tui = nginx();
    let evidence = tui.app.verdict().unwrap().verdict.evidence[1].event;
    tui.keys("j\n");
    assert_eq!(tui.current(), evidence);
    insta::assert_snapshot!(tui.screen());
}

#[test]
fn a_lead_leads_to_its_event_too() {
    let tui = sample("programs/slapd-configuration-missing", (100, 30));
    let lead = &tui.app.verdict().unwrap().leads[0];
    let mut rows = tui.app.verdict_rows.iter();
    let row = rows.find(|row| row.text.starts_with("lead: ")).unwrap();
    assert_eq!(row.event, Some(lead.evidence[0].event));
}

#[test]
fn an_event_that_the_filter_hides_is_shown_when_it_is_cited() {
    let mut tui = nginx();
    let evidence = tui.app.verdict().unwrap().verdict.evidence[0].event;
    tui.keys("/evt.type=exit\n");
    assert!(!tui.app.window.holds(evidence));
    tui.keys("\t\n");
    assert_eq!(tui.current(), evidence);
    assert!(tui.app.note.as_ref().unwrap().contains("is off now"));
}

#[test]
fn help() {
    let mut tui = nginx();
    tui.keys("?");
    insta::assert_snapshot!(tui.screen());
    tui.keys("q");
    assert!(!tui.app.quit, "a key leaves the help alone");
}

#[test]
fn one_event_whole() {
    let mut tui = nginx();
    tui.keys("\n\n");
    insta::assert_snapshot!(tui.screen());
}

#[test]
fn tabs() {
    for (key, name) in [
        ("2", "timeline"),
        ("3", "streams"),
        ("4", "dns"),
        ("5", "errors"),
    ] {
        let mut tui = nginx();
        tui.keys(key);
        insta::assert_snapshot!(format!("tab_{name}"), tui.screen());
    }
}

#[test]
fn a_stream_is_entered_and_left() {
    let mut tui = nginx();
    tui.keys("3serror.log\n\n");
    insta::assert_snapshot!(tui.screen());
    tui.code(KeyCode::Esc);
    assert!(tui.app.stream.is_none());
}

#[test]
fn a_line_of_the_timeline_leads_to_its_event() {
    let mut tui = nginx();
    tui.keys("2G");
    let rows = tui.app.tab_state().rows.clone().unwrap();
    let at = rows.iter().rposition(|row| row.event.is_some()).unwrap();
    for _ in at + 1..rows.len() {
        tui.keys("k");
    }
    tui.keys("\n");
    assert_eq!(Some(tui.current()), rows[at].event);
}

#[test]
fn another_run_and_one_of_its_processes() {
    let mut tui = nginx();
    let last = tui.app.run;
    assert!(last > RunIndex(0), "this needs a capture of several runs");
    tui.keys("\tg\n");
    assert_eq!(tui.app.run, RunIndex(0));
    assert_eq!(tui.current(), 1);
    assert_eq!(
        tui.app.verdict().unwrap().run,
        tui.app.runs[0].number,
        "the verdict is that of the run"
    );
    tui.keys("\t\n");
    let filter = &tui.app.filter.as_ref().unwrap().0;
    assert!(filter.starts_with("proc.pid="), "{filter}");
    assert!(!tui.app.window.lines.is_empty());
}

#[test]
fn search_goes_on_and_back() {
    let mut tui = nginx();
    tui.keys("\t\t\tgsResolv.conf\n");
    let has = |tui: &Tui<File>| {
        let text = tui.app.window.current().unwrap().text.to_lowercase();
        text.contains("resolv.conf")
    };
    let first = tui.current();
    assert!(has(&tui));
    tui.keys("n");
    assert!(has(&tui) && tui.current() > first);
    tui.keys("N");
    assert_eq!(tui.current(), first);
    tui.keys("snowhere to be found\n");
    assert_eq!(tui.current(), first);
    assert!(tui.screen().contains("does not stand after this line"));
}

#[test]
fn q_and_ctrl_c_quit() {
    let mut tui = nginx();
    tui.keys("q");
    assert!(tui.app.quit);
    let mut tui = nginx();
    let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    tui.keys("/").app.update(Message::Key(key));
    assert!(tui.app.quit);
}

#[test]
fn the_screen_follows_the_terminal() {
    let mut tui = nginx();
    tui.size = (40, 10);
    tui.app.update(Message::Size(40, 10));
    tui.keys("G2");
    tui.size = (120, 40);
    tui.app.update(Message::Size(120, 40));
    tui.finish();
    assert!(tui.screen().contains("Timeline"));
}

#[test]
fn of_a_long_capture_little_is_held() {
    const EVENTS: u64 = 300_000;
    let mut tui = long_tui(EVENTS);
    tui.keys("\t\t\tG");
    assert_eq!(tui.current(), EVENTS);
    for _ in 0..100 {
        tui.code(KeyCode::PageUp);
    }
    let page = u64::from(tui.app.parts().unwrap().body.height) - 3;
    assert_eq!(tui.current(), EVENTS - 100 * page);
    tui.keys("g");
    assert_eq!(tui.current(), 1);
    for _ in 0..100 {
        tui.code(KeyCode::PageDown);
    }
    assert_eq!(tui.current(), 1 + 100 * page);
    let numbers: Vec<u64> = tui
        .app
        .window
        .lines
        .iter()
        .map(|line| line.number)
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "no line is left out"
    );
    assert!(tui.most_lines <= MAX_LINES, "{}", tui.most_lines);
    assert!(tui.most_places <= MAX_PLACES, "{}", tui.most_places);
}

#[test]
fn a_rare_match_in_a_long_capture_is_found_on_both_ways() {
    const EVENTS: u64 = 300_000;
    let mut tui = long_tui(EVENTS);
    tui.keys("/fd.num=2\n");
    assert_eq!(tui.app.count.matches, EVENTS / 1000);
    let expected: Vec<u64> = (1..=EVENTS / 1000).map(|it| it * 1000).collect();
    let numbers: Vec<u64> = tui
        .app
        .window
        .lines
        .iter()
        .map(|line| line.number)
        .collect();
    assert_eq!(numbers[..], expected[..numbers.len()]);
    tui.keys("G");
    assert_eq!(tui.current(), EVENTS);
    tui.keys("serror 4999\n");
    assert_eq!(tui.current(), EVENTS, "nothing after the last one");
    tui.keys("N");
    assert_eq!(tui.current(), 50_000, "error 49999");
    tui.keys("N");
    assert_eq!(tui.current(), 5_000);
    tui.keys("n");
    assert_eq!(tui.current(), 50_000);
}

#[test]
fn a_key_is_heard_while_something_is_looked_for() {
    let mut tui = long_tui(100_000);
    let search = "\t\t\tsnowhere";
    tui.keys(search);
    tui.app.update(Message::Key(KeyEvent::from(KeyCode::Enter)));
    for ask in std::mem::take(&mut tui.app.asks) {
        if let Ask::Pager(ask) = ask {
            tui.pager.take(ask);
        }
    }
    tui.slice();
    assert!(!tui.pager.is_idle(), "a slice is not the whole");
    assert!(tui.screen().contains("looking … 8 %"), "{}", tui.screen());
    tui.keys("G");
    assert_eq!(tui.current(), 100_000);
    assert!(tui.app.note.is_none());
}

#[test]
fn a_capture_without_runs_says_so() {
    let bytes = Writer::new(Vec::new(), &Header::default())
        .unwrap()
        .finish()
        .unwrap()
        .0;
    let open = || Reader::open(Cursor::new(bytes.clone())).unwrap();
    let mut tui = Tui::new([open(), open()], (80, 24));
    tui.keys("jG\t\n\t\n\t\n/evt.failed=true\nsx\nn2345");
    assert!(tui.screen().contains("holds no run"));
}

#[test]
fn what_is_missing_is_shown_once() {
    let mut bytes = long(100_000);
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xa5);
    let end = bytes.len() * 3 / 4;
    for cut in [bytes.len(), end] {
        let open = || Reader::open(Cursor::new(bytes[..cut].to_vec())).unwrap();
        let mut tui = Tui::new([open(), open()], (100, 30));
        let missing = |tui: &Tui<_>| {
            let lines = tui.app.window.lines.iter();
            lines.filter(|line| line.text.contains("----")).count()
        };
        tui.keys("/evt.type=exit\n");
        let expected = if cut == bytes.len() { 1 } else { 2 };
        assert_eq!(missing(&tui), expected, "{}", tui.screen());
        tui.keys("G");
        assert_eq!(missing(&tui), expected, "{}", tui.screen());
    }
}

/// Clears the screen, begins a line, changes the direction of text.
const EVIL: &str = "a\x1b[2J\n\r\u{9b}2J\u{202e}b";

fn hostile() -> Tui<Cursor<Vec<u8>>> {
    let mut writer = Writer::new(Vec::new(), &Header::default()).unwrap();
    let run = Run {
        number: 1,
        status: Some(ExitStatus::Code(1)),
        ..Run::default()
    };
    writer.begin_run(&run).unwrap();
    let event = |kind, ret, args, name: &str, data: &str| Event {
        pid: 100,
        tid: Tid(100),
        kind,
        ret,
        args,
        name: name.to_owned().into(),
        data: data.to_owned().into(),
        ..Event::default()
    };
    let argv = format!("{EVIL}\0{EVIL}\0");
    for event in [
        event(EventKind::EXEC, 0, [0; 3], EVIL, &argv),
        event(EventKind::OPENAT, 3, [-100, 0, 0], EVIL, ""),
        event(EventKind::OPENAT, -2, [-100, 0, 0], EVIL, ""),
        event(EventKind::READ, 9, [3, 0, 9], EVIL, EVIL),
        event(EventKind::WRITE, 9, [2, 0, 9], "", EVIL),
        event(EventKind::EXIT, 256, [0; 3], EVIL, ""),
    ] {
        writer.event(&event).unwrap();
    }
    let bytes = writer.finish().unwrap().0;
    let open = || Reader::open(Cursor::new(bytes.clone())).unwrap();
    Tui::new([open(), open()], (200, 40))
}

#[test]
fn nothing_a_container_says_reaches_the_terminal_as_it_is() {
    let mut tui = hostile();
    let mut texts: Vec<String> = tui
        .app
        .window
        .lines
        .iter()
        .map(|it| it.text.clone())
        .collect();
    texts.extend(tui.app.verdict_rows.iter().map(|row| row.text.clone()));
    texts.extend(tui.app.processes.iter().flatten().map(|it| it.text.clone()));
    for keys in ["2", "3", "3\n", "4", "5"] {
        tui.keys(keys);
        let rows = tui.app.tab_state().rows.iter().flatten();
        texts.extend(rows.map(|row| row.text.clone()));
    }
    tui.keys("1\n");
    texts.extend(tui.screen().lines().map(str::to_owned));
    let is_harmful = |c: char| c.is_control() || c == '\u{202e}';
    for text in &texts {
        assert!(!text.contains(is_harmful), "{text:?}");
    }
    // The text occurred, so it was escaped.
    let escaped = texts.iter().filter(|text| text.contains("x1b[2J"));
    assert!(escaped.count() > 10);
}

#[test]
fn colours_only_where_they_are_wanted() {
    let tui = nginx();
    for colours in [false, true] {
        let mut terminal = Terminal::new(TestBackend::new(100, 30)).unwrap();
        let theme = Theme { colours };
        terminal.draw(|frame| draw(&tui.app, theme, frame)).unwrap();
        let cells = &terminal.backend().buffer().content;
        let is_coloured = cells.iter().any(|cell| cell.fg != Color::Reset);
        assert_eq!(is_coloured, colours);
        // The cursor is visible in both cases.
        let is_marked = |cell: &Cell| cell.modifier.contains(Modifier::REVERSED);
        assert!(cells.iter().any(is_marked));
    }
}
