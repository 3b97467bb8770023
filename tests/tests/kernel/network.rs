//! What is recorded of connections and DNS.

use capture_format::{EventKind as K, FdType};
use libtest_mimic::Failed;

use crate::{
    Case,
    support::{dns_server, record_victim},
};

pub(crate) const CASES: &[Case] = &[
    ("dns_by_sendmsg", || dns("sendmsg", "127.0.1.4:53")),
    ("dns_over_ipv6", dns_v6),
    ("connection_refused_by_so_error", refused_later),
    ("a_servers_sockets_without_their_bytes", serve),
];

/// What no kernel does differently.
pub(crate) const ALIKE: &[Case] = &[
    ("dns_by_sendto_unconnected", || {
        dns("sendto", "127.0.1.1:53")
    }),
    ("dns_by_send_connected", || dns("send", "127.0.1.2:53")),
    ("dns_by_write_connected", || dns("write", "127.0.1.3:53")),
    ("dns_by_sendmmsg", || dns("sendmmsg", "127.0.1.5:53")),
    ("connection_refused_by_connect", refused),
    ("other_datagrams_without_their_bytes", bulk),
];

const QUESTION: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05flask\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01";

fn is_dns(data: &[u8], answer: bool) -> bool {
    data.len() == QUESTION.len() && data[12..] == QUESTION[12..] && (data[2] & 0x80 != 0) == answer
}

fn dns(style: &str, server: &str) -> Result<(), Failed> {
    dns_server(server, Some(3));
    let recorded = record_victim(&["dns", style, server]);
    let octets: std::net::SocketAddrV4 = server.parse()?;
    let address = [&[2, 0, 0, 53][..], &octets.ip().octets(), &[0; 8]].concat();
    let questions: Vec<_> = recorded
        .events()
        .iter()
        .filter(|event| is_dns(&event.data, false))
        .collect();
    let answers: Vec<_> = recorded
        .events()
        .iter()
        .filter(|event| is_dns(&event.data, true))
        .collect();
    assert_eq!(
        questions.len(),
        if style == "sendmmsg" { 2 } else { 1 },
        "{questions:#?}"
    );
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert_eq!(answers[0].data[3] & 15, 3);
    for event in questions.iter().chain(&answers) {
        assert_eq!(event.fd_type, FdType::SOCKET);
        assert_eq!(event.name, address, "{event:#?}");
    }
    Ok(())
}

fn dns_v6() -> Result<(), Failed> {
    dns_server("[::1]:53", Some(2));
    let recorded = record_victim(&["dns", "send", "[::1]:53"]);
    let answer = recorded
        .events()
        .iter()
        .find(|event| is_dns(&event.data, true))
        .ok_or("no answer recorded")?;
    assert_eq!(
        (answer.name.len(), &answer.name[..4], answer.name[23]),
        (28, &[10, 0, 0, 53][..], 1)
    );
    Ok(())
}

fn refused() -> Result<(), Failed> {
    let recorded = record_victim(&["connect", "127.0.0.1:9"]);
    let event = recorded.one(K::CONNECT, |_| true);
    assert_eq!(
        (event.ret, &event.name[..8]),
        (-111, &[2, 0, 0, 9, 127, 0, 0, 1][..])
    );
    Ok(())
}

fn refused_later() -> Result<(), Failed> {
    let recorded = record_victim(&["connect-nonblocking", "127.0.0.1:9"]);
    assert!(
        recorded
            .of(K::CONNECT)
            .iter()
            .all(|event| event.ret == -115),
        "{:#?}",
        recorded.of(K::CONNECT)
    );
    assert_eq!(recorded.one(K::GETSOCKOPT, |_| true).args[1], 111);
    Ok(())
}

fn serve() -> Result<(), Failed> {
    let recorded = record_victim(&["serve"]);
    let listen = recorded.one(K::LISTEN, |_| true);
    let port = u16::from_be_bytes([listen.name[2], listen.name[3]]);
    assert!(port > 0 && listen.ret == 0, "{listen:#?}");
    let accepted = recorded.of(K::ACCEPT4);
    assert_eq!(
        (accepted.len(), accepted[0].name.len()),
        (1, 16),
        "{accepted:#?}"
    );
    assert!(
        recorded.of(K::BIND).iter().any(|event| event.ret == -98),
        "{:#?}",
        recorded.of(K::BIND)
    );
    for event in recorded.events() {
        assert!(
            !event.data.windows(8).any(|bytes| bytes == b"a secret"),
            "{event:#?}"
        );
    }
    Ok(())
}

fn bulk() -> Result<(), Failed> {
    let recorded = record_victim(&["bulk", "127.0.0.1:5353"]);
    let sent = recorded.one(K::SENDTO, |_| true);
    assert_eq!((sent.ret, sent.data.len()), (18, 0));
    Ok(())
}
