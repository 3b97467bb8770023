//! DNS questions and their answers.

use std::net::IpAddr;

use capture_format::{BootTime, Class, Event, EventFlags};

use super::Recent;
use events::decode::{Errno, Message, Rcode, SockAddr};
use events::fds::{Fd, is_on_socket};

/// How many questions are kept.
const MAX_EXCHANGES: usize = 1024;
/// How many of the newest questions are searched for the one that an answer belongs to.
const MAX_OUTSTANDING: usize = 256;
/// How many sendings of one question are kept.
const MAX_ATTEMPTS: usize = 8;

/// One question and the answer or error that it got.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The process that asked.
    pub pid: u32,
    id: u16,
    /// The name asked for.
    pub name: String,
    /// The type asked for, such as `AAAA`.
    pub qtype: String,
    /// Each time the question was sent (the first 8).
    pub attempts: Vec<Attempt>,
    /// The last answer.
    pub answer: Option<Answer>,
    /// The error that the socket gave instead of an answer, such as ECONNREFUSED if no server listens.
    pub error: Option<CallError>,
}

/// A call on the socket that failed.
#[derive(Clone, Copy, Debug)]
pub struct CallError {
    /// Event number.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds.
    pub time: BootTime,
    /// The error.
    pub errno: Errno,
}

/// One sending of a question.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Event number.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds.
    pub time: BootTime,
    /// The server that was asked, if known.
    pub server: Option<IpAddr>,
    fd: i64,
}

/// A server's answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Event number.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds.
    pub time: BootTime,
    /// The server, if known.
    pub server: Option<IpAddr>,
    /// Response code.
    pub rcode: Rcode,
    /// Records, such as `A 10.0.0.7`.
    pub records: Vec<String>,
    /// Whether `records` has one of the type that was asked for.
    pub answered: bool,
}

impl Exchange {
    /// Nanoseconds from the last sending before the answer until the answer.
    #[must_use]
    pub fn latency(&self) -> Option<u64> {
        let answer = self.answer.as_ref()?;
        let sent = self
            .attempts
            .iter()
            .rev()
            .find(|attempt| attempt.event < answer.event)?;
        Some(answer.time.since(sent.time))
    }

    /// The server that answered; without an answer, the server that was asked last.
    #[must_use]
    pub fn server(&self) -> Option<IpAddr> {
        let asked = || {
            self.attempts
                .iter()
                .rev()
                .find_map(|attempt| attempt.server)
        };
        self.answer
            .as_ref()
            .and_then(|answer| answer.server)
            .or_else(asked)
    }
}

/// An answer that was given by a process of this run.
#[derive(Debug)]
struct Served {
    pid: u32,
    id: u16,
    name: String,
    qtype: String,
}

/// The DNS exchanges of a run.
#[derive(Debug)]
pub struct Dns {
    exchanges: Recent<Exchange>,
    served: Recent<Served>,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            exchanges: Recent::new(MAX_EXCHANGES),
            served: Recent::new(MAX_OUTSTANDING),
        }
    }
}

impl Dns {
    /// The questions, oldest first (the last 1024).
    pub fn exchanges(&self) -> impl DoubleEndedIterator<Item = &Exchange> {
        self.exchanges.iter()
    }

    /// How many questions were asked.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.exchanges.total()
    }

    /// The process of this run that answered the question, if one did.
    #[must_use]
    pub(crate) fn server_inside(&self, exchange: &Exchange) -> Option<u32> {
        exchange.answer.as_ref()?;
        let is_it = |served: &&Served| {
            served.id == exchange.id
                && served.qtype == exchange.qtype
                && served.name.eq_ignore_ascii_case(&exchange.name)
        };
        self.served
            .iter()
            .rev()
            .find(is_it)
            .map(|served| served.pid)
    }

    /// Takes an event on a socket, or on a descriptor that may be a socket.
    pub(super) fn observe(&mut self, number: u64, event: &Event, fd: Option<&Fd>) {
        let sends = event.kind.class().gives_out();
        if !is_on_socket(event, fd) {
            return;
        }
        let peer = SockAddr::parse(&event.name)
            .filter(|_| matches!(event.kind.class(), Class::Sends | Class::Receives));
        let peer = peer
            .as_ref()
            .or_else(|| fd.and_then(Fd::peer))
            .and_then(SockAddr::inet);
        if peer.is_some_and(|peer| peer.port() != 53) {
            // A DNS server inside this run answers the questions of others.
            return if sends && event.ret > 0 {
                self.serve(event, Message::parse_framed(&event.data));
            };
        }
        let server = peer.map(|peer| peer.ip());
        if let Some(errno) = Errno::from_ret(event.ret) {
            return self.failed(number, event, errno);
        }
        let Some(message) = Message::parse_framed(&event.data) else {
            return;
        };
        let torn = event.flags.contains(EventFlags::TORN);
        match (message.response, sends) {
            (false, true) => self.asked(number, event, message, server),
            (true, true) => self.serve(event, Some(message)),
            (true, false) if !torn => self.answered(number, event, message, server),
            _ => {}
        }
    }

    fn serve(&mut self, event: &Event, message: Option<Message>) {
        let answer = message.filter(|message| message.response);
        self.served.extend(answer.map(|message| Served {
            pid: event.pid,
            id: message.id,
            name: message.name,
            qtype: message.qtype,
        }));
    }

    fn asked(&mut self, number: u64, event: &Event, message: Message, server: Option<IpAddr>) {
        let attempt = Attempt {
            event: number,
            time: event.time,
            server,
            fd: event.args[0],
        };
        match self.find(event.pid, &message) {
            Some(exchange) if exchange.attempts.len() < MAX_ATTEMPTS => {
                exchange.attempts.push(attempt)
            }
            Some(_) => {}
            None => self.exchanges.push(Exchange {
                pid: event.pid,
                id: message.id,
                name: message.name,
                qtype: message.qtype,
                attempts: vec![attempt],
                answer: None,
                error: None,
            }),
        }
    }

    fn answered(&mut self, number: u64, event: &Event, message: Message, server: Option<IpAddr>) {
        let Some(exchange) = self.find(event.pid, &message) else {
            return;
        };
        if !exchange
            .attempts
            .iter()
            .any(|attempt| attempt.fd == event.args[0])
        {
            return;
        }
        if exchange
            .answer
            .as_ref()
            .is_some_and(|answer| answer.answered)
            || message.tc && !message.answered
        {
            return;
        }
        exchange.answer = Some(Answer {
            event: number,
            time: event.time,
            server,
            rcode: message.rcode,
            answered: message.answered || usize::from(message.answer_count) > message.answers.len(),
            records: message.answers,
        });
    }

    /// An error of the socket ends the open questions that were sent through it.
    fn failed(&mut self, number: u64, event: &Event, errno: Errno) {
        if errno == Errno::EAGAIN {
            return;
        }
        let on_socket = |exchange: &&mut Exchange| {
            exchange.pid == event.pid
                && exchange.answer.is_none()
                && exchange
                    .attempts
                    .last()
                    .is_some_and(|attempt| attempt.fd == event.args[0])
        };
        if let Some(exchange) = self
            .exchanges
            .iter_mut()
            .rev()
            .take(MAX_OUTSTANDING)
            .find(on_socket)
        {
            exchange.error = Some(CallError {
                event: number,
                time: event.time,
                errno,
            });
        }
    }

    fn find(&mut self, pid: u32, message: &Message) -> Option<&mut Exchange> {
        self.exchanges
            .iter_mut()
            .rev()
            .take(MAX_OUTSTANDING)
            .find(|exchange| {
                exchange.pid == pid
                    && exchange.id == message.id
                    && exchange.qtype == message.qtype
                    && exchange.name.eq_ignore_ascii_case(&message.name)
            })
    }
}
