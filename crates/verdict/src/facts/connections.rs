//! Connections that processes tried to make, and how each attempt ended.

use capture_format::{BootTime, Event, EventKind};

use super::Recent;
use events::decode::{Errno, SockAddr};
use events::fds::{Fd, Target};

/// How many attempts to connect are kept.
const MAX_CONNECTIONS: usize = 1024;
const SOCK_DGRAM: u8 = 2;

/// One connect(2) of a stream socket.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Number of the event.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds of the connect.
    pub time: BootTime,
    /// The process.
    pub pid: u32,
    fd: i64,
    /// The address it connects to.
    pub address: SockAddr,
    /// How the attempt ended, if known.
    pub outcome: Option<Outcome>,
    /// Whether the peer sent anything.
    pub answered: bool,
    /// How the peer closed the connection, if it did so before it sent anything: the error is `ECONNRESET` or `EPIPE`,
    /// or `None` if the peer closed it in good order.
    pub closed: Option<Outcome>,
}

impl Connection {
    /// How the connection was closed without an answer, if it had been made.
    #[must_use]
    pub(crate) fn broken(&self) -> Option<Outcome> {
        let connected = self.outcome.is_some_and(|outcome| outcome.error.is_none());
        self.closed.filter(|_| connected)
    }
}

/// The end of an attempt to connect.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Number of the event that shows the outcome: the connect itself, or a later call on the socket.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds of that event.
    pub time: BootTime,
    /// Why the attempt failed; `None` if it succeeded.
    pub error: Option<Errno>,
}

/// The connections of a run.
#[derive(Debug)]
pub struct Connections(Recent<Connection>);

impl Default for Connections {
    fn default() -> Self {
        Self(Recent::new(MAX_CONNECTIONS))
    }
}

impl Connections {
    /// The attempts, oldest first (the last 1024).
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Connection> {
        self.0.iter()
    }

    /// How many attempts there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.total()
    }

    pub(super) fn observe(&mut self, number: u64, event: &Event, fd: Option<&Fd>) {
        let error = Errno::from_ret(event.ret);
        match event.kind {
            EventKind::CONNECT => self.connect(number, event, fd, error),
            EventKind::GETSOCKOPT if event.ret == 0 => {
                let error = u16::try_from(event.args[1])
                    .ok()
                    .filter(|&errno| errno != 0)
                    .map(Errno);
                self.ended(number, event, error);
            }
            // If a connect is in progress, the socket reports its error to the next call, whichever that is.
            _ if matches!(
                error,
                Some(Errno::ECONNREFUSED | Errno::ETIMEDOUT | Errno::EHOSTUNREACH)
            ) =>
            {
                self.ended(number, event, error);
            }
            _ if event.kind.class().moves_bytes() => {
                let peer = fd.and_then(Fd::peer).cloned().map(SockAddr::canonical);
                if let Some(peer) = peer {
                    self.moved(number, event, &peer);
                }
            }
            _ => {}
        }
    }

    fn connect(&mut self, number: u64, event: &Event, fd: Option<&Fd>, error: Option<Errno>) {
        let Some(address) = SockAddr::parse(&event.name).map(SockAddr::canonical) else {
            return;
        };
        let is_datagram = fd.is_some_and(|fd| {
            matches!(
                fd.target,
                Target::Socket {
                    stype: Some(SOCK_DGRAM),
                    ..
                }
            )
        });
        // A resolver connects datagram sockets to its server. It also connects some to sort addresses by their routes.
        if is_datagram
            || address
                .inet()
                .is_some_and(|address| matches!(address.port(), 0 | 53))
        {
            return;
        }
        let in_progress = matches!(
            error,
            Some(Errno::EINPROGRESS | Errno::EAGAIN | Errno::EALREADY | Errno::EINTR)
        );
        let outcome = (!in_progress).then_some(Outcome {
            event: number,
            time: event.time,
            error,
        });
        // The program calls connect(2) again to learn how the first call ended.
        if let Some(open) = self.open(event).filter(|open| open.address == address) {
            open.outcome = outcome;
            return;
        }
        self.0.push(Connection {
            event: number,
            time: event.time,
            pid: event.pid,
            fd: event.args[0],
            address,
            outcome,
            answered: false,
            closed: None,
        });
    }

    fn ended(&mut self, number: u64, event: &Event, error: Option<Errno>) {
        if let Some(open) = self.open(event) {
            open.outcome = Some(Outcome {
                event: number,
                time: event.time,
                error,
            });
        }
    }

    /// Takes a call that moved bytes from or to a peer, or should have.
    fn moved(&mut self, number: u64, event: &Event, peer: &SockAddr) {
        let on = |connection: &&mut Connection| {
            connection.pid == event.pid && connection.fd == event.args[0]
        };
        let newest = self.0.iter_mut().rev().find(on);
        let Some(connection) = newest.filter(|connection| connection.address == *peer) else {
            return;
        };
        let now = |error| {
            Some(Outcome {
                event: number,
                time: event.time,
                error,
            })
        };
        // A socket that moves bytes is connected, whichever process moved them.
        if event.ret > 0 && connection.outcome.is_none() {
            connection.outcome = now(None);
        }
        let takes_in = event.kind.class().takes_in();
        connection.answered |= takes_in && event.ret > 0;
        let error = Errno::from_ret(event.ret);
        let is_end = match error {
            Some(errno) => matches!(errno, Errno::ECONNRESET | Errno::EPIPE),
            // recv(2): 0 is the end of the stream, unless nothing was asked for. recvmsg(2) does not say how much was.
            None => {
                let asked = event.args[2] != 0 || event.kind != EventKind::READ;
                takes_in && event.ret == 0 && asked
            }
        };
        if is_end && !connection.answered && connection.closed.is_none() {
            connection.closed = now(error);
        }
    }

    /// The newest attempt on the event's descriptor, if its outcome is not known yet.
    fn open(&mut self, event: &Event) -> Option<&mut Connection> {
        let same = |open: &&mut Connection| open.pid == event.pid && open.fd == event.args[0];
        self.0
            .iter_mut()
            .rev()
            .find(same)
            .filter(|open| open.outcome.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::testing::{INIT, Script, inet, unix};
    use capture_format::EventKind as K;

    fn outcomes(script: &Script) -> Vec<(String, Option<Option<Errno>>)> {
        let facts = Facts::of(&script.run, script.numbered());
        facts
            .connections
            .iter()
            .map(|c| (c.address.to_string(), c.outcome.map(|o| o.error)))
            .collect()
    }

    #[test]
    fn a_connect_in_progress_is_ended_by_so_error() {
        let mut s = Script::new(&["node"]);
        s.call(INIT, K::SOCKET, 19, [2, 1, 0], "", "").connect(
            INIT,
            19,
            &inet([127, 0, 0, 1], 3999),
            -115,
        );
        assert_eq!(outcomes(&s), [("127.0.0.1:3999".into(), None)]);
        s.call(INIT, K::GETSOCKOPT, 0, [19, 111, 0], "", "");
        assert_eq!(
            outcomes(&s),
            [("127.0.0.1:3999".into(), Some(Some(Errno::ECONNREFUSED)))]
        );
    }

    #[test]
    fn a_peer_that_closes_before_it_answers_is_noticed() {
        let closed = |calls: &[(K, i64)]| {
            let mut s = Script::new(&["app"]);
            s.call(INIT, K::SOCKET, 3, [2, 1, 0], "", "").connect(
                INIT,
                3,
                &inet([10, 0, 0, 7], 5432),
                0,
            );
            for &(kind, ret) in calls {
                s.call(INIT, kind, ret, [3, 0, 100], "", "");
            }
            let facts = Facts::of(&s.run, s.numbered());
            let connection = facts.connections.iter().next().unwrap();
            connection.closed.map(|closed| closed.error)
        };
        assert_eq!(closed(&[(K::SENDTO, 8), (K::RECVFROM, 0)]), Some(None));
        let reset = Some(Some(Errno::ECONNRESET));
        assert_eq!(closed(&[(K::SENDTO, 8), (K::RECVFROM, -104)]), reset);
        assert_eq!(
            closed(&[(K::SENDTO, 8), (K::RECVFROM, 5), (K::RECVFROM, 0)]),
            None
        );
        assert_eq!(closed(&[(K::SENDTO, 8), (K::RECVFROM, -11)]), None);
    }

    #[test]
    fn success_and_refusal_at_once() {
        let mut s = Script::new(&["app"]);
        s.connect(INIT, 3, &inet([10, 0, 0, 1], 80), 0).connect(
            INIT,
            4,
            &unix("/run/nscd/socket"),
            -2,
        );
        assert_eq!(
            outcomes(&s),
            [
                ("10.0.0.1:80".into(), Some(None)),
                ("/run/nscd/socket".into(), Some(Some(Errno::ENOENT)))
            ]
        );
    }

    #[test]
    fn datagram_sockets_do_not_connect_to_anything() {
        let mut s = Script::new(&["app"]);
        s.resolver_socket(INIT, 3, [10, 0, 0, 1]);
        s.call(INIT, K::SOCKET, 4, [2, 2, 0], "", "").connect(
            INIT,
            4,
            &inet([10, 0, 0, 1], 80),
            -101,
        );
        assert!(outcomes(&s).is_empty());
    }
}
