//! Just enough of DNS to answer that a name does not exist (RFC 1035, section 4.1).

/// Length of a message's header in bytes.
const HEADER: usize = 12;
/// Length of what follows the name in a question (type and class), in bytes.
const TYPE_AND_CLASS: usize = 4;

/// The answer NXDOMAIN to a query; it has the question and nothing else. `None` if the message is not a query with one
/// question.
pub(crate) fn nxdomain(query: &[u8]) -> Option<Vec<u8>> {
    let is_response = query.get(2)? & 0x80 != 0;
    if is_response || query.get(4..6)? != [0, 1] {
        return None;
    }
    let mut end = HEADER;
    loop {
        let label = usize::from(*query.get(end)?);
        end += 1 + label;
        match label {
            0 => break,
            1..=63 => {}
            // A pointer is not possible in the first name of a message.
            _ => return None,
        }
    }
    let mut answer = query.get(..end + TYPE_AND_CLASS)?.to_vec();
    answer[2] |= 0x80; // a response; opcode and "recursion desired" stay
    answer[3] = 0x80 | 3; // recursion available, NXDOMAIN
    answer[6..HEADER].fill(0); // no answer, authority or additional records
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x05flask\x07default\0\0\x01\0\x01";

    fn message(flags: [u8; 2], additional: u8, rest: &[u8]) -> Vec<u8> {
        let header = [
            0xab, 0xcd, flags[0], flags[1], 0, 1, 0, 0, 0, 0, 0, additional,
        ];
        [&header[..], rest].concat()
    }

    #[test]
    fn a_query_gets_its_question_back_with_nxdomain() {
        let edns = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
        let query = message([0x01, 0x20], 1, &[QUESTION, edns].concat());
        assert_eq!(nxdomain(&query), Some(message([0x81, 0x83], 0, QUESTION)));
    }

    #[test]
    fn what_is_no_query_gets_no_answer() {
        let query = message([0x01, 0], 0, QUESTION);
        for length in 0..query.len() {
            assert_eq!(nxdomain(&query[..length]), None, "the first {length} bytes");
        }
        assert_eq!(
            nxdomain(&message([0x81, 0], 0, QUESTION)),
            None,
            "a response"
        );
        assert_eq!(
            nxdomain(&message([0x01, 0], 0, b"\xc0\x0c\0\x01\0\x01")),
            None,
            "a pointer"
        );
    }
}
