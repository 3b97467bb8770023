//! pcapng: DNS messages as the UDP packets that carried them, for Wireshark.
//!
//! System calls reveal a packet's payload, its time and mostly the server. The client's address and port are invented,
//! such that each socket is a conversation of its own. A comment at each packet says from which event it comes. The
//! format is specified in <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html>.

use std::io::{self, Read, Seek, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use capture_format::{Class, Event, EventFlags, EventKind as K, Host, Reader, Run, RunIndex};

use self::packet::Packet;
use super::name::{kind_name, process_name};
use super::{Sink, tell, time_of_day};
use crate::select::Selection;
use events::context::{Context, Seen};
use events::decode::{Message, SockAddr};
use events::fds::{Fd, is_on_socket};
use verdict::explain::explain;

mod packet;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
/// Options: a comment of any block; the program that wrote the section; name and time resolution of the interface.
const COMMENT: u16 = 1;
const PROGRAM: u16 = 4;
const NAME: u16 = 2;
const RESOLUTION: u16 = 9;
/// Packets start with their IP header.
const LINK_RAW: u16 = 101;
/// First of the ports that any program may use.
const FIRST_PORT: u16 = 49152;
const DNS_PORT: u16 = 53;
/// Longest comment.
const MAX_COMMENT: usize = 4096;
/// Longest DNS message.
const MAX_MESSAGE: usize = 65_535;

/// Writes the DNS messages among the selected events as pcapng, the verdict as its comment.
///
/// # Errors
/// When `out` fails. What is damaged in the capture is left out.
pub fn write<R: Read + Seek>(
    reader: &mut Reader<R>,
    select: &Selection,
    out: &mut impl Write,
) -> io::Result<()> {
    let sentence = explain(reader).sentence;
    let header = reader.header();
    section(&sentence, &header.program, out)?;
    interface(out)?;
    let mut pcapng = Pcapng {
        host: header.host.clone(),
        run: 0,
        out,
    };
    tell(reader, select, &mut pcapng)
}

struct Pcapng<W> {
    host: Host,
    run: u32,
    out: W,
}

impl<W: Write> Sink for Pcapng<W> {
    fn begin_run(&mut self, run: &Run) -> io::Result<()> {
        self.run = run.number;
        Ok(())
    }

    fn event(&mut self, seen: &Seen<'_>, _context: &Context) -> io::Result<()> {
        let Some(exchanged) = exchanged(seen) else {
            return Ok(());
        };
        let packet = exchanged.packet();
        let time = time_of_day(seen.event.time, &self.host).0;
        let mut body = Vec::new();
        body.extend(0u32.to_le_bytes());
        body.extend(((time >> 32) as u32).to_le_bytes());
        body.extend((time as u32).to_le_bytes());
        body.extend((packet.bytes.len() as u32).to_le_bytes());
        body.extend((packet.length as u32).to_le_bytes());
        padded(&mut body, &packet.bytes);
        option(
            &mut body,
            COMMENT,
            exchanged.comment(seen, self.run).as_bytes(),
        );
        end_of_options(&mut body);
        block(PACKET, &body, &mut self.out)
    }

    fn missing(&mut self, _damage: &str) -> io::Result<()> {
        Ok(())
    }

    fn end_run(&mut self, _index: RunIndex, _run: &Run) -> io::Result<()> {
        Ok(())
    }
}

/// A DNS message that a process sent or received.
struct Exchanged<'e> {
    message: &'e [u8],
    /// The full length of the message, of which `message` may be only the beginning.
    length: usize,
    sent: bool,
    tcp: bool,
    client: SocketAddr,
    server: SocketAddr,
    server_is_known: bool,
}

/// The DNS message of an event; `None` if the call failed, because then nothing went over the network.
fn exchanged<'e>(seen: &Seen<'e>) -> Option<Exchanged<'e>> {
    let event = seen.event;
    if event.ret < 0 || event.data.len() > MAX_MESSAGE || !is_on_socket(event, seen.fd.as_ref()) {
        return None;
    }
    Message::parse_framed(&event.data)?;
    let peer = SockAddr::parse(&event.name)
        .filter(|_| matches!(event.kind.class(), Class::Sends | Class::Receives));
    let peer = peer
        .as_ref()
        .or_else(|| seen.fd.as_ref().and_then(Fd::peer))
        .and_then(SockAddr::inet);
    let server = peer.unwrap_or(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), DNS_PORT));
    let client: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let port = FIRST_PORT + (event.args[0] & 0x3fff) as u16;
    let (tcp, message) = unframed(&event.data);
    Some(Exchanged {
        message,
        length: length(event, message),
        sent: event.kind.class().gives_out(),
        tcp,
        client: SocketAddr::new(client, port),
        server,
        server_is_known: peer.is_some(),
    })
}

/// Over TCP each message is preceded by its length.
fn unframed(data: &[u8]) -> (bool, &[u8]) {
    match data.split_first_chunk::<2>() {
        Some((length, rest)) if usize::from(u16::from_be_bytes(*length)) == rest.len() => {
            (true, rest)
        }
        _ => (false, data),
    }
}

/// The full length of a message: if the capture has fewer bytes, the number of bytes that the call moved.
fn length(event: &Event, message: &[u8]) -> usize {
    let moved = usize::try_from(event.ret).unwrap_or(0).min(MAX_MESSAGE);
    let counts_messages = matches!(event.kind, K::SENDMMSG | K::RECVMMSG);
    if event.flags.contains(EventFlags::TRUNCATED) && !counts_messages {
        moved.max(message.len())
    } else {
        message.len()
    }
}

impl Exchanged<'_> {
    fn packet(&self) -> Packet {
        let (source, destination) = if self.sent {
            (self.client, self.server)
        } else {
            (self.server, self.client)
        };
        Packet::udp(source, destination, self.message, self.length)
    }

    fn comment(&self, seen: &Seen<'_>, run: u32) -> String {
        let event = seen.event;
        let call = kind_name(event.kind);
        let mut comment = format!(
            "event {}, run {run}: {call} of {} (pid {}), descriptor {}; the client's address and port are made up",
            seen.number,
            process_name(seen),
            event.pid,
            event.args[0],
        );
        if !self.server_is_known {
            comment.push_str(", the server's are not known");
        }
        if self.tcp {
            comment.push_str("; it went over TCP");
        }
        comment
    }
}

fn section(comment: &str, program: &str, out: &mut impl Write) -> io::Result<()> {
    let mut body = 0x1a2b_3c4du32.to_le_bytes().to_vec();
    body.extend([1, 0, 0, 0]);
    body.extend(u64::MAX.to_le_bytes());
    option(&mut body, COMMENT, comment.as_bytes());
    option(&mut body, PROGRAM, program.as_bytes());
    end_of_options(&mut body);
    block(SECTION, &body, out)
}

fn interface(out: &mut impl Write) -> io::Result<()> {
    let mut body = LINK_RAW.to_le_bytes().to_vec();
    // Two reserved bytes; then the largest length of a packet, where 0 means no limit.
    body.extend([0; 6]);
    option(&mut body, NAME, b"system calls");
    // Times are in nanoseconds.
    option(&mut body, RESOLUTION, &[9]);
    end_of_options(&mut body);
    block(INTERFACE, &body, out)
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = match str::from_utf8(value) {
        Ok(text) => &value[..text.floor_char_boundary(MAX_COMMENT)],
        Err(_) => value,
    };
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    padded(body, value);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

/// Appends bytes and pads them to a multiple of four.
fn padded(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend_from_slice(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn block(kind: u32, body: &[u8], out: &mut impl Write) -> io::Result<()> {
    let total = (body.len() as u32 + 12).to_le_bytes();
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&total)?;
    out.write_all(body)?;
    out.write_all(&total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fixtures::{INIT, Script, capture, dns, inet};

    fn export(script: Script) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut capture(&[script]), &Selection::default(), &mut out).unwrap();
        out
    }

    fn has(file: &[u8], text: &str) -> bool {
        file.windows(text.len()).any(|it| it == text.as_bytes())
    }

    #[test]
    fn messages_become_packets_and_failed_calls_do_not() {
        let mut s = Script::new(&["app"]);
        s.connect(INIT, 5, &inet([10, 96, 0, 10], 53), 0);
        let query = dns::query(7, "flask", 1);
        s.call(INIT, K::SENDTO, query.len() as i64, [5, 0, 0], "", &query);
        s.call(INIT, K::SENDTO, -111, [5, 0, 0], "", &query);
        s.call(INIT, K::SENDTO, 3, [5, 0, 0], "", "GET");
        let file = export(s);
        assert!(has(
            &file,
            "event 4, run 1: sendto of app (pid 100), descriptor 5"
        ));
        assert!(!has(&file, "event 5"));
        assert!(!has(&file, "event 6"));
    }

    #[test]
    fn over_tcp_the_length_is_left_out() {
        assert_eq!(unframed(b"\0\x02ab"), (true, &b"ab"[..]));
        assert_eq!(unframed(b"\0\x03ab"), (false, &b"\0\x03ab"[..]));
    }
}
