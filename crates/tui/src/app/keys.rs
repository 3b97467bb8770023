//! How keys change the state.

use capture_format::RunIndex;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use inspect::filter::Filter;

use super::{App, Focus, Mode, TabState, Target};
use crate::digest::Tab;
use crate::input::Input;
use crate::layout::inner;

/// By how many columns Left and Right move long lines.
const SHIFT: usize = 8;
/// By how many columns lines are moved at most.
const MAX_SHIFT: usize = 8 << 10;

impl App {
    pub(super) fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            self.quit = true;
            return;
        }
        match &mut self.mode {
            Mode::Browse => self.browse(key.code, control),
            Mode::Help | Mode::Event(_) => self.mode = Mode::Browse,
            Mode::Filter(..) => self.edit_filter(key.code, control),
            Mode::Search(_) => self.edit_search(key.code, control),
        }
    }

    pub(super) fn paste(&mut self, text: &str) {
        if let Mode::Filter(input, _) | Mode::Search(input) = &mut self.mode {
            text.chars().for_each(|c| input.insert(c));
        }
    }

    fn browse(&mut self, code: KeyCode, control: bool) {
        self.note = None;
        let page = isize::try_from(self.page_height()).unwrap_or(isize::MAX);
        match code {
            KeyCode::Char('q') => self.quit = true,
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Char('/') => {
                let text = self.filter.as_ref().map(|(text, _)| text.as_str());
                self.mode = Mode::Filter(Input::new(text.unwrap_or_default()), None);
            }
            KeyCode::Char('s') => self.mode = Mode::Search(Input::default()),
            KeyCode::Char('n') => self.search(false),
            KeyCode::Char('N') => self.search(true),
            KeyCode::Char('f') if control => self.step(page),
            KeyCode::Char('b') if control => self.step(-page),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-page),
            KeyCode::PageDown | KeyCode::Char(' ') => self.step(page),
            KeyCode::Home | KeyCode::Char('g') => self.go_to_start(),
            KeyCode::End | KeyCode::Char('G') => self.go_to_end(),
            KeyCode::Left | KeyCode::Char('h') => self.shift = self.shift.saturating_sub(SHIFT),
            KeyCode::Right | KeyCode::Char('l') => self.shift = (self.shift + SHIFT).min(MAX_SHIFT),
            KeyCode::Tab => self.focus = self.focus.next(),
            KeyCode::BackTab => self.focus = self.focus.next().next().next(),
            KeyCode::Char(digit @ '1'..='5') => {
                self.tab = Tab::ALL[digit as usize - '1' as usize];
                self.focus = Focus::Body;
                self.shift = 0;
            }
            KeyCode::Enter => self.enter(),
            KeyCode::Esc | KeyCode::Backspace => self.leave(),
            _ => {}
        }
    }

    fn page_height(&self) -> u16 {
        let Some(parts) = self.parts() else {
            return 1;
        };
        let part = match self.focus {
            Focus::Verdict => parts.verdict,
            Focus::Runs => parts.runs,
            Focus::Processes => parts.processes,
            Focus::Body => parts.body,
        };
        inner(part).height.saturating_sub(1).max(1)
    }

    fn step(&mut self, by: isize) {
        match self.focus {
            Focus::Verdict => self.verdict_list.step(by, self.verdict_rows.len()),
            Focus::Runs => self.run_list.step(by, self.runs.len()),
            Focus::Processes => {
                let count = self.processes.as_ref().map_or(0, Vec::len);
                self.process_list.step(by, count);
            }
            Focus::Body if self.tab == Tab::Events => self.window.step(by),
            Focus::Body => {
                let state = self.tab_state_mut();
                let count = state.rows.as_ref().map_or(0, Vec::len);
                state.list.step(by, count);
            }
        }
    }

    fn go_to_start(&mut self) {
        if self.focus == Focus::Body && self.tab == Tab::Events && !self.window.ends.start {
            self.show_window(Target::Event(0));
        } else {
            self.step(isize::MIN);
        }
    }

    fn go_to_end(&mut self) {
        if self.focus == Focus::Body && self.tab == Tab::Events && !self.window.ends.end {
            self.show_window(Target::End);
        } else {
            self.step(isize::MAX);
        }
    }

    fn enter(&mut self) {
        match self.focus {
            Focus::Verdict => {
                let row = self.verdict_rows.get(self.verdict_list.cursor);
                if let Some(event) = row.and_then(|row| row.event) {
                    self.jump(event);
                }
            }
            Focus::Runs => {
                self.run = RunIndex(self.run_list.cursor);
                self.enter_run();
                self.go_to_first_evidence();
            }
            Focus::Processes => self.filter_process(),
            Focus::Body if self.tab == Tab::Events => {
                if let Some(line) = self.window.current() {
                    self.mode = Mode::Event(line.text.trim_start().to_owned());
                }
            }
            Focus::Body => self.enter_row(),
        }
    }

    fn filter_process(&mut self) {
        let processes = self.processes.as_deref().unwrap_or_default();
        let Some(process) = processes.get(self.process_list.cursor) else {
            return;
        };
        let text = format!("proc.pid={}", process.pid);
        if let Ok(filter) = Filter::parse(&text) {
            self.set_filter(Some((text, filter)));
            self.tab = Tab::Events;
        }
    }

    fn enter_row(&mut self) {
        let state = self.tab_state();
        let row = state
            .rows
            .as_ref()
            .and_then(|rows| rows.get(state.list.cursor));
        let Some(row) = row.cloned() else {
            return;
        };
        match (row.event, row.stream) {
            (_, Some(what)) => self.stream = Some((what, TabState::default())),
            (Some(event), None) => self.jump(event),
            (None, None) => {}
        }
    }

    /// Goes back: from a stream to the list of streams, else removes the filter.
    fn leave(&mut self) {
        if self.tab == Tab::Streams && self.stream.take().is_some() {
            return;
        }
        if self.tab == Tab::Events {
            self.set_filter(None);
        }
    }

    fn edit_filter(&mut self, code: KeyCode, control: bool) {
        let Mode::Filter(input, error) = &mut self.mode else {
            return;
        };
        match code {
            KeyCode::Esc => self.mode = Mode::Browse,
            KeyCode::Enter => {
                let text = input.text();
                if text.trim().is_empty() {
                    self.apply(None);
                    return;
                }
                match Filter::parse(&text) {
                    Ok(filter) => self.apply(Some((text, filter))),
                    Err(wrong) => *error = Some(wrong.to_string()),
                }
            }
            _ => {
                edit(input, code, control);
                *error = None;
            }
        }
    }

    fn apply(&mut self, filter: Option<(String, Filter)>) {
        self.mode = Mode::Browse;
        self.tab = Tab::Events;
        self.focus = Focus::Body;
        self.set_filter(filter);
    }

    fn edit_search(&mut self, code: KeyCode, control: bool) {
        let Mode::Search(input) = &mut self.mode else {
            return;
        };
        match code {
            KeyCode::Esc => self.mode = Mode::Browse,
            KeyCode::Enter => {
                let text = input.text();
                self.mode = Mode::Browse;
                if !text.is_empty() {
                    self.searched = Some(text);
                    self.focus = Focus::Body;
                    self.search(false);
                }
            }
            _ => edit(input, code, control),
        }
    }
}

fn edit(input: &mut Input, code: KeyCode, control: bool) {
    match code {
        KeyCode::Char('u') if control => input.clear(),
        KeyCode::Char('a') if control => input.home(),
        KeyCode::Char('e') if control => input.end(),
        KeyCode::Char(c) if !control => input.insert(c),
        KeyCode::Backspace => input.backspace(),
        KeyCode::Delete => input.delete(),
        KeyCode::Left => input.left(),
        KeyCode::Right => input.right(),
        KeyCode::Home => input.home(),
        KeyCode::End => input.end(),
        _ => {}
    }
}

impl Focus {
    fn next(self) -> Self {
        match self {
            Self::Verdict => Self::Runs,
            Self::Runs => Self::Processes,
            Self::Processes => Self::Body,
            Self::Body => Self::Verdict,
        }
    }
}
