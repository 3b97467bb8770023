//! The connections of a run and how they ended, and which processes listened where.

use std::io::{self, Read, Seek, Write};

use capture_format::{Event, EventKind, Reader, Run, RunIndex};
use serde::Serialize;

use super::{Cell, Column, Head, Look, Moment, Names, Paint, Table, Tally, Text, View, count};
use events::context::{Context, Seen};
use events::decode::time::duration;
use events::decode::{Errno, SockAddr};
use events::fds::Target;
use verdict::facts::Facts;
use verdict::facts::connections::Connection;
use verdict::facts::lookup::Lookup;

/// Connections and listeners.
#[derive(Clone, Debug, Serialize)]
pub struct Net {
    /// The run.
    pub run: Head,
    /// Attempts to connect a stream socket, grouped by address, process and outcome, in the order of the first ones.
    pub connections: Vec<Connections>,
    /// How many attempts were left out because there were more than 1024: the oldest ones.
    pub left_out: u64,
    /// Addresses that sockets were bound to or listened at, in the order of first use.
    pub listeners: Vec<Listener>,
}

/// Attempts to connect that had the same outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Connections {
    /// The address it connects to; escaped.
    pub address: String,
    /// The name for which DNS gave this address in this run.
    pub host: Option<Text>,
    /// Name of the process; escaped.
    pub process: String,
    /// `connected`, an error such as `ECONNREFUSED`, or `unknown` if the outcome was not recorded.
    pub outcome: String,
    /// What the error means.
    pub text: Option<&'static str>,
    /// How many attempts there were.
    pub count: u64,
    /// The first connect.
    pub first: Moment,
    /// The last connect.
    pub last: Moment,
    /// Number of the event that shows the outcome of the last connect.
    pub told_by: Option<u64>,
    /// Nanoseconds from the return of the last connect to the call that shows its outcome; `None` if the connect itself
    /// shows it.
    pub took_ns: Option<u64>,
}

/// An address that a process took or tried to take.
#[derive(Clone, Debug, Serialize)]
pub struct Listener {
    /// The address; escaped.
    pub address: String,
    /// Whether the process listened at the address.
    pub listens: bool,
    /// Connections accepted.
    pub accepted: u64,
    /// Why the address could not be taken, such as `EADDRINUSE`.
    pub error: Option<String>,
    /// Names of the processes, the first four; escaped.
    pub processes: Names,
    /// The first event.
    pub first: Moment,
    /// The last event.
    pub last: Moment,
}

/// Makes the view of a run, which is given by its position in [`Reader::runs`].
pub fn net<R: Read + Seek>(reader: &mut Reader<R>, run_index: RunIndex) -> Net {
    let mut facts = reader.run(run_index).map(Facts::new);
    let mut context = Context::default();
    let mut listeners: Tally<String, Listener> = Tally::default();
    let (head, run) = Head::pass(reader, run_index, |numbered, run| {
        let (number, event) = (numbered.number, &numbered.event);
        if let Some(facts) = &mut facts {
            facts.observe(number, event);
        }
        let seen = context.observe(number, event);
        listen(&seen, run, &mut listeners);
    });
    let facts = facts.unwrap_or_else(|| Facts::new(&run));
    let (groups, _) = listeners.into_groups();
    let mut listeners: Vec<_> = groups.into_iter().map(|(_, it)| it).collect();
    listeners.sort_by_key(|it| it.first.event);
    Net {
        run: head,
        connections: connections(&facts, &run),
        left_out: facts.connections.total() - facts.connections.iter().count() as u64,
        listeners,
    }
}

fn connections(facts: &Facts, run: &Run) -> Vec<Connections> {
    let lookups = facts.lookups();
    let mut groups: Vec<Connections> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for connection in facts.connections.iter() {
        let next = Connections::of(connection, facts, &lookups, run);
        let key = (
            next.address.clone(),
            next.process.clone(),
            next.outcome.clone(),
        );
        match places.get(&key).and_then(|&at: &usize| groups.get_mut(at)) {
            Some(group) => {
                (group.last, group.told_by) = (next.last, next.told_by);
                (group.took_ns, group.count) = (next.took_ns, group.count + 1);
            }
            None => {
                places.insert(key, groups.len());
                groups.push(next);
            }
        }
    }
    groups
}

/// The name for which DNS gave an address last.
pub(crate) fn host_of(address: &SockAddr, lookups: &[Lookup]) -> Option<Text> {
    let address = address.inet()?.ip();
    let lookup = lookups.iter().rev().find(|it| it.gave(address))?;
    Some(Text::new(lookup.host.as_bytes()))
}

impl Connections {
    fn of(connection: &Connection, facts: &Facts, lookups: &[Lookup], run: &Run) -> Self {
        let error = connection.outcome.and_then(|outcome| outcome.error);
        let process = facts.processes.get(connection.pid);
        let now = Moment::new(connection.event, connection.time, run);
        // A connect that did not have to wait has only one time: that of its return.
        let later = connection.outcome.filter(|it| it.event != connection.event);
        Self {
            address: connection.address.to_string(),
            host: host_of(&connection.address, lookups),
            process: process.map(|it| it.name()).unwrap_or_default(),
            outcome: match (connection.outcome, error) {
                (None, _) => "unknown".to_owned(),
                (Some(_), None) => "connected".to_owned(),
                (Some(_), Some(errno)) => errno.to_string(),
            },
            text: error.map(Errno::text),
            count: 1,
            first: now,
            last: now,
            told_by: connection.outcome.map(|outcome| outcome.event),
            took_ns: later.and_then(|it| it.time.checked_since(connection.time)),
        }
    }
}

/// Takes a bind, listen or accept.
fn listen(seen: &Seen<'_>, run: &Run, listeners: &mut Tally<String, Listener>) {
    use EventKind as K;
    let event = seen.event;
    let error = Errno::from_ret(event.ret);
    let local = || match seen.fd.as_ref().map(|fd| &fd.target) {
        Some(Target::Socket { local, .. }) => local.clone(),
        _ => None,
    };
    let address = match event.kind {
        K::BIND => SockAddr::parse(&event.name).filter(|_| error.is_some()),
        K::LISTEN => SockAddr::parse(&event.name).or_else(local),
        K::ACCEPT | K::ACCEPT4 => local(),
        _ => None,
    };
    let Some(address) = address else { return };
    let address = address.canonical().to_string();
    let now = Moment::of(seen.number, event, run);
    let listener = listeners.entry(seen.number, address.clone(), || Listener::new(address, now));
    listener.take(event, error);
    listener.last = now;
    listener.processes.add(&seen.program.label);
}

impl Listener {
    fn new(address: String, now: Moment) -> Self {
        Self {
            address,
            listens: false,
            accepted: 0,
            error: None,
            processes: Names::default(),
            first: now,
            last: now,
        }
    }

    fn take(&mut self, event: &Event, error: Option<Errno>) {
        let is_accept = matches!(event.kind, EventKind::ACCEPT | EventKind::ACCEPT4);
        match error {
            Some(errno) => self.error = Some(errno.to_string()),
            None if is_accept => self.accepted += 1,
            None => {
                self.listens = true;
                self.error = None;
            }
        }
    }
}

impl View for Net {
    fn write_text(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        self.run.write(look, out)?;
        if self.connections.is_empty() && self.listeners.is_empty() {
            return writeln!(out, "no stream socket was connected, and nobody listened");
        }
        self.write_connections(look, out)?;
        if !self.connections.is_empty() && !self.listeners.is_empty() {
            writeln!(out)?;
        }
        self.write_listeners(look, out)
    }
}

impl Net {
    fn write_connections(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new([
            Column::right("TIMES"),
            Column::left("OUTCOME"),
            Column::right("TOOK"),
            Column::left("FIRST"),
            Column::left("LAST"),
            Column::left("TOLD BY"),
            Column::right("AT"),
            Column::left("PROCESS"),
            Column::text("CONNECT TO"),
        ]);
        for it in &self.connections {
            let paint = match it.outcome.as_str() {
                "connected" => Paint::Good,
                "unknown" => Paint::Plain,
                _ => Paint::Bad,
            };
            let host = it.host.as_ref().map(|host| format!(" ({host})"));
            let told_by = it.told_by.filter(|&event| event != it.last.event);
            let told_by = told_by.map(|event| format!("#{event}"));
            table.row([
                it.count.into(),
                Cell::new(&it.outcome, paint),
                it.took_ns.map(duration).unwrap_or_default().into(),
                Cell::new(it.first.number(), Paint::Dim),
                Cell::new(it.last.number(), Paint::Dim),
                Cell::new(told_by.unwrap_or_default(), Paint::Dim),
                Cell::new(it.last.offset(), Paint::Dim),
                (&it.process).into(),
                format!("{}{}", it.address, host.unwrap_or_default()).into(),
            ]);
        }
        table.write(look, out)?;
        if self.left_out > 0 {
            writeln!(
                out,
                "{} made earlier are left out",
                count(self.left_out, "connect")
            )?;
        }
        Ok(())
    }

    fn write_listeners(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new([
            Column::right("ACCEPTED"),
            Column::left("STATE"),
            Column::left("FIRST"),
            Column::left("LAST"),
            Column::text("PROCESSES"),
            Column::text("LISTEN AT"),
        ]);
        for it in &self.listeners {
            let state = match &it.error {
                Some(error) => Cell::new(error, Paint::Bad),
                None if it.listens => "listens".into(),
                None => "".into(),
            };
            table.row([
                it.accepted.into(),
                state,
                Cell::new(it.first.number(), Paint::Dim),
                Cell::new(it.last.number(), Paint::Dim),
                (&it.processes).into(),
                (&it.address).into(),
            ]);
        }
        table.write(look, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::text_of;
    use EventKind as K;
    use fixtures::{INIT, Script, capture, dns, inet, unix};

    #[test]
    fn tries_alike_are_folded_and_named() {
        let mut s = Script::new(&["app"]);
        s.resolver_socket(INIT, 5, [10, 96, 0, 10])
            .ask(INIT, 5, 7, "db");
        let answer = dns::answer(7, "db", &[[10, 0, 0, 7]]);
        s.reply(INIT, 5, [10, 96, 0, 10], answer);
        for _ in 0..37 {
            s.call(INIT, K::SOCKET, 4, [2, 1, 0], "", "");
            s.connect(INIT, 4, &inet([10, 0, 0, 7], 5432), -111)
                .close(INIT, 4);
        }
        s.call(INIT, K::SOCKET, 4, [2, 1, 0], "", "");
        s.connect(INIT, 4, &inet([10, 0, 0, 8], 80), -115);
        s.call(INIT, K::SOCKET, 6, [1, 1, 0], "", "");
        s.connect(INIT, 6, &unix("/run/\x1b[2J.sock"), 0);
        insta::assert_snapshot!(text_of(&net(&mut capture(&[s]), RunIndex(0))));
    }

    #[test]
    fn listeners_with_what_they_accepted_or_why_not() {
        let mut s = Script::new(&["app"]);
        for (fd, port, ret) in [(3, 80, 0), (4, 443, -98)] {
            s.call(INIT, K::SOCKET, fd, [2, 1, 0], "", "");
            s.call(INIT, K::BIND, ret, [fd, 0, 0], inet([0, 0, 0, 0], port), "");
        }
        s.call(INIT, K::LISTEN, 0, [3, 511, 0], inet([0, 0, 0, 0], 80), "");
        s.fork(INIT, 200);
        s.call(
            200,
            K::ACCEPT4,
            9,
            [3, 0, 0],
            inet([10, 0, 0, 9], 40_000),
            "",
        );
        let net = net(&mut capture(&[s]), RunIndex(0));
        let [https, http] = &net.listeners[..] else {
            panic!("{net:?}")
        };
        assert!(http.listens && http.accepted == 1 && http.error.is_none());
        assert_eq!(https.error.as_deref(), Some("EADDRINUSE"));
        assert!(text_of(&net).contains("0.0.0.0:443"));
    }
}
