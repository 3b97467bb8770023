//! The screen, drawn from [`App`] alone.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};
use unicode_width::UnicodeWidthStr;

use crate::app::{App, Focus, Mode};
use crate::digest::Tab;
use crate::input::Input;
use crate::layout::{MIN, inner};
use crate::pager::LineKind;
use crate::text::{shifted, wrapped};

/// The keys and their meanings, for the help.
const HELP: &[(&str, &str)] = &[
    ("Tab, Shift-Tab", "next, previous part of the screen"),
    ("1 to 5", "events, timeline, streams, DNS, errors"),
    (
        "Up Down, j k",
        "one line; PgUp PgDn: one page; g G: first, last",
    ),
    ("Left Right, h l", "move long lines"),
    ("Enter", "evidence, or a line with #107: go to that event"),
    ("", "run: look at it; process: only its events"),
    ("", "event: all of it; stream: what went through it"),
    ("/", "filter events: proc.name=nginx and evt.failed=true"),
    ("", "(`lastword fields` lists what can be asked)"),
    ("s, then n N", "search a text, next, previous"),
    ("Esc", "leave a stream; take the filter away"),
    ("q, Ctrl-C", "quit"),
];

/// The colours, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Theme {
    pub(crate) colours: bool,
}

impl Theme {
    fn fg(self, colour: Color) -> Style {
        if self.colours {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    fn bad(self) -> Style {
        self.fg(Color::Red)
    }

    fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The line with the cursor.
    fn cursor(self, focused: bool) -> Style {
        if focused {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new().add_modifier(Modifier::UNDERLINED)
        }
    }
}

/// Draws the whole screen.
pub(crate) fn draw(app: &App, theme: Theme, frame: &mut Frame<'_>) {
    let screen = frame.area();
    let fits = |parts: &crate::layout::Parts| {
        screen.contains(Position::new(
            parts.footer.right().saturating_sub(1),
            parts.footer.bottom().saturating_sub(1),
        ))
    };
    let Some(parts) = app.parts().filter(fits) else {
        return too_small(frame);
    };
    let screen = Screen { app, theme };
    screen.title(frame, parts.title);
    screen.verdict(frame, parts.verdict);
    screen.runs(frame, parts.runs);
    screen.processes(frame, parts.processes);
    screen.body(frame, parts.body);
    screen.footer(frame, parts.footer);
    match &app.mode {
        Mode::Browse => {}
        Mode::Filter(input, error) => screen.filter(frame, parts.body, input, error.as_deref()),
        Mode::Search(input) => {
            let hint = "Enter searches, Esc leaves; upper and lower case are the same";
            screen.prompt(
                frame,
                parts.body,
                " Search ",
                input,
                &[hint.to_owned()],
                false,
            );
        }
        Mode::Help => screen.help(frame),
        Mode::Event(text) => screen.event(frame, text),
    }
}

fn too_small(frame: &mut Frame<'_>) {
    let (columns, rows) = MIN;
    let area = frame.area();
    let text = format!(
        "This terminal has {} columns and {} rows; lastword needs {columns} and {rows}. Make it larger, or press q.",
        area.width, area.height
    );
    let lines = wrapped(&text, area.width.into());
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

struct Screen<'a> {
    app: &'a App,
    theme: Theme,
}

impl Screen<'_> {
    fn block(&self, focus: Focus, title: String) -> Block<'static> {
        let focused = self.app.focus == focus && self.app.mode == Mode::Browse;
        let style = if focused {
            self.theme.fg(Color::Cyan).add_modifier(Modifier::BOLD)
        } else {
            self.theme.dim()
        };
        Block::bordered().border_style(style).title(Span::styled(
            title,
            if focused {
                self.theme.strong()
            } else {
                Style::new()
            },
        ))
    }

    /// Rows from `top` on, with the cursor's row marked.
    fn rows<'r>(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        focus: Focus,
        (cursor, top): (usize, usize),
        rows: impl Iterator<Item = (&'r str, Style)>,
    ) {
        let focused = self.app.focus == focus;
        let rows = rows.enumerate().skip(top).take(area.height.into());
        let lines: Vec<Line<'_>> = rows
            .map(|(at, (text, style))| {
                let style = if at == cursor {
                    style.patch(self.theme.cursor(focused))
                } else {
                    style
                };
                Line::styled(text, style)
            })
            .collect();
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn title(&self, frame: &mut Frame<'_>, area: Rect) {
        let app = self.app;
        let line = Line::from(vec![
            Span::styled("lastword", self.theme.strong()),
            Span::raw(format!("  {}", app.name)),
        ]);
        frame.render_widget(line, area);
    }

    fn verdict(&self, frame: &mut Frame<'_>, area: Rect) {
        let app = self.app;
        let number = app.runs.get(app.run.0).map(|run| run.number);
        let alike = match &app.explanation {
            Some(all) if app.runs.len() > 1 && all.alike => "; all runs ended alike",
            Some(_) if app.runs.len() > 1 => "; not all runs ended alike",
            _ => "",
        };
        let title = match number {
            Some(number) => format!(" Verdict on run {number}{alike} "),
            None => " Verdict ".to_owned(),
        };
        frame.render_widget(self.block(Focus::Verdict, title), area);
        let area = inner(area);
        if app.runs.is_empty() {
            let text = "The capture holds no run; `lastword info` says what it holds.";
            return frame.render_widget(Paragraph::new(text), area);
        }
        if app.explanation.is_none() {
            return frame
                .render_widget(Paragraph::new("reading all events for the verdict …"), area);
        }
        let rows = app.verdict_rows.iter().map(|row| {
            let style = match row.event {
                _ if row.strong => self.theme.strong(),
                Some(_) => self.theme.fg(Color::Yellow),
                None => Style::new(),
            };
            (row.text.as_str(), style)
        });
        let list = app.verdict_list;
        self.rows(frame, area, Focus::Verdict, (list.cursor, list.top), rows);
    }

    fn runs(&self, frame: &mut Frame<'_>, area: Rect) {
        let app = self.app;
        frame.render_widget(self.block(Focus::Runs, " Runs ".to_owned()), area);
        let rows = app.runs.iter().enumerate().map(|(at, run)| {
            let style = if run.failed {
                self.theme.bad()
            } else {
                Style::new()
            };
            let chosen = if at == app.run.0 {
                self.theme.strong()
            } else {
                Style::new()
            };
            (run.text.as_str(), style.patch(chosen))
        });
        let list = app.run_list;
        self.rows(
            frame,
            inner(area),
            Focus::Runs,
            (list.cursor, list.top),
            rows,
        );
    }

    fn processes(&self, frame: &mut Frame<'_>, area: Rect) {
        let app = self.app;
        frame.render_widget(self.block(Focus::Processes, " Processes ".to_owned()), area);
        let area = inner(area);
        let Some(processes) = &app.processes else {
            let text = if app.runs.is_empty() {
                ""
            } else {
                "reading …"
            };
            return frame.render_widget(Paragraph::new(text), area);
        };
        let rows = processes.iter().map(|process| {
            let style = if process.failed {
                self.theme.bad()
            } else {
                Style::new()
            };
            (process.text.as_str(), style)
        });
        let list = app.process_list;
        self.rows(frame, area, Focus::Processes, (list.cursor, list.top), rows);
    }

    fn body(&self, frame: &mut Frame<'_>, area: Rect) {
        let app = self.app;
        let block = self.block(Focus::Body, String::new()).title(self.tabs());
        frame.render_widget(block, area);
        let area = inner(area);
        if app.tab == Tab::Events {
            return self.events(frame, area);
        }
        let state = app.tab_state();
        let Some(rows) = &state.rows else {
            return frame.render_widget(Paragraph::new("reading the run …"), area);
        };
        let rows = rows
            .iter()
            .map(|row| (shifted(&row.text, app.shift), Style::new()));
        let list = state.list;
        self.rows(frame, area, Focus::Body, (list.cursor, list.top), rows);
    }

    fn tabs(&self) -> Line<'static> {
        let mut spans = vec![Span::raw(" ")];
        for (at, tab) in Tab::ALL.into_iter().enumerate() {
            let style = if tab == self.app.tab {
                self.theme.strong().add_modifier(Modifier::REVERSED)
            } else {
                Style::new()
            };
            spans.push(Span::styled(format!("{} {}", at + 1, tab.title()), style));
            spans.push(Span::raw(" "));
        }
        if let Some((what, _)) = self
            .app
            .stream
            .as_ref()
            .filter(|_| self.app.tab == Tab::Streams)
        {
            let name = what.to_string();
            spans.push(Span::raw(format!(
                "› {} ",
                events::escape::escaped(name.as_bytes())
            )));
        }
        Line::from(spans)
    }

    fn events(&self, frame: &mut Frame<'_>, area: Rect) {
        let app = self.app;
        let window = &app.window;
        if window.lines.is_empty() {
            let text = match (app.waiting, &app.filter) {
                (Some(_), _) => "reading …",
                (None, Some(_)) => "No event matches. / changes the filter, Esc takes it away.",
                (None, None) => "The run has no events.",
            };
            return frame.render_widget(Paragraph::new(text), area);
        }
        let rows = window.lines.iter().map(|line| {
            let style = match line.kind {
                LineKind::Event => Style::new(),
                LineKind::Failure => self.theme.bad(),
                LineKind::Missing => self.theme.fg(Color::Magenta),
            };
            (shifted(&line.text, app.shift), style)
        });
        self.rows(frame, area, Focus::Body, (window.cursor, window.top), rows);
    }

    fn footer(&self, frame: &mut Frame<'_>, area: Rect) {
        let hints = "Tab part  1-5 list  / filter  s search  Enter go  ? help  q quit";
        let lines = vec![
            Line::raw(self.status()),
            Line::styled(hints, self.theme.dim()),
        ];
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn status(&self) -> String {
        let app = self.app;
        let Some(run) = app.runs.get(app.run.0) else {
            return String::new();
        };
        let percent = |at: u64| {
            let (first, end) = (
                run.numbers.start,
                run.numbers.end.max(run.numbers.start + 1),
            );
            let done = u128::from(at.clamp(first, end) - first) * 100;
            done / u128::from(end - first)
        };
        let mut parts = Vec::new();
        if let Some(note) = &app.note {
            parts.push(note.clone());
        }
        if let Some(line) = app.window.current().filter(|_| app.tab == Tab::Events) {
            let last = run.numbers.end.saturating_sub(1);
            parts.push(format!(
                "#{} of #{} to #{last}",
                line.number, run.numbers.start
            ));
        }
        if let Some(waiting) = app.waiting.filter(|it| it.is_told()) {
            parts.push(format!("looking … {} %", percent(waiting.at)));
        }
        if let Some((text, _)) = &app.filter {
            let count = app.count;
            let so_far = match count.done {
                true => String::new(),
                false => format!(" so far, {} % looked at", percent(count.up_to)),
            };
            let text = events::escape::escaped(text.as_bytes());
            parts.push(format!("{} match {text}{so_far}", count.matches));
        }
        parts.join("  |  ")
    }

    fn filter(&self, frame: &mut Frame<'_>, body: Rect, input: &Input, error: Option<&str>) {
        let hint = "Enter applies, Esc leaves, nothing: all events; example: evt.failed=true";
        let below = match error {
            Some(error) => error.lines().map(str::to_owned).collect(),
            None => vec![hint.to_owned()],
        };
        self.prompt(frame, body, " Filter ", input, &below, error.is_some());
    }

    /// A box above the body to type into, with lines below the typed text.
    fn prompt(
        &self,
        frame: &mut Frame<'_>,
        body: Rect,
        title: &'static str,
        input: &Input,
        below: &[String],
        is_bad: bool,
    ) {
        let screen = frame.area();
        let width = screen.width.saturating_sub(2);
        let lines = u16::try_from(below.len()).unwrap_or(u16::MAX);
        let height = lines
            .saturating_add(3)
            .min(screen.height.saturating_sub(body.y));
        let area = Rect::new(1, body.y, width, height);
        frame.render_widget(Clear, area);
        let style = self.theme.fg(Color::Cyan).add_modifier(Modifier::BOLD);
        frame.render_widget(Block::bordered().border_style(style).title(title), area);
        let area = inner(area);
        let room = usize::from(area.width).saturating_sub(1);
        let before = input.before().width();
        let out = before.saturating_sub(room);
        let text = input.text();
        let mut rows = vec![Line::raw(shifted(&text, out))];
        let style = if is_bad {
            self.theme.bad()
        } else {
            self.theme.dim()
        };
        rows.extend(below.iter().map(|line| Line::styled(line.as_str(), style)));
        frame.render_widget(Paragraph::new(rows), area);
        let column = u16::try_from(before - out).unwrap_or_default();
        frame.set_cursor_position(Position::new(area.x + column, area.y));
    }

    fn help(&self, frame: &mut Frame<'_>) {
        let mut rows: Vec<String> = HELP
            .iter()
            .map(|(keys, what)| format!("{keys:<16} {what}"))
            .collect();
        rows.push(String::new());
        rows.push(
            "Times are seconds since the run's start; ---- stands where events are missing."
                .to_owned(),
        );
        self.popup(frame, " Help: any key leaves ", &rows);
    }

    fn event(&self, frame: &mut Frame<'_>, text: &str) {
        let width = usize::from(frame.area().width.saturating_sub(6));
        self.popup(frame, " Event: any key leaves ", &wrapped(text, width));
    }

    fn popup(&self, frame: &mut Frame<'_>, title: &'static str, rows: &[String]) {
        let screen = frame.area();
        let height = u16::try_from(rows.len())
            .unwrap_or(u16::MAX)
            .saturating_add(2);
        let height = height.min(screen.height.saturating_sub(2));
        let area = Rect::new(
            2,
            (screen.height - height) / 2,
            screen.width.saturating_sub(4),
            height,
        );
        frame.render_widget(Clear, area);
        frame.render_widget(Block::bordered().title(title), area);
        let lines: Vec<Line<'_>> = rows.iter().map(|row| Line::raw(row.as_str())).collect();
        frame.render_widget(Paragraph::new(lines), inner(area));
    }
}
