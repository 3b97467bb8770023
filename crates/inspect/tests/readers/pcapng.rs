//! pcapng, opened by tshark.

use capture_format::Class;
use events::decode::Message;
use libtest_mimic::Failed;

use crate::capture::{Expected, Exported};
use crate::program::Program;
use crate::{Case, same};

pub(crate) const CASES: &[Case] = &[
    ("tshark_shows_the_dns_messages", Some(tshark), messages),
    (
        "tshark_finds_the_names_that_do_not_exist",
        Some(tshark),
        not_existing,
    ),
];

fn tshark() -> Program {
    Program::named("tshark")
}

fn dns(it: &Expected) -> Option<Message> {
    let sent_or_received = matches!(it.event.kind.class(), Class::Sends | Class::Receives);
    let message = Message::parse_framed(&it.event.data)?;
    (sent_or_received && it.event.ret >= 0).then_some(message)
}

/// Time, transaction, direction, name and comment of each message.
fn messages(capture: &Exported) -> Result<(), Failed> {
    let file = capture.file("pcapng");
    let fields = [
        "frame.time_epoch",
        "dns.id",
        "dns.flags.response",
        "dns.qry.name",
    ];
    let mut arguments = vec!["-r", &file, "-T", "fields"];
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    arguments.extend(["-e", "frame.comment", "-e", "ip.checksum.status"]);
    arguments.extend(["-o", "ip.check_checksum:TRUE"]);
    let said = tshark().run(arguments)?;
    let offset = capture.header.host.clock_offset;
    let expected = capture.events.iter().filter_map(|it| {
        let message = dns(it)?;
        let time = i128::from(it.event.time.0) + i128::from(offset);
        let (seconds, rest) = (time / 1_000_000_000, time % 1_000_000_000);
        let response = u8::from(message.response);
        let start = format!(
            "{seconds}.{rest:09}\t0x{:04x}\t{response}\t{}\tevent {}, ",
            message.id, message.name, it.number
        );
        Some(start)
    });
    let expected: Vec<String> = expected.collect();
    same("number of messages", said.lines().count(), expected.len())?;
    for (line, expected) in said.lines().zip(expected) {
        same(line, line.starts_with(&expected), true)?;
        // The sum of the header is the one that tshark comes to.
        same(line, line.ends_with("\t1"), true)?;
    }
    Ok(())
}

fn not_existing(capture: &Exported) -> Result<(), Failed> {
    let filter = "dns.flags.rcode==3";
    let said = tshark().run(["-r", &capture.file("pcapng"), "-Y", filter])?;
    let nxdomain = |message: &Message| message.rcode.to_int() == 3 && message.response;
    let expected = capture.events.iter().filter_map(dns).filter(nxdomain);
    same("NXDOMAIN", said.lines().count(), expected.count())
}
