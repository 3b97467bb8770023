//! The names that a run asked for: every question, how the search list expanded it, what was answered, by whom, how
//! fast.

use std::io::{self, Read, Seek, Write};

use capture_format::{Reader, Run, RunIndex};
use serde::Serialize;

use super::{Cell, Column, Head, Look, Moment, Paint, Table, Text, View, count};
use events::decode::time::duration;
use verdict::facts::Facts;
use verdict::facts::dns::Exchange;
use verdict::facts::lookup::{self, Outcome};
use verdict::facts::resolv_conf::ResolvConf;

/// The names that a run asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Dns {
    /// The run.
    pub run: Head,
    /// The search list that the resolver used, if reading it was recorded.
    pub search: Vec<Text>,
    /// The look-ups, in the order of their first questions.
    pub lookups: Vec<Lookup>,
    /// How many questions were left out because there were more than 1024: the oldest ones.
    pub left_out: u64,
}

/// The questions that a resolver asked to resolve one name.
#[derive(Clone, Debug, Serialize)]
pub struct Lookup {
    /// The name as the program gave it, as far as the questions show it.
    pub host: Text,
    /// How it ended: `resolved`, `no_such_name`, `no_records`, `server_failed`, `no_answer`.
    pub outcome: &'static str,
    /// The outcome for people: `NXDOMAIN`, `SERVFAIL`, `no answer`.
    pub said: String,
    /// The process that asked.
    pub pid: u32,
    /// The name of the process; escaped.
    pub process: String,
    /// The first question.
    pub first: Moment,
    /// Number of the last question or answer.
    pub last_event: u64,
    /// Nanoseconds from the first question to the last answer, if there is one.
    pub took_ns: Option<u64>,
    /// The questions: one for each expansion by the search list, each for A and AAAA.
    pub questions: Vec<Question>,
}

/// One question and the answer or error that it got.
#[derive(Clone, Debug, Serialize)]
pub struct Question {
    /// The name asked for.
    pub name: Text,
    /// The type asked for: `AAAA`.
    #[serde(rename = "type")]
    pub qtype: String,
    /// Each time the question was sent (the first 8).
    pub asked: Vec<Moment>,
    /// The server that answered; without an answer the server that was asked last, if known.
    pub server: Option<String>,
    /// The answer.
    pub answer: Option<Moment>,
    /// Its response code: `NXDOMAIN`.
    pub rcode: Option<String>,
    /// Its records: `A 10.0.0.7`.
    pub records: Vec<Text>,
    /// Nanoseconds from the last sending to the answer.
    pub latency_ns: Option<u64>,
    /// The error that the socket gave instead of an answer: `ECONNREFUSED` if no server listens.
    pub error: Option<String>,
    /// How it ended; the same words as in a look-up.
    pub outcome: &'static str,
}

/// Makes the view of a run, which is given by its position in [`Reader::runs`].
pub fn dns<R: Read + Seek>(reader: &mut Reader<R>, run_index: RunIndex) -> Dns {
    let mut facts = reader.run(run_index).map(Facts::new);
    let (head, run) = Head::pass(reader, run_index, |event, _| {
        if let Some(facts) = &mut facts {
            facts.observe(event.number, &event.event);
        }
    });
    let facts = facts.unwrap_or_else(|| Facts::new(&run));
    Dns::of(head, &facts, &run)
}

impl Dns {
    fn of(head: Head, facts: &Facts, run: &Run) -> Self {
        let search = facts.resolv_conf.as_ref().map(ResolvConf::search);
        let lookups = facts.lookups();
        Self {
            run: head,
            search: texts(&search.unwrap_or_default()),
            lookups: lookups
                .iter()
                .map(|it| Lookup::of(it, facts, run))
                .collect(),
            left_out: facts.dns.total() - facts.dns.exchanges().count() as u64,
        }
    }
}

fn texts(from: &[String]) -> Vec<Text> {
    from.iter().map(|it| Text::new(it.as_bytes())).collect()
}

impl Lookup {
    fn of(lookup: &lookup::Lookup, facts: &Facts, run: &Run) -> Self {
        let questions: Vec<_> = lookup
            .exchanges
            .iter()
            .map(|exchange| Question::of(exchange, run))
            .collect();
        let first = questions
            .iter()
            .flat_map(|it| it.asked.first())
            .min_by_key(|it| it.event);
        let first = first.copied().unwrap_or_default();
        let answers = questions.iter().filter_map(|it| it.answer);
        let end = answers.map(|answer| answer.time_ns).max();
        let outcome = lookup.outcome();
        let process = facts.processes.get(lookup.pid);
        Self {
            host: Text::new(lookup.host.as_bytes()),
            outcome: stable_name(outcome),
            said: said(outcome),
            pid: lookup.pid,
            process: process.map(|it| it.name()).unwrap_or_default(),
            first,
            last_event: lookup.last_event(),
            took_ns: end.and_then(|end| end.checked_since(first.time_ns)),
            questions,
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        (&self.host, &self.said, &self.process) == (&other.host, &other.said, &other.process)
    }
}

impl Question {
    fn of(exchange: &Exchange, run: &Run) -> Self {
        let attempts = exchange.attempts.iter();
        let answer = exchange.answer.as_ref();
        Self {
            name: Text::new(exchange.name.as_bytes()),
            qtype: exchange.qtype.clone(),
            asked: attempts
                .map(|it| Moment::new(it.event, it.time, run))
                .collect(),
            server: exchange.server().map(|server| server.to_string()),
            answer: answer.map(|it| Moment::new(it.event, it.time, run)),
            rcode: answer.map(|it| it.rcode.to_string()),
            records: texts(answer.map_or(&[], |it| &it.records)),
            latency_ns: exchange.latency(),
            error: exchange.error.map(|error| error.errno.to_string()),
            outcome: stable_name(lookup::outcome(exchange)),
        }
    }

    fn said(&self) -> String {
        match (&self.rcode, &self.error) {
            _ if self.outcome == "no_records" => "no records".to_owned(),
            _ if !self.records.is_empty() => {
                let records: Vec<_> = self.records.iter().map(Text::to_string).collect();
                records.join(", ")
            }
            (Some(rcode), _) => rcode.clone(),
            (None, Some(error)) => format!("no answer: {error}"),
            (None, None) => "no answer".to_owned(),
        }
    }
}

pub(crate) fn stable_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Resolved => "resolved",
        Outcome::NoSuchName => "no_such_name",
        Outcome::NoRecords => "no_records",
        Outcome::ServerFailed(_) => "server_failed",
        Outcome::NoAnswer => "no_answer",
    }
}

/// An outcome for people.
pub(crate) fn said(outcome: Outcome) -> String {
    match outcome {
        Outcome::Resolved => "resolved".to_owned(),
        Outcome::NoSuchName => "NXDOMAIN".to_owned(),
        Outcome::NoRecords => "no records".to_owned(),
        Outcome::ServerFailed(rcode) => rcode.to_string(),
        Outcome::NoAnswer => "no answer".to_owned(),
    }
}

fn paint(outcome: &str) -> Paint {
    if outcome == "resolved" {
        Paint::Good
    } else {
        Paint::Bad
    }
}

impl View for Dns {
    fn write_text(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        self.run.write(look, out)?;
        if !self.search.is_empty() {
            let search: Vec<_> = self.search.iter().map(Text::to_string).collect();
            writeln!(out, "search list: {}", search.join(" "))?;
        }
        if self.lookups.is_empty() {
            return writeln!(out, "no name was asked for");
        }
        let mut table = Table::new([
            Column::right("TIMES"),
            Column::text("NAME"),
            Column::left("TYPE"),
            Column::text("ANSWER"),
            Column::right("LATENCY"),
            Column::left("SERVER"),
            Column::left("EVENTS"),
            Column::left("ASKED BY"),
        ]);
        for alike in self.lookups.chunk_by(Lookup::is_like) {
            let Some(lookup) = alike.last() else { continue };
            table.row([
                alike.len().into(),
                Cell::new(&lookup.host, Paint::Strong),
                "".into(),
                Cell::new(&lookup.said, paint(lookup.outcome)),
                lookup.took_ns.map(duration).unwrap_or_default().into(),
                "".into(),
                Cell::new(
                    format!("#{}-{}", lookup.first.event, lookup.last_event),
                    Paint::Dim,
                ),
                format!("{} ({})", lookup.process, lookup.pid).into(),
            ]);
            lookup.questions.iter().for_each(|it| table.row(it.row()));
        }
        table.write(look, out)?;
        if self.left_out > 0 {
            writeln!(
                out,
                "{} asked earlier are left out",
                count(self.left_out, "question")
            )?;
        }
        Ok(())
    }
}

impl Question {
    fn row(&self) -> [Cell; 8] {
        let times = match self.asked.len() {
            0 | 1 => String::new(),
            times => format!(" (asked {times} times)"),
        };
        let events = self.asked.last().into_iter().chain(&self.answer);
        let events: Vec<_> = events.map(Moment::number).collect();
        [
            "".into(),
            format!("  {}", self.name).into(),
            (&self.qtype).into(),
            Cell::new(self.said() + &times, paint(self.outcome)),
            self.latency_ns.map(duration).unwrap_or_default().into(),
            self.server.as_deref().unwrap_or_default().into(),
            Cell::new(events.join(" "), Paint::Dim),
            "".into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::text_of;
    use fixtures::{INIT, Script, capture, dns as message, nginx};

    const SERVER: [u8; 4] = [10, 96, 0, 10];

    #[test]
    fn a_search_list_is_one_look_up_with_its_expansions() {
        insta::assert_snapshot!(text_of(&dns(&mut capture(&[nginx()]), RunIndex(0))));
    }

    #[test]
    fn look_ups_alike_are_folded_and_silence_is_told() {
        let mut s = Script::new(&["app"]);
        s.resolver_socket(INIT, 5, SERVER);
        for id in 0..37 {
            s.ask(INIT, 5, 100 + 2 * id, "db");
        }
        s.ask(INIT, 5, 7, "web");
        s.reply(INIT, 5, SERVER, message::answer(7, "web", &[[10, 0, 0, 7]]));
        let dns = dns(&mut capture(&[s]), RunIndex(0));
        assert_eq!(dns.lookups.len(), 38);
        insta::assert_snapshot!(text_of(&dns));
    }
}
