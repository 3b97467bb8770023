//! What the screen shows, and how messages change it. Nothing here reads, draws or waits: a request to read is put
//! into [`App::asks`].

use capture_format::{ExitStatus, Reader, Run, RunIndex};
use crossterm::event::KeyEvent;
use events::decode::time::since_start;
use events::escape::escaped;
use inspect::filter::Filter;
use inspect::views::streams::What;
use ratatui::layout::Rect;
use verdict::explain::{Explanation, RunVerdict};

use crate::digest::{self, Content, Process, Row, Tab};
use crate::input::Input;
use crate::layout::{Parts, inner, parts};
use crate::list::List;
use crate::pager::{self, Page, Search};
use crate::text::wrapped;
use crate::window::{More, PAGE, Window};

mod answers;
mod keys;

/// What happened.
pub(crate) enum Message {
    Key(KeyEvent),
    Paste(String),
    /// The terminal has this many columns and rows.
    Size(u16, u16),
    Pager(pager::Answer),
    Digest(digest::Answer),
    /// A signal to end came, or the terminal is gone.
    Quit,
    /// A thread that reads has panicked.
    Died,
}

/// A request to a thread that reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ask {
    Pager(pager::Ask),
    Digest(digest::Ask),
}

/// The part of the screen that the keys control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Focus {
    Verdict,
    Runs,
    Processes,
    Body,
}

/// What the keys do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Keys move the cursor.
    Browse,
    /// Keys edit the filter; the text is the error in the filter that was entered.
    Filter(Input, Option<String>),
    /// Keys edit the text to search for.
    Search(Input),
    Help,
    /// One event is shown completely.
    Event(String),
}

/// A run of the list.
#[derive(Clone, Debug)]
pub(crate) struct RunItem {
    pub(crate) number: u32,
    pub(crate) text: String,
    pub(crate) failed: bool,
    /// Numbers of its events.
    pub(crate) numbers: std::ops::Range<u64>,
}

/// A list beside the events. Its parts are `None` until they have been read.
#[derive(Default)]
pub(crate) struct TabState {
    content: Option<Content>,
    asked: bool,
    /// Its rows, for the present width of the body.
    pub(crate) rows: Option<Vec<Row>>,
    pub(crate) list: List,
}

/// How many events match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) matches: u64,
    pub(crate) up_to: u64,
    pub(crate) done: bool,
}

/// A row of the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerdictRow {
    pub(crate) text: String,
    /// For a row of evidence, its event.
    pub(crate) event: Option<u64>,
    pub(crate) strong: bool,
}

/// The state of the whole screen.
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) runs: Vec<RunItem>,
    /// Position of the run that is shown.
    pub(crate) run: RunIndex,
    pub(crate) run_list: List,
    pub(crate) explanation: Option<Box<Explanation>>,
    pub(crate) verdict_rows: Vec<VerdictRow>,
    pub(crate) verdict_list: List,
    pub(crate) processes: Option<Vec<Process>>,
    pub(crate) process_list: List,
    pub(crate) tab: Tab,
    tabs: [TabState; Tab::ALL.len()],
    /// The stream that is shown instead of the list of streams.
    pub(crate) stream: Option<(What, TabState)>,
    pub(crate) focus: Focus,
    pub(crate) mode: Mode,
    pub(crate) window: Window,
    /// By how many columns long lines are moved to the left.
    pub(crate) shift: usize,
    pub(crate) filter: Option<(String, Filter)>,
    pub(crate) count: Count,
    pub(crate) searched: Option<String>,
    searched_backwards: bool,
    /// A note in the footer.
    pub(crate) note: Option<String>,
    /// The lines or the search that the UI is waiting for.
    pub(crate) waiting: Option<Waiting>,
    size: (u16, u16),
    last_id: u64,
    count_id: u64,
    /// Requests that are to be sent.
    pub(crate) asks: Vec<Ask>,
    pub(crate) quit: bool,
    pub(crate) died: bool,
}

/// Lines that were requested, or a search that is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) id: u64,
    for_what: For,
    /// Number of the event at which reading is.
    pub(crate) at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// A new window of lines, with the cursor on this event or on the last line.
    Window(Target),
    Before,
    After,
    Search,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Event(u64),
    /// An event that must be shown, whatever the filter.
    Cited(u64),
    End,
}

impl App {
    pub(crate) fn new<R: std::io::Read + std::io::Seek>(
        name: &str,
        reader: &Reader<R>,
        size: (u16, u16),
    ) -> Self {
        let runs: Vec<RunItem> = reader
            .runs()
            .iter()
            .enumerate()
            .map(|(index, run)| RunItem::new(run, reader.numbers(RunIndex(index)).unwrap_or(1..1)))
            .collect();
        let mut app = Self {
            name: escaped(name.as_bytes()).to_string(),
            run: RunIndex(runs.len().saturating_sub(1)),
            runs,
            run_list: List::default(),
            explanation: None,
            verdict_rows: Vec::new(),
            verdict_list: List::default(),
            processes: None,
            process_list: List::default(),
            tab: Tab::Events,
            tabs: Default::default(),
            stream: None,
            focus: Focus::Verdict,
            mode: Mode::Browse,
            window: Window::default(),
            shift: 0,
            filter: None,
            count: Count::default(),
            searched: None,
            searched_backwards: false,
            note: None,
            waiting: None,
            size,
            last_id: 0,
            count_id: 0,
            asks: vec![Ask::Digest(digest::Ask::Verdicts)],
            quit: false,
            died: false,
        };
        app.run_list.cursor = app.run.0;
        app.enter_run();
        app.settle();
        app
    }

    /// Changes the state according to a message.
    pub(crate) fn update(&mut self, message: Message) {
        match message {
            Message::Key(key) => self.key(key),
            Message::Paste(text) => self.paste(&text),
            Message::Size(columns, rows) => self.resize((columns, rows)),
            Message::Pager(answer) => self.lines(answer),
            Message::Digest(answer) => self.digested(answer),
            Message::Quit => self.quit = true,
            Message::Died => (self.quit, self.died) = (true, true),
        }
        self.settle();
    }

    /// The parts of the screen; `None` if the screen is too small.
    pub(crate) fn parts(&self) -> Option<Parts> {
        parts(Rect::new(0, 0, self.size.0, self.size.1), self.runs.len())
    }

    /// The tab that is shown, if it is not the tab of events.
    pub(crate) fn tab_state(&self) -> &TabState {
        match &self.stream {
            Some((_, state)) if self.tab == Tab::Streams => state,
            _ => &self.tabs[self.tab as usize],
        }
    }

    fn tab_state_mut(&mut self) -> &mut TabState {
        match &mut self.stream {
            Some((_, state)) if self.tab == Tab::Streams => state,
            _ => &mut self.tabs[self.tab as usize],
        }
    }

    fn resize(&mut self, size: (u16, u16)) {
        self.size = size;
        for state in &mut self.tabs {
            state.rows = None;
        }
        if let Some((_, state)) = &mut self.stream {
            state.rows = None;
        }
        self.lay_out_verdict();
    }

    /// Updates whatever follows from other parts of the state: scroll positions, and the rows and lines to be
    /// requested.
    fn settle(&mut self) {
        let Some(parts) = self.parts() else {
            return;
        };
        let height = |part: Rect| usize::from(inner(part).height);
        let body = inner(parts.body);
        self.window.scroll(body.height.into());
        self.run_list.scroll(height(parts.runs), self.runs.len());
        let processes = self.processes.as_ref().map_or(0, Vec::len);
        self.process_list.scroll(height(parts.processes), processes);
        self.verdict_list
            .scroll(height(parts.verdict), self.verdict_rows.len());
        let (run, tab) = (self.run, self.tab);
        let state = self.tab_state_mut();
        if let (Some(content), None) = (&state.content, &state.rows) {
            state.rows = Some((content.rows)(body.width.into()));
        }
        let count = state.rows.as_ref().map_or(0, Vec::len);
        state.list.scroll(body.height.into(), count);
        if tab != Tab::Events && !state.asked {
            state.asked = true;
            let ask = match &self.stream {
                Some((what, _)) if tab == Tab::Streams => digest::Ask::Stream(run, what.clone()),
                _ => digest::Ask::Tab(run, tab),
            };
            self.asks.push(Ask::Digest(ask));
        }
        self.want_more();
    }

    /// Shows the chosen run.
    fn enter_run(&mut self) {
        self.tabs = Default::default();
        self.stream = None;
        self.processes = None;
        self.process_list = List::default();
        if self.runs.is_empty() {
            return;
        }
        self.asks
            .push(Ask::Digest(digest::Ask::Processes(self.run)));
        self.lay_out_verdict();
        self.count_matches();
        self.show_window(Target::Event(0));
    }

    /// The verdict on the run that is shown.
    pub(crate) fn verdict(&self) -> Option<&RunVerdict> {
        self.explanation.as_ref()?.runs.get(self.run.0)
    }

    fn lay_out_verdict(&mut self) {
        let Some(parts) = self.parts() else {
            return;
        };
        let width = usize::from(inner(parts.verdict).width);
        self.verdict_rows = self
            .verdict()
            .map(|verdict| verdict_rows(verdict, width))
            .unwrap_or_default();
    }

    fn count_matches(&mut self) {
        self.count = Count::default();
        let ask = match &self.filter {
            None => pager::Ask::StopCounting,
            Some((_, filter)) => {
                self.last_id += 1;
                self.count_id = self.last_id;
                pager::Ask::Count {
                    id: self.count_id,
                    run: self.run,
                    filter: filter.clone(),
                }
            }
        };
        self.asks.push(Ask::Pager(ask));
    }

    fn set_filter(&mut self, filter: Option<(String, Filter)>) {
        if self.filter == filter {
            return;
        }
        let at = self.window.current().map_or(0, |line| line.number);
        self.filter = filter;
        self.count_matches();
        self.show_window(Target::Event(at));
    }

    /// Requests new lines around an event, or the last ones.
    fn show_window(&mut self, target: Target) {
        let at = match target {
            Target::Event(number) | Target::Cited(number) => number,
            Target::End => u64::MAX,
        };
        self.window = Window::default();
        let after = match target {
            Target::End => 0,
            _ => PAGE,
        };
        self.ask_page(For::Window(target), at, PAGE, after);
    }

    fn ask_page(&mut self, for_what: For, at: u64, before: usize, after: usize) {
        if self.runs.is_empty() {
            return;
        }
        let id = self.wait(for_what, at);
        self.asks.push(Ask::Pager(pager::Ask::Page(Page {
            id,
            run: self.run,
            filter: self.filter.as_ref().map(|(_, filter)| filter.clone()),
            at,
            before,
            after,
        })));
    }

    fn wait(&mut self, for_what: For, at: u64) -> u64 {
        self.last_id += 1;
        self.waiting = Some(Waiting {
            id: self.last_id,
            for_what,
            at,
        });
        self.last_id
    }

    /// Requests more lines if the cursor is near the end of the lines that are held.
    fn want_more(&mut self) {
        if self.waiting.is_some() || self.tab != Tab::Events {
            return;
        }
        match self.window.wants() {
            Some(More::Before(number)) => self.ask_page(For::Before, number, PAGE, 0),
            Some(More::After(number)) => self.ask_page(For::After, number, 0, PAGE),
            None => {}
        }
    }

    /// Goes to an event. If the event is cited as evidence and the filter hides it, the filter is removed.
    fn jump(&mut self, number: u64) {
        self.tab = Tab::Events;
        self.focus = Focus::Body;
        self.note = None;
        if self.window.holds(number) {
            self.window.go_to(number);
        } else {
            self.show_window(Target::Cited(number));
        }
    }

    fn search(&mut self, backwards: bool) {
        let Some(text) = self.searched.clone() else {
            self.note = Some("press s and type what to search for".to_owned());
            return;
        };
        if self.tab != Tab::Events {
            self.search_rows(&text, backwards);
            return;
        }
        if self.window.lines.is_empty() {
            return;
        }
        self.searched_backwards = backwards;
        let from = self.window.current().map_or(0, |line| line.number);
        let id = self.wait(For::Search, from);
        self.asks.push(Ask::Pager(pager::Ask::Search(Search {
            id,
            run: self.run,
            filter: self.filter.as_ref().map(|(_, filter)| filter.clone()),
            text: text.to_lowercase(),
            from,
            backwards,
        })));
    }

    fn search_rows(&mut self, text: &str, backwards: bool) {
        let wanted = text.to_lowercase();
        let state = self.tab_state_mut();
        let rows = state.rows.as_deref().unwrap_or_default();
        let has = |at: &usize| rows[*at].text.to_lowercase().contains(&wanted);
        let cursor = state.list.cursor;
        let found = if backwards {
            (0..cursor.min(rows.len())).rev().find(has)
        } else {
            (cursor + 1..rows.len()).find(has)
        };
        match found {
            Some(at) => {
                state.list.cursor = at;
                self.note = None;
            }
            None => self.note = Some(not_found(text, backwards)),
        }
    }
}

/// The note at the end of a search that found nothing.
fn not_found(text: &str, backwards: bool) -> String {
    let (side, text) = (
        if backwards { "before" } else { "after" },
        escaped(text.as_bytes()),
    );
    format!("\"{text}\" does not stand {side} this line")
}

impl RunItem {
    fn new(run: &Run, numbers: std::ops::Range<u64>) -> Self {
        let end = match run.status {
            Some(ExitStatus::Code(code)) => format!("exit {code}"),
            Some(ExitStatus::Signal { signal, .. }) => events::decode::Signal(signal).to_string(),
            None if run.start_error.is_some() => "not started".to_owned(),
            None if run.end.is_some() => "end not seen".to_owned(),
            None => "alive".to_owned(),
        };
        let events = numbers.end - numbers.start;
        Self {
            number: run.number,
            text: format!("run {} {end}, {events} ev.", run.number),
            failed: run.status.is_some_and(|it| it != ExitStatus::Code(0)),
            numbers,
        }
    }
}

fn verdict_rows(verdict: &RunVerdict, width: usize) -> Vec<VerdictRow> {
    let RunVerdict { verdict, leads, .. } = verdict;
    let plain = |text: String| VerdictRow {
        text,
        event: None,
        strong: false,
    };
    let mut rows: Vec<VerdictRow> = wrapped(&verdict.sentence, width)
        .into_iter()
        .map(|text| VerdictRow {
            strong: true,
            ..plain(text)
        })
        .collect();
    rows.extend(verdict.evidence.iter().map(|evidence| {
        let time = since_start(evidence.after_start());
        VerdictRow {
            event: Some(evidence.event),
            ..plain(format!(
                "#{:<6} {time:<10} {}",
                evidence.event, evidence.text
            ))
        }
    }));
    for lead in leads {
        let event = lead.evidence.last().map(|evidence| evidence.event);
        let text = format!("lead: {lead}");
        rows.extend(wrapped(&text, width).into_iter().map(|text| VerdictRow {
            event,
            ..plain(text)
        }));
    }
    let mut tell = |text: String| rows.extend(wrapped(&text, width).into_iter().map(plain));
    tell(format!("next step: {}", verdict.next_step));
    tell(format!(
        "confidence: {}: {}",
        verdict.band.in_words(),
        verdict.why
    ));
    for weakness in &verdict.weakened_by {
        tell(format!("weakened by: {weakness}"));
    }
    rows
}

impl Waiting {
    /// Whether waiting is worth a note: more lines at the edge of the window usually come at once.
    pub(crate) fn is_told(&self) -> bool {
        !matches!(self.for_what, For::Before | For::After)
    }
}
