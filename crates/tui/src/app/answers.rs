//! How the answers of the reading threads change the state.

use super::{App, For, Target, Waiting, not_found};
use crate::digest;
use crate::list::List;
use crate::pager::{Answer, Ends, Line};

impl App {
    pub(super) fn lines(&mut self, answer: Answer) {
        match answer {
            Answer::Counted {
                id,
                matches,
                up_to,
                done,
            } if id == self.count_id => {
                (self.count.matches, self.count.up_to, self.count.done) = (matches, up_to, done);
            }
            Answer::Counted { .. } => {}
            Answer::Looking { id, at } => {
                if let Some(waiting) = self.waiting.as_mut().filter(|it| it.id == id) {
                    waiting.at = at;
                }
            }
            Answer::Lines { id, lines, done } => {
                if let Some(waiting) = self.waiting.filter(|it| it.id == id) {
                    self.page(waiting, lines, done);
                }
            }
            Answer::Found { id, number } => {
                if self.waiting.is_some_and(|it| it.id == id) {
                    self.waiting = None;
                    self.found(number);
                }
            }
        }
    }

    fn page(&mut self, waiting: Waiting, lines: Vec<Line>, done: Option<Ends>) {
        match waiting.for_what {
            For::Window(target) => {
                self.window.append(lines);
                if let Some(ends) = done {
                    self.window.ends = ends;
                }
                match target {
                    Target::Event(number) | Target::Cited(number) => self.window.go_to(number),
                    Target::End => self.window.step(isize::MAX),
                }
            }
            For::Before => {
                self.window.prepend(lines);
                if let Some(ends) = done {
                    self.window.ends.start = ends.start;
                }
            }
            For::After => {
                self.window.append(lines);
                if let Some(ends) = done {
                    self.window.ends.end = ends.end;
                }
            }
            For::Search => {}
        }
        if done.is_none() {
            return;
        }
        self.waiting = None;
        if let For::Window(Target::Cited(number)) = waiting.for_what
            && !self.window.holds(number)
        {
            self.show_hidden(number);
        }
    }

    /// Handles a cited event that is not among the lines: the filter hides it, or it is missing from the file.
    fn show_hidden(&mut self, number: u64) {
        if self.filter.take().is_some() {
            self.note = Some(format!("the filter hid #{number}: it is off now"));
            self.count_matches();
            self.show_window(Target::Cited(number));
        } else {
            self.note = Some(format!("#{number} is not in the file any more"));
        }
    }

    fn found(&mut self, number: Option<u64>) {
        match number {
            Some(number) => self.jump(number),
            None => {
                let text = self.searched.clone().unwrap_or_default();
                self.note = Some(not_found(&text, self.searched_backwards));
            }
        }
    }

    pub(super) fn digested(&mut self, answer: digest::Answer) {
        match answer {
            digest::Answer::Verdicts(explanation) => {
                self.explanation = Some(explanation);
                self.lay_out_verdict();
                self.go_to_first_evidence();
            }
            digest::Answer::Processes(run, processes) if run == self.run => {
                self.processes = Some(processes);
            }
            digest::Answer::Tab(run, tab, content) if run == self.run => {
                let state = &mut self.tabs[tab as usize];
                (state.content, state.rows) = (Some(content), None);
            }
            digest::Answer::Stream(run, what, content) if run == self.run => {
                if let Some((wanted, state)) = &mut self.stream
                    && *wanted == what
                {
                    (state.content, state.rows) = (Some(content), None);
                }
            }
            // This is about a run that is not shown any more.
            _ => {}
        }
    }

    pub(super) fn go_to_first_evidence(&mut self) {
        let first = self.verdict_rows.iter().position(|it| it.event.is_some());
        self.verdict_list = List {
            cursor: first.unwrap_or_default(),
            top: 0,
        };
    }
}
