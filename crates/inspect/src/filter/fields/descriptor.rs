//! `fd.*`: the file, pipe or socket that the event acts on or creates.

use std::borrow::Cow;
use std::net::SocketAddr;

use capture_format::{Event, EventKind as K, FdType};

use super::event::opens;
use super::{Ask, Field, Value};
use crate::filter::literal::Type;
use events::basename;
use events::decode::SockAddr;
use events::fds::{Fd, Target, acts_on_fd};

#[rustfmt::skip]
pub(super) const FIELDS: &[Field] = &[
    Field::new("fd.num", Type::Number, "Number of the descriptor; of a call that creates one, the new one", "fd.num = 2",
        |ask| Some(Value::Number(number(ask.seen.event)?.into()))).on(has_fd),
    Field::new("fd.type", Type::Word, "What it refers to", "fd.type = ipv4",
        |ask| Some(Value::text(fd_type(ask)?.0))).on(has_fd).words(TYPES),
    Field::new("fd.typechar", Type::Text, "The same as a character: f file, d directory, p pipe, 4, 6 and u sockets, o other", "fd.typechar = 4",
        |ask| Some(Value::text(fd_type(ask)?.1))).on(has_fd),
    Field::new("fd.name", Type::Text, "Path of the file, as far as it is known; of a socket client->server, or the end that is known", "fd.name contains error.log",
        name).on(has_fd),
    Field::new("fd.filename", Type::Text, "Last component of the file's path", "fd.filename = resolv.conf",
        |ask| Some(Value::Text(Cow::Borrowed(Some(basename(path(ask)?)).filter(|it| !it.is_empty())?)))).on(has_fd),
    Field::new("fd.directory", Type::Text, "The file's path without the last component", "fd.directory = /etc/nginx",
        |ask| directory(path(ask)?)).on(has_fd),
    Field::new("fd.stdio", Type::Word, "Which of the standard streams it is, or was duplicated from", "fd.stdio = stderr",
        |ask| Some(Value::text(ask.seen.fd.as_ref()?.stdio?.to_string()))).on(acts_on_fd).words(&["stdin", "stdout", "stderr"]),
    Field::new("fd.l4proto", Type::Word, "Protocol of an IP socket", "fd.l4proto = udp",
        protocol).on(has_fd).words(&["tcp", "udp"]),
    Field::new("fd.ip", Type::Address, "Address of either end of an IP socket", "fd.ip = 10.96.0.10",
        |ask| either(ask, address)).on(has_fd),
    Field::new("fd.cip", Type::Address, "Address of the client", "fd.cip = 10.0.0.0/8",
        |ask| address(ends(ask)?.client()?)).on(has_fd),
    Field::new("fd.sip", Type::Address, "Address of the server", "fd.sip = 10.96.0.10",
        |ask| address(ends(ask)?.server()?)).on(has_fd),
    Field::new("fd.lip", Type::Address, "Address of this end", "fd.lip = 127.0.0.1",
        |ask| address(ends(ask)?.local?)).on(has_fd),
    Field::new("fd.rip", Type::Address, "Address of the other end", "fd.rip in (10.0.0.7, 10.0.0.8)",
        |ask| address(ends(ask)?.remote?)).on(has_fd),
    Field::new("fd.net", Type::Address, "As fd.ip", "fd.net = 10.0.0.0/8",
        |ask| either(ask, address)).on(has_fd),
    Field::new("fd.cnet", Type::Address, "As fd.cip", "fd.cnet = 10.0.0.0/8",
        |ask| address(ends(ask)?.client()?)).on(has_fd),
    Field::new("fd.snet", Type::Address, "As fd.sip", "fd.snet = 10.96.0.0/12",
        |ask| address(ends(ask)?.server()?)).on(has_fd),
    Field::new("fd.lnet", Type::Address, "As fd.lip", "fd.lnet = 127.0.0.0/8",
        |ask| address(ends(ask)?.local?)).on(has_fd),
    Field::new("fd.rnet", Type::Address, "As fd.rip", "fd.rnet = fd00::/8",
        |ask| address(ends(ask)?.remote?)).on(has_fd),
    Field::new("fd.port", Type::Number, "Port of either end of an IP socket", "fd.port = 53",
        |ask| either(ask, port)).on(has_fd),
    Field::new("fd.cport", Type::Number, "Port of the client", "fd.cport > 1023",
        |ask| port(ends(ask)?.client()?)).on(has_fd),
    Field::new("fd.sport", Type::Number, "Port of the server", "fd.sport = 5432",
        |ask| port(ends(ask)?.server()?)).on(has_fd),
    Field::new("fd.lport", Type::Number, "Port of this end", "fd.lport = 8080",
        |ask| port(ends(ask)?.local?)).on(has_fd),
    Field::new("fd.rport", Type::Number, "Port of the other end", "fd.rport in (53, 443)",
        |ask| port(ends(ask)?.remote?)).on(has_fd),
];

const TYPES: &[&str] = &[
    "file",
    "directory",
    "pipe",
    "ipv4",
    "ipv6",
    "unix",
    "netlink",
    "socket",
    "character_device",
    "block_device",
];

/// Whether such an event acts on a descriptor or creates one.
fn has_fd(kind: K) -> bool {
    acts_on_fd(kind) || opens(kind) || kind == K::SOCKET
}

fn accepts(kind: K) -> bool {
    matches!(kind, K::ACCEPT | K::ACCEPT4)
}

fn number(event: &Event) -> Option<i64> {
    if opens(event.kind) || event.kind == K::SOCKET || accepts(event.kind) {
        return Some(event.ret).filter(|fd| *fd >= 0);
    }
    Some(event.args[0])
}

fn fd_type(ask: &Ask<'_>) -> Option<(&'static str, &'static str)> {
    let event = ask.seen.event;
    let found = match event.fd_type {
        FdType::UNKNOWN => match &ask.seen.fd.as_ref().map(|fd| &fd.target) {
            Some(Target::Inherited(fd_type)) => *fd_type,
            Some(Target::Pipe) => FdType::FIFO,
            Some(Target::Socket { .. }) => FdType::SOCKET,
            Some(Target::Path(_) | Target::Name(_)) => FdType::REGULAR,
            None if event.kind == K::SOCKET => FdType::SOCKET,
            None if opens(event.kind) => FdType::REGULAR,
            None => return None,
        },
        found => found,
    };
    Some(match found {
        FdType::REGULAR => ("file", "f"),
        FdType::DIRECTORY => ("directory", "d"),
        FdType::FIFO => ("pipe", "p"),
        FdType::CHARACTER => ("character_device", "o"),
        FdType::BLOCK => ("block_device", "o"),
        FdType::SOCKET => socket_type(ask),
        _ => return None,
    })
}

fn socket_type(ask: &Ask<'_>) -> (&'static str, &'static str) {
    let address = Ends::of(ask);
    let address = address.remote.or(address.local);
    let family = match (domain(ask), address) {
        (Some(domain), _) => domain,
        (None, Some(SockAddr::Inet(SocketAddr::V4(_)))) => AF_INET,
        (None, Some(SockAddr::Inet(SocketAddr::V6(_)))) => AF_INET6,
        (None, Some(SockAddr::Unix(_) | SockAddr::Abstract(_) | SockAddr::Unnamed)) => AF_UNIX,
        (None, Some(SockAddr::Other(family))) => family,
        (None, None) => 0,
    };
    match family {
        AF_UNIX => ("unix", "u"),
        AF_INET => ("ipv4", "4"),
        AF_INET6 => ("ipv6", "6"),
        AF_NETLINK => ("netlink", "o"),
        _ => ("socket", "o"),
    }
}

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const AF_NETLINK: u16 = 16;
const SOCK_STREAM: u8 = 1;
const SOCK_DGRAM: u8 = 2;

fn domain(ask: &Ask<'_>) -> Option<u16> {
    let event = ask.seen.event;
    match ask.seen.fd.as_ref().map(|fd| &fd.target) {
        Some(Target::Socket { domain, .. }) => *domain,
        _ if event.kind == K::SOCKET => u16::try_from(event.args[0]).ok(),
        _ => None,
    }
}

fn protocol(ask: &Ask<'_>) -> Option<Value<'static>> {
    let event = ask.seen.event;
    let stype = match ask.seen.fd.as_ref().map(|fd| &fd.target) {
        Some(Target::Socket { stype, .. }) => (*stype)?,
        _ if event.kind == K::SOCKET => (event.args[1] & 0xf) as u8,
        _ => return None,
    };
    match (socket_type(ask).0, stype) {
        ("ipv4" | "ipv6", SOCK_STREAM) => Some(Value::text("tcp")),
        ("ipv4" | "ipv6", SOCK_DGRAM) => Some(Value::text("udp")),
        _ => None,
    }
}

fn path<'a>(ask: &Ask<'a>) -> Option<&'a [u8]> {
    let seen = ask.seen;
    let path = match seen.fd.as_ref().and_then(Fd::path) {
        Some(path) => path,
        None if opens(seen.event.kind) => &seen.path,
        None => return None,
    };
    (!path.is_empty()).then_some(path)
}

fn name<'a>(ask: &Ask<'a>) -> Option<Value<'a>> {
    if let Some(path) = path(ask) {
        return Value::bytes(path);
    }
    let ends = Ends::of(ask);
    let known = [ends.client(), ends.server()].into_iter().flatten();
    let known: Vec<Vec<u8>> = known.map(|end| end_name(&end)).collect();
    let name = known.join(&b"->"[..]);
    (!name.is_empty()).then_some(Value::Text(Cow::Owned(name)))
}

fn end_name(end: &SockAddr) -> Vec<u8> {
    match end {
        SockAddr::Inet(address) => address.to_string().into_bytes(),
        SockAddr::Unix(path) => path.clone(),
        SockAddr::Abstract(name) => [b"@", name.as_slice()].concat(),
        SockAddr::Unnamed | SockAddr::Other(_) => Vec::new(),
    }
}

/// The directory of a path, if the path says in which directory the file is.
fn directory(path: &[u8]) -> Option<Value<'_>> {
    let end = path.iter().rposition(|&b| b == b'/')?;
    Value::bytes(&path[..end.max(1)])
}

/// The two ends of a socket, as far as they are known from this event or earlier ones.
struct Ends {
    local: Option<SockAddr>,
    remote: Option<SockAddr>,
    /// Whether this end is the server.
    serves: bool,
}

impl Ends {
    fn of(ask: &Ask<'_>) -> Self {
        let event = ask.seen.event;
        let mut ends = match ask.seen.fd.as_ref().map(|fd| &fd.target) {
            Some(Target::Socket {
                local,
                peer,
                serves,
                ..
            }) => Self {
                local: local.clone(),
                remote: peer.clone(),
                serves: *serves,
            },
            _ => Self {
                local: None,
                remote: None,
                serves: false,
            },
        };
        let is_named = event.kind.class().is_on_socket();
        if let Some(address) = is_named.then(|| SockAddr::parse(&event.name)).flatten() {
            match event.kind {
                K::BIND | K::LISTEN => ends.local = Some(address),
                _ => ends.remote = Some(address),
            }
        }
        ends.serves |= matches!(event.kind, K::BIND | K::LISTEN) || accepts(event.kind);
        ends
    }

    fn client(&self) -> Option<SockAddr> {
        if self.serves {
            &self.remote
        } else {
            &self.local
        }
        .clone()
    }

    fn server(&self) -> Option<SockAddr> {
        if self.serves {
            &self.local
        } else {
            &self.remote
        }
        .clone()
    }
}

fn ends(ask: &Ask<'_>) -> Option<Ends> {
    Some(Ends::of(ask)).filter(|ends| ends.local.is_some() || ends.remote.is_some())
}

/// The address; `None` for the address that means all addresses of a machine.
fn address(end: SockAddr) -> Option<Value<'static>> {
    let ip = end.inet()?.ip();
    (!ip.is_unspecified()).then_some(Value::Address(ip))
}

fn port(end: SockAddr) -> Option<Value<'static>> {
    Some(Value::Number(end.inet()?.port().into()))
}

fn either(
    ask: &Ask<'_>,
    part: impl Fn(SockAddr) -> Option<Value<'static>>,
) -> Option<Value<'static>> {
    let ends = Ends::of(ask);
    let values: Vec<_> = [ends.local, ends.remote]
        .into_iter()
        .flatten()
        .filter_map(part)
        .collect();
    (!values.is_empty()).then_some(Value::Any(values))
}
