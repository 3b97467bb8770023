//! DNS messages (RFC 1035), as far as a capture has them: a payload may be cut, or not be DNS at all.

use domain::base::Message as Raw;
use domain::base::iana::{Class, Opcode, Rtype};
use domain::rdata::AllRecordData;

pub use domain::base::iana::Rcode;

/// How many records of a message's answer are kept.
const MAX_ANSWERS: usize = 16;

/// The relevant parts of a DNS message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Transaction id.
    pub id: u16,
    /// Whether it is a response.
    pub response: bool,
    /// Response code.
    pub rcode: Rcode,
    /// The server truncated the answer (TC): the resolver then asks again over TCP.
    pub tc: bool,
    /// The name that was asked for, as sent, without the final dot.
    pub name: String,
    /// The type that was asked for, such as `A`.
    pub qtype: String,
    /// Records of the answer section, such as `A 10.0.0.7` (at most 16).
    pub answers: Vec<String>,
    /// The number of records in the answer section according to the header.
    pub answer_count: u16,
    /// Whether one of the kept records is of the type that was asked for.
    pub answered: bool,
}

impl Message {
    /// Decodes a message with one question in the internet class; `None` for anything else.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let raw = Raw::from_octets(bytes).ok()?;
        let (header, counts) = (raw.header(), raw.header_counts());
        if counts.qdcount() != 1 || header.opcode() != Opcode::QUERY {
            return None;
        }
        let question = raw.question().next()?.ok()?;
        if question.qclass() != Class::IN {
            return None;
        }
        let mut message = Self {
            id: header.id(),
            response: header.qr(),
            rcode: header.rcode(),
            tc: header.tc(),
            name: question.qname().to_string(),
            qtype: question.qtype().to_string(),
            answers: Vec::new(),
            answer_count: counts.ancount(),
            answered: false,
        };
        for record in raw
            .answer()
            .into_iter()
            .flatten()
            .map_while(Result::ok)
            .take(MAX_ANSWERS)
        {
            let rtype: Rtype = record.rtype();
            message.answered |= rtype == question.qtype();
            let data = record.to_record::<AllRecordData<_, _>>().ok().flatten();
            message.answers.push(match data {
                Some(record) => format!("{rtype} {}", record.data()),
                None => rtype.to_string(),
            });
        }
        Some(message)
    }

    /// Decodes a message that is alone in the data (UDP), or preceded by its length in two bytes (TCP).
    #[must_use]
    pub fn parse_framed(bytes: &[u8]) -> Option<Self> {
        let tcp = || {
            let (length, rest) = bytes.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)) == rest.len()).then(|| Self::parse(rest))?
        };
        tcp().or_else(|| Self::parse(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fixtures::dns;

    #[test]
    fn a_query_and_its_answer() {
        let query = Message::parse(&dns::query(7, "flask.default.svc.cluster.local", 1)).unwrap();
        assert_eq!(
            (query.id, query.response, query.qtype.as_str()),
            (7, false, "A")
        );
        assert_eq!(query.name, "flask.default.svc.cluster.local");
        let answer = Message::parse(&dns::answer(7, "flask", &[[10, 0, 0, 7]])).unwrap();
        assert_eq!(answer.answers, ["A 10.0.0.7"]);
        assert!(answer.response && answer.answered);
        let nx = Message::parse(&dns::response(7, "flask", 28, 3)).unwrap();
        assert_eq!((nx.rcode, nx.qtype.as_str()), (Rcode::NXDOMAIN, "AAAA"));
    }

    #[test]
    fn over_tcp_a_length_comes_first() {
        let query = dns::query(7, "flask", 1);
        let mut framed = (query.len() as u16).to_be_bytes().to_vec();
        framed.extend(&query);
        assert_eq!(Message::parse_framed(&framed), Message::parse(&query));
    }

    #[test]
    fn a_cut_answer_gives_what_is_there() {
        let whole = dns::answer(7, "flask", &[[10, 0, 0, 7], [10, 0, 0, 8]]);
        let cut = Message::parse(&whole[..whole.len() - 1]).unwrap();
        assert_eq!((cut.answers.len(), cut.answer_count), (1, 2));
    }

    #[test]
    fn no_bytes_whatever_make_it_panic() {
        let whole = dns::answer(7, "flask.example", &[[10, 0, 0, 7]]);
        for length in 0..whole.len() {
            let _ = Message::parse(&whole[..length]);
        }
        for position in 0..whole.len() {
            for value in [0, 1, 63, 64, 0xc0, 0xff] {
                let mut broken = whole.clone();
                broken[position] = value;
                let _ = Message::parse_framed(&broken);
            }
        }
    }

    #[test]
    fn a_compression_loop_is_no_message() {
        let mut looped = dns::query(7, "a", 1);
        looped[12..14].copy_from_slice(&[0xc0, 12]);
        assert_eq!(Message::parse(&looped), None);
    }
}
