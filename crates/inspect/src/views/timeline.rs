//! The story of a run in about twenty lines: what was executed, which files were read, which names and addresses were
//! tried, what failed, what was printed last, and how it ended. Steps that the verdict rests on are marked.

use std::collections::HashSet;
use std::io::{self, Read, Seek, Write};

use capture_format::{BootTime, Class, ExitStatus, FdType, Reader, Run, RunIndex};
use serde::Serialize;

use super::dns::said;
use super::errors::call_name;
use super::net::host_of;
use super::text::command_line;
use super::{Cell, Column, Head, Look, Moment, Paint, Subject, Table, Tally, Text, View, count};
use events::context::{Context, Seen};
use events::decode::time::size;
use events::escape::{escaped_to, is_text};
use verdict::facts::output::Fate;
use verdict::facts::{Facts, Process, is_noise, is_optional};
use verdict::rules::{Case, Verdict, how, judge};

mod fold;

use fold::{fold, shorten};

/// How many lines a story has, in addition to those that the verdict rests on.
const MAX_LINES: usize = 20;
/// How many of the last lines of output are shown.
const MAX_WORDS: usize = 3;
/// How many bytes of a text are shown.
const MAX_TEXT: usize = 300;
/// Files that are read all the time and are not configuration.
const NOT_CONFIG: &[&[u8]] = &[b"/proc/", b"/sys/", b"/dev/", b"/usr/share/", b"/usr/lib/"];

/// The story of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline {
    /// The run.
    pub run: Head,
    /// What ended the run, escaped.
    pub sentence: String,
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// How many steps were left out of the story.
    pub left_out: u64,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// When it happened; if it happened several times, the first time.
    #[serde(flatten)]
    pub moment: Moment,
    /// The process.
    pub pid: u32,
    /// The name of the process; escaped.
    pub process: String,
    /// The kind of step.
    pub kind: Kind,
    /// What happened, for people; escaped.
    pub text: String,
    /// How often it happened.
    pub times: u64,
    /// Number of the last such event, if there were several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event: Option<u64>,
    /// Whether the verdict rests on the step.
    pub cited: bool,
    /// Other events that the step also covers.
    #[serde(skip)]
    covers: Vec<u64>,
    /// The parts of its text, if several such steps can be combined into one.
    #[serde(skip)]
    list: Option<List>,
}

/// For example `reads ` and `/etc/hosts`. Steps with the same beginning and end can be combined into one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct List {
    before: String,
    item: String,
    after: String,
}

/// The kind of a step. New kinds may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A program was executed.
    Exec,
    /// A text file was read, most likely configuration.
    Read,
    /// A name was asked for.
    Dns,
    /// A connect.
    Connect,
    /// A call that failed.
    Failure,
    /// A signal.
    Signal,
    /// What a thread was doing when a signal came.
    Interrupted,
    /// The OOM killer chose a process.
    OomKill,
    /// Something was printed.
    Said,
    /// A process ended.
    Exit,
    /// Events were overwritten by newer ones.
    Gap,
    /// Something else that the verdict rests on.
    Evidence,
}

/// Makes the view of a run, which is given by its position in [`Reader::runs`].
pub fn timeline<R: Read + Seek>(reader: &mut Reader<R>, run_index: RunIndex) -> Timeline {
    let header = reader.header().clone();
    let mut facts = reader.run(run_index).map(Facts::new);
    let mut context = Context::default();
    let mut read: Tally<(u32, Text), (Moment, u64)> = Tally::default();
    let (head, run) = Head::pass(reader, run_index, |numbered, run| {
        let (number, event) = (numbered.number, &numbered.event);
        if let Some(facts) = &mut facts {
            facts.observe(number, event);
        }
        let seen = context.observe(number, event);
        if let Some(path) = reads_text(&seen) {
            let now = Moment::of(number, event, run);
            let (_, bytes) = read.entry(number, (event.pid, path), || (now, 0));
            *bytes = bytes.saturating_add(event.ret as u64);
        }
    });
    let facts = facts.unwrap_or_else(|| Facts::new(&run));
    let verdict = judge(&Case::new(&facts, &run, &header));
    let story = Story {
        facts: &facts,
        case: Case::new(&facts, &run, &header),
        run: &run,
    };
    let mut steps = story.steps();
    let read = read.into_groups().0;
    steps.extend(read.into_iter().map(|((pid, path), (moment, bytes))| {
        let step = story.step(moment, pid, Kind::Read, String::new());
        step.listed("reads ", format!("{path} ({})", size(bytes)), "")
    }));
    steps.sort_by_key(|step| step.moment.event);
    cite(&mut steps, &verdict, &run);
    let steps = fold(steps);
    let (steps, left_out) = shorten(steps, MAX_LINES);
    Timeline {
        run: head,
        sentence: verdict.sentence,
        steps,
        left_out,
    }
}

/// The path of a text file that a program reads.
fn reads_text(seen: &Seen<'_>) -> Option<Text> {
    let event = seen.event;
    let is_file = matches!(event.fd_type, FdType::REGULAR | FdType::UNKNOWN);
    if event.kind.class() != Class::Reads || event.ret <= 0 || !is_file || event.data.is_empty() {
        return None;
    }
    let path = match Subject::of_fd(seen.fd.as_ref()?) {
        Subject::Path(path) | Subject::Name(path) => path,
        _ => return None,
    };
    let is_config = !NOT_CONFIG
        .iter()
        .any(|start| path.as_bytes().starts_with(start));
    (is_config && is_text(&event.data)).then_some(path)
}

/// Marks the steps that the verdict rests on, and adds a step for evidence that no step covers.
fn cite(steps: &mut Vec<Step>, verdict: &Verdict, run: &Run) {
    let cited: HashSet<u64> = verdict.evidence.iter().map(|it| it.event).collect();
    let mut told = HashSet::new();
    for step in steps.iter_mut() {
        for event in step.covers.iter().chain([&step.moment.event]) {
            step.cited |= cited.contains(event);
            told.insert(*event);
        }
    }
    for evidence in verdict
        .evidence
        .iter()
        .filter(|it| !told.contains(&it.event))
    {
        let time = run.start.plus(evidence.after_start());
        steps.push(Step {
            cited: true,
            ..Step::new(
                Moment::new(evidence.event, time, run),
                Kind::Evidence,
                escaped_to_line(&evidence.text),
            )
        });
    }
    steps.sort_by_key(|step| step.moment.event);
}

/// Escaped text, shortened so that no character is cut.
fn escaped_to_line(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Step {
    fn new(moment: Moment, kind: Kind, text: String) -> Self {
        Self {
            moment,
            pid: 0,
            process: String::new(),
            kind,
            text,
            times: 1,
            last_event: None,
            cited: false,
            covers: Vec::new(),
            list: None,
        }
    }

    /// A step that can be combined with similar steps after it.
    fn listed(self, before: &str, item: String, after: &str) -> Self {
        Self {
            text: format!("{before}{item}{after}"),
            list: Some(List {
                before: before.to_owned(),
                item,
                after: after.to_owned(),
            }),
            ..self
        }
    }
}

struct Story<'a> {
    facts: &'a Facts,
    case: Case<'a>,
    run: &'a Run,
}

impl Story<'_> {
    fn step(&self, moment: Moment, pid: u32, kind: Kind, text: String) -> Step {
        let process = self.facts.processes.get(pid);
        Step {
            pid,
            process: process.map(Process::name).unwrap_or_default(),
            ..Step::new(moment, kind, text)
        }
    }

    fn at(&self, event: u64, time: BootTime) -> Moment {
        Moment::new(event, time, self.run)
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for process in self.facts.processes.iter() {
            steps.extend(self.exec(process));
            steps.extend(self.exit(process));
        }
        steps.extend(self.lookups());
        steps.extend(self.connects());
        steps.extend(self.failures());
        steps.extend(self.signals());
        steps.extend(self.interruptions());
        steps.extend(self.words());
        steps.extend(self.gaps());
        steps
    }

    fn exec(&self, process: &Process) -> Option<Step> {
        let exec = process.exec.as_ref()?;
        let inherited = process.start.is_some_and(|start| start.event > exec.event);
        let argv: Vec<_> = exec.argv.iter().map(|it| Text::new(it)).collect();
        let text = format!("runs {}", escaped_to_line(&command_line(&argv)));
        let at = self.at(exec.event, exec.time);
        (!inherited).then(|| self.step(at, process.pid, Kind::Exec, text))
    }

    fn exit(&self, process: &Process) -> Option<Step> {
        let exit = process.exit?;
        let at = self.at(exit.event, exit.time);
        let step = self.step(at, process.pid, Kind::Exit, how(exit.status));
        // Children that ended well are left out.
        let well = exit.status == ExitStatus::Code(0) && !self.case.in_chain(process.pid);
        (!well).then_some(step)
    }

    fn lookups(&self) -> impl Iterator<Item = Step> {
        let lookups = self.facts.lookups().into_iter();
        lookups.filter_map(|lookup| {
            let first = lookup.exchanges.first()?.attempts.first()?;
            let names = lookup.names().len();
            let tried = match names {
                0 | 1 => String::new(),
                names => format!(", {names} names tried"),
            };
            let host = escaped_to(lookup.host.as_bytes(), MAX_TEXT);
            let outcome = said(lookup.outcome());
            let text = format!("asks DNS for {host}: {outcome}{tried}");
            let mut step = self.step(
                self.at(first.event, first.time),
                lookup.pid,
                Kind::Dns,
                text,
            );
            for exchange in &lookup.exchanges {
                step.covers
                    .extend(exchange.attempts.iter().map(|it| it.event));
                step.covers
                    .extend(exchange.answer.as_ref().map(|it| it.event));
                step.covers.extend(exchange.error.map(|error| error.event));
            }
            Some(step)
        })
    }

    fn connects(&self) -> impl Iterator<Item = Step> {
        let lookups = self.facts.lookups();
        let connections = self.facts.connections.iter();
        let connections = connections.filter(|it| !is_optional(&it.address));
        connections.map(move |connection| {
            let host = host_of(&connection.address, &lookups);
            let host = host.map(|host| format!(" ({host})")).unwrap_or_default();
            let outcome = match connection.outcome.map(|it| it.error) {
                None => "the end was not recorded".to_owned(),
                Some(None) => "connected".to_owned(),
                Some(Some(errno)) => format!("{errno} ({})", errno.text()),
            };
            let text = format!("connects to {}{host}: {outcome}", connection.address);
            let at = self.at(connection.event, connection.time);
            let mut step = self.step(at, connection.pid, Kind::Connect, text);
            step.covers.extend(connection.outcome.map(|it| it.event));
            step
        })
    }

    fn failures(&self) -> impl Iterator<Item = Step> {
        let failures = self.facts.failures.iter();
        let failures = failures.filter(|failure| !is_noise(failure));
        failures.map(|failure| {
            let (call, errno) = (call_name(failure.kind), failure.errno);
            let after = format!(": {errno} ({})", errno.text());
            let at = self.at(failure.event, failure.time);
            let step = self.step(at, failure.pid, Kind::Failure, format!("{call}{after}"));
            if failure.path.is_empty() {
                return step;
            }
            let path = escaped_to(&failure.path, MAX_TEXT).to_string();
            step.listed(&format!("{call} "), path, &after)
        })
    }

    fn signals(&self) -> impl Iterator<Item = Step> {
        let sent = self.facts.signals.iter().map(|sent| {
            let by = sent.sender();
            let text = format!("is sent {} by {by}", sent.signal);
            self.step(
                self.at(sent.event, sent.time),
                sent.target,
                Kind::Signal,
                text,
            )
        });
        let kills = self.facts.oom_kills.iter().map(|kill| {
            let text = "is chosen by the OOM killer".to_owned();
            let moment = self.at(kill.event, kill.time);
            self.step(moment, kill.pid, Kind::OomKill, text)
        });
        sent.chain(kills)
    }

    fn gaps(&self) -> impl Iterator<Item = Step> {
        self.facts.gaps.iter().map(|gap| {
            let events = count(u64::try_from(gap.events).unwrap_or(0), "event");
            let lane = escaped_to(&gap.lane, MAX_TEXT);
            let text = format!("{events} of the lane {lane} before this were overwritten");
            Step::new(self.at(gap.event, gap.time), Kind::Gap, text)
        })
    }

    /// One step for all threads of a process at one signal.
    fn interruptions(&self) -> Vec<Step> {
        let arch = &self.case.header.host.arch;
        let groups = self.facts.interruptions.groups().into_iter();
        let steps = groups.filter_map(|group| {
            let best = group.iter().min_by_key(|thread| thread.rank(arch))?;
            let others = match group.len() - 1 {
                0 => String::new(),
                1 => " (and 1 other thread)".to_owned(),
                others => format!(" (and {others} other threads)"),
            };
            let text = escaped_to_line(&format!("{}{others}", best.predicate(arch)));
            let at = self.at(best.event, best.time);
            let mut step = self.step(at, best.pid, Kind::Interrupted, text);
            step.covers = group.iter().map(|thread| thread.event).collect();
            Some(step)
        });
        steps.collect()
    }

    /// The last output of each process of the chain, and the line that says why the run ended.
    fn words(&self) -> Vec<Step> {
        let chain = self.case.chain.iter();
        let mut lines: Vec<_> = chain
            .flat_map(|process| {
                let lines = process.output.lines();
                let lines = lines.filter(|line| {
                    line.fate != Fate::Discarded && line.text.contains(char::is_alphanumeric)
                });
                let mut lines: Vec<_> = lines.map(|line| (process.pid, line)).collect();
                lines.drain(..lines.len().saturating_sub(MAX_WORDS));
                lines
            })
            .collect();
        // Lines of one write stay in their order.
        lines.sort_by_key(|(_, line)| line.event);
        let headline = self.case.words.headline();
        let headline = headline
            .filter(|headline| !lines.iter().any(|(_, line)| std::ptr::eq(*line, *headline)));
        let headline = headline.map(|line| (line.pid, line));
        let lines = headline.into_iter().chain(lines);
        let steps = lines.map(|(pid, line)| {
            let text = format!("says on {}", line.cited());
            self.step(self.at(line.event, line.time), pid, Kind::Said, text)
        });
        steps.collect()
    }
}

impl View for Timeline {
    fn write_text(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        self.run.write(look, out)?;
        let mut table = Table::new([
            Column::right("TIME"),
            Column::right("EVENT"),
            Column::left("!"),
            Column::left("PROCESS"),
            Column::text("WHAT"),
        ]);
        for step in &self.steps {
            let times = match step.last_event {
                Some(last) => format!(" ({} times, until #{last})", step.times),
                None => String::new(),
            };
            let paint = match step.kind {
                _ if step.cited => Paint::Strong,
                Kind::Failure | Kind::OomKill => Paint::Bad,
                _ => Paint::Plain,
            };
            table.row([
                Cell::new(step.moment.offset(), Paint::Dim),
                Cell::new(step.moment.number(), Paint::Dim),
                Cell::new(if step.cited { "!" } else { "" }, Paint::Bad),
                (&step.process).into(),
                Cell::new(format!("{}{times}", step.text), paint),
            ]);
        }
        table.write(look, out)?;
        if self.left_out > 0 {
            let what = count(self.left_out, "lesser thing");
            writeln!(out, "{what} left out: `lastword show` has all")?;
        }
        writeln!(
            out,
            "verdict (it rests on what is marked !): {}",
            self.sentence
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::text_of;
    use capture_format::{EventKind as K, SignalOrigin};
    use fixtures::{INIT, Script, capture, inet, nginx};

    #[test]
    fn the_story_of_a_name_that_does_not_resolve() {
        insta::assert_snapshot!(text_of(&timeline(&mut capture(&[nginx()]), RunIndex(0))));
    }

    #[test]
    fn lines_of_one_write_stand_in_their_order_with_their_own_time() {
        let mut s = Script::new(&["app"]);
        s.write(INIT, 2, "fatal: one\ntwo\nthree\nfour\n")
            .wait(5000)
            .exit(INIT, 1);
        let timeline = timeline(&mut capture(&[s]), RunIndex(0));
        let said = timeline.steps.iter().filter(|step| step.kind == Kind::Said);
        let said: Vec<_> = said
            .map(|step| (step.text.clone(), step.moment.offset()))
            .collect();
        let expected = ["fatal: one", "two", "three", "four"]
            .map(|line| (format!("says on stderr: {line}"), "+0.003000".to_owned()));
        assert_eq!(said, expected);
    }

    #[test]
    fn what_went_into_a_pipeline_is_not_said_on_stdout() {
        let mut s = Script::new(&["sh", "-c", "app | grep x"]);
        s.call(INIT, K::PIPE, 0, [3, 4, 0], "", "")
            .call(INIT, K::DUP2, 1, [4, 0, 0], "", "")
            .write(INIT, 1, "fatal: no\n")
            .exit(INIT, 1);
        let text = text_of(&timeline(&mut capture(&[s]), RunIndex(0)));
        assert!(
            text.contains("says on a pipe: fatal: no") && !text.contains("stdout"),
            "{text}"
        );
    }

    #[test]
    fn what_a_process_was_doing_follows_the_signal() {
        let mut s = Script::new(&["app"]);
        s.wait(40_000)
            .signal(INIT, 15, 0, (812, "bash"), SignalOrigin::Outside);
        for (tid, call) in [(INIT, 202), (101, 230), (102, 202)] {
            s.call(INIT, K::INTERRUPTED, call, [-1, 0, 15], "", "");
            s.events.last_mut().unwrap().tid.0 = tid;
        }
        s.exit_status(INIT, 15);
        let timeline = timeline(&mut capture(&[s]), RunIndex(0));
        let steps = timeline.steps.iter().rev().take(3).rev();
        let steps: Vec<_> = steps.map(|step| step.text.as_str()).collect();
        assert_eq!(
            steps,
            [
                "is sent SIGTERM by bash (pid 812)",
                "was in futex (and 2 other threads)",
                "was killed by SIGTERM"
            ]
        );
    }

    #[test]
    fn evidence_that_no_step_tells_has_its_own_time() {
        let mut s = Script::new(&["sh", "-c", "app || exit 3"]);
        s.fork(INIT, 200)
            .exec(200, &["app"])
            .wait(400)
            .write(200, 2, "error: queue is bad\n")
            .wait(400)
            .write(200, 2, "fatal: giving up\n");
        let time = s.events.last().unwrap().time;
        s.wait(400).exit(200, 1).exit(INIT, 3);
        let timeline = timeline(&mut capture(&[s]), RunIndex(0));
        let mut evidence = timeline.steps.iter();
        let evidence = evidence.find(|step| step.kind == Kind::Evidence).unwrap();
        assert_eq!(evidence.moment.time_ns, time, "{evidence:?}");
    }

    #[test]
    fn a_gap_is_told() {
        let mut s = Script::new(&["app"]);
        s.gap(capture_format::lane::LIFE, 900).exit(INIT, 1);
        let text = text_of(&timeline(&mut capture(&[s]), RunIndex(0)));
        let gap = "900 events of the lane life before this were overwritten";
        assert!(text.contains(gap), "{text}");
    }

    #[test]
    fn what_repeats_is_folded_and_the_rest_fits() {
        let mut s = Script::new(&["app"]);
        for number in 0..100 {
            s.open(
                INIT,
                &format!("/opt/optional-{number}"),
                [-2, -13][number % 2],
            );
        }
        for _ in 0..37 {
            s.call(INIT, K::SOCKET, 4, [2, 1, 0], "", "");
            s.connect(INIT, 4, &inet([10, 0, 0, 7], 80), -111)
                .close(INIT, 4);
        }
        s.write(
            INIT,
            2,
            "connect to 10.0.0.7:80: Connection refused \x1b[2J\n",
        );
        s.signal(INIT, 10, 0, (812, "shim\n"), SignalOrigin::Outside);
        s.exit(INIT, 1);
        let timeline = timeline(&mut capture(&[s]), RunIndex(0));
        assert!(
            timeline.steps.len() <= MAX_LINES + timeline.steps.iter().filter(|it| it.cited).count()
        );
        assert!(timeline.left_out >= 80);
        let refused = timeline
            .steps
            .iter()
            .find(|step| step.kind == Kind::Connect);
        let refused = refused.unwrap();
        assert!(refused.times == 37 && refused.cited && refused.last_event.is_some());
        let ends = timeline.steps.last().unwrap();
        assert_eq!((ends.kind, ends.cited), (Kind::Exit, true));
        let text = text_of(&timeline);
        assert!(
            text.contains("(37 times, until #") && !text.contains('\x1b'),
            "{text}"
        );
    }
}
