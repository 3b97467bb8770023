//! What a thread was doing when a signal came: [`EventKind::INTERRUPTED`].

use capture_format::{Event, EventKind, FdType};

use super::time::at_least;
use super::{Signal, SockAddr, system_call};
use crate::fds::{Fd, Target};

/// What a thread was doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// The call that it was in.
    pub call: Doing,
    /// The descriptor that the call acts on.
    pub descriptor: Option<i64>,
    /// For how many nanoseconds it had waited at least; `None` if that is not known.
    pub waited: Option<u64>,
    /// The signal.
    pub signal: Option<Signal>,
    /// The address of the socket that the call acts on.
    pub socket: Option<Socket>,
    /// The arguments of the call.
    pub args: [u64; 6],
    /// How many threads the process had; 0 if unknown.
    pub threads: u64,
}

/// A system call, or what a thread is in instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It was running.
    Running,
    /// It was in a call of the 32-bit ABI.
    Compat,
    /// It was in the system call with this number.
    Call(i64),
}

/// The address of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// That of the other end.
    Peer(SockAddr),
    /// Its own: it has no other end.
    Own(SockAddr),
}

impl Interrupted {
    /// `None` if the event is of another kind.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        if event.kind != EventKind::INTERRUPTED {
            return None;
        }
        let (words, _) = event.data.as_chunks::<8>();
        let word = |index: usize| {
            let bytes = words.get(index).copied().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        let address = (event.fd_type == FdType::SOCKET)
            .then(|| SockAddr::parse(&event.name))
            .flatten();
        Some(Self {
            call: match event.ret {
                number @ 0.. => Doing::Call(number),
                -2 => Doing::Compat,
                _ => Doing::Running,
            },
            descriptor: Some(event.args[0]).filter(|descriptor| *descriptor >= 0),
            waited: u64::try_from(event.args[1])
                .ok()
                .filter(|waited| *waited > 0),
            signal: Some(event.args[2])
                .filter(|signal| *signal > 0)
                .and_then(Signal::from_ret),
            socket: address.map(|address| match word(8) {
                0 => Socket::Peer(address),
                _ => Socket::Own(address),
            }),
            args: std::array::from_fn(word),
            threads: word(6),
        })
    }
}

impl Interrupted {
    /// What `who` was doing, as far as it is known: `for 31 s app had been waiting in recvfrom for 10.0.0.5:5432`, `app was in
    /// futex`, `app was running`. `who` and the result are escaped; `fd` is what [`Self::descriptor`] refers to.
    #[must_use]
    pub fn sentence(&self, who: &str, arch: &str, fd: Option<&Fd>) -> String {
        match (self.call, self.waited) {
            (Doing::Call(_) | Doing::Compat, Some(waited @ WORTH_SAYING..)) => {
                let what = self.what(arch, fd);
                format!("for {} {who} had been waiting in {what}", at_least(waited))
            }
            _ => format!("{who} {}", self.predicate(arch, fd)),
        }
    }

    /// The same without a subject, for a line that begins with it: `had been waiting for 31 s in recvfrom for 10.0.0.5:5432`;
    /// escaped.
    #[must_use]
    pub fn predicate(&self, arch: &str, fd: Option<&Fd>) -> String {
        let what = self.what(arch, fd);
        match (self.call, self.waited) {
            (Doing::Running, _) => "was running".to_owned(),
            (_, Some(waited @ WORTH_SAYING..)) => {
                format!("had been waiting for {} in {what}", at_least(waited))
            }
            (_, Some(_)) => format!("was waiting in {what}"),
            (_, None) => format!("was in {what}"),
        }
    }

    /// The call and what it was for: `recvfrom for 10.0.0.5:5432`, `flock of /run/app.lock`, `running`; escaped.
    #[must_use]
    pub fn what(&self, arch: &str, fd: Option<&Fd>) -> String {
        let call = self.call.in_words(arch);
        let Some(fd) = fd.filter(|_| self.descriptor.is_some()) else {
            return call;
        };
        let takes = takes_in(&call);
        match &fd.target {
            Target::Socket {
                peer: Some(peer), ..
            } if call == "connect" || !takes => {
                format!("{call} to {peer}")
            }
            Target::Socket {
                peer: Some(peer), ..
            } => format!("{call} for {peer}"),
            Target::Socket {
                local: Some(local), ..
            } => format!("{call} at {local}"),
            Target::Path(_) | Target::Name(_) if LOCKS.contains(&call.as_str()) => {
                format!("{call} of {fd}")
            }
            Target::Path(_) | Target::Name(_) | Target::Pipe => {
                let way = if takes { "from" } else { "to" };
                let article = match (&fd.target, fd.stdio) {
                    (Target::Pipe, None) => "a ",
                    _ => "",
                };
                format!("{call} {way} {article}{fd}")
            }
            _ => match fd.stdio {
                Some(stdio) if takes => format!("{call} from {stdio}"),
                Some(stdio) => format!("{call} to {stdio}"),
                None => call,
            },
        }
    }

    /// Whether the thread was in a call in which a program waits that has nothing to do.
    #[must_use]
    pub fn is_idle(&self, arch: &str) -> bool {
        match self.call {
            Doing::Call(number) => {
                system_call::name(arch, number).is_some_and(system_call::is_idle)
            }
            Doing::Running | Doing::Compat => false,
        }
    }
}

/// Shorter waits are not worth a number: 1 s, in nanoseconds.
const WORTH_SAYING: u64 = 1_000_000_000;
/// Calls that wait for a lock of a file.
const LOCKS: [&str; 2] = ["flock", "fcntl"];

/// Whether a call takes something in, rather than giving something out.
fn takes_in(call: &str) -> bool {
    call.starts_with("recv")
        || call.contains("read")
        || call.starts_with("getdents")
        || call == "mq_timedreceive"
}

impl Doing {
    /// `recvfrom`, `running`, `system call 1023`, `a 32-bit call`; `arch` as uname(2) calls it.
    #[must_use]
    pub fn in_words(self, arch: &str) -> String {
        match self {
            Self::Running => "running".to_owned(),
            Self::Compat => "a 32-bit call".to_owned(),
            Self::Call(number) => match system_call::name(arch, number) {
                Some(name) => name.to_owned(),
                None => format!("system call {number}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fds::Fds;
    use bytes::Bytes;
    use fixtures::{INIT, Script, inet};

    /// What is said of a thread that waited for `waited` nanoseconds.
    fn said(script: &mut Script, ret: i64, fd: i64, waited: i64, of_socket: &[u8]) -> String {
        let event = Event {
            pid: INIT,
            kind: EventKind::INTERRUPTED,
            ret,
            args: [fd, waited, 15],
            fd_type: match of_socket {
                [] => FdType::UNKNOWN,
                _ => FdType::SOCKET,
            },
            name: Bytes::copy_from_slice(of_socket),
            ..Event::default()
        };
        let mut fds = Fds::default();
        script
            .events
            .iter()
            .for_each(|event| drop(fds.observe(event)));
        let fd = fds.observe(&event);
        Interrupted::of(&event)
            .unwrap()
            .sentence("app", "x86_64", fd.as_ref())
    }

    #[test]
    fn what_it_waited_for_is_named() {
        const SECOND: i64 = 1_000_000_000;
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/run/app.lock", 5);
        let database = inet([10, 0, 0, 5], 5432);
        for (ret, fd, waited, address, expected) in [
            (
                45,
                6,
                31 * SECOND + 999_999_999,
                &database[..],
                "for 31 s app had been waiting in recvfrom for 10.0.0.5:5432",
            ),
            (
                42,
                6,
                2 * SECOND,
                &database,
                "for 2.0 s app had been waiting in connect to 10.0.0.5:5432",
            ),
            (
                44,
                6,
                5,
                &database,
                "app was waiting in sendto to 10.0.0.5:5432",
            ),
            (73, 5, 0, &[], "app was in flock of /run/app.lock"),
            (0, 5, 0, &[], "app was in read from /run/app.lock"),
            (
                202,
                -1,
                120 * SECOND,
                &[],
                "for 2 min app had been waiting in futex",
            ),
            (1023, -1, 0, &[], "app was in system call 1023"),
            (-1, -1, 0, &[], "app was running"),
            (-2, -1, 0, &[], "app was in a 32-bit call"),
        ] {
            assert_eq!(said(&mut s, ret, fd, waited, address), expected);
        }
    }

    #[test]
    fn an_address_of_its_own_is_not_the_peers() {
        let mut event = Event {
            kind: EventKind::INTERRUPTED,
            fd_type: FdType::SOCKET,
            name: inet([0, 0, 0, 0], 80).into(),
            ret: 43,
            data: Bytes::from(
                [0u64, 0, 0, 0, 0, 0, 3, 9, 1]
                    .map(u64::to_le_bytes)
                    .concat(),
            ),
            ..Event::default()
        };
        let fd = Fds::default().observe(&event);
        let interrupted = Interrupted::of(&event).unwrap();
        assert_eq!(
            interrupted.what("x86_64", fd.as_ref()),
            "accept at 0.0.0.0:80"
        );
        assert_eq!(interrupted.threads, 3);
        // Bytes that are missing are zero.
        event.data = Bytes::from_static(b"123");
        let cut = Interrupted::of(&event).unwrap();
        assert_eq!((cut.threads, cut.args), (0, [0; 6]));
    }
}
