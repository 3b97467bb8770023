//! Which evidence a verdict cites: at most eight pieces, none of them twice, in the order in which they happened.

use super::Evidence;

/// How many pieces of evidence there are at most.
const MAX_EVIDENCE: usize = 8;
/// How many of them are ends of processes.
const MAX_ENDS: usize = 3;

/// Puts evidence in order: what a finding cites, the most important first, and the ends of the chain's processes.
///
/// If one event wrote several lines, the line that was cited first stays. Of events that say the same, such as attempts
/// to connect, the last one stays and names the others.
pub(super) fn tidy(cited: Vec<Evidence>, mut ends: Vec<Evidence>) -> Vec<Evidence> {
    let is_cited = |end: &Evidence| cited.iter().any(|piece| piece.event == end.event);
    ends.retain(|end| !is_cited(end));
    // The first process and the last ones: those between them only handed the end on.
    if ends.len() > MAX_ENDS {
        ends.drain(1..=ends.len() - MAX_ENDS);
    }
    let mut kept: Vec<Evidence> = Vec::new();
    let mut others: Vec<Vec<u64>> = Vec::new();
    for piece in cited {
        if kept.iter().any(|other| other.event == piece.event) {
            continue;
        }
        match kept.iter().position(|other| other.text == piece.text) {
            Some(at) => {
                let earlier = match piece.event > kept[at].event {
                    true => std::mem::replace(&mut kept[at], piece),
                    false => piece,
                };
                others[at].push(earlier.event);
            }
            None => {
                kept.push(piece);
                others.push(Vec::new());
            }
        }
    }
    for (piece, others) in kept.iter_mut().zip(&mut others) {
        others.sort_unstable();
        let numbers: Vec<String> = others.iter().map(|event| format!("#{event}")).collect();
        if let Some((last, before)) = numbers.split_last() {
            let and = if before.is_empty() { "" } else { " and " };
            let all = format!("{}{and}{last}", before.join(", "));
            piece.text.push_str(&format!("; the same at {all}"));
        }
    }
    kept.truncate(MAX_EVIDENCE - ends.len());
    kept.extend(ends);
    kept.sort_by_key(|piece| piece.event);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use capture_format::BootTime;

    fn evidence(pieces: &[(u64, &str)]) -> Vec<Evidence> {
        let pieces = pieces.iter();
        pieces
            .map(|&(event, text)| Evidence::new(event, BootTime(event), text))
            .collect()
    }

    fn tidied(cited: &[(u64, &str)], ends: &[(u64, &str)]) -> Vec<(u64, String)> {
        let pieces = tidy(evidence(cited), evidence(ends)).into_iter();
        pieces.map(|piece| (piece.event, piece.text)).collect()
    }

    #[test]
    fn the_most_important_pieces_stay_and_are_in_order() {
        let texts: Vec<String> = (0..20).map(|at| format!("line {at}")).collect();
        let mut cited: Vec<(u64, &str)> = vec![(50, "the reason")];
        cited.extend(
            (0u64..)
                .map(|at| 100 + at)
                .zip(texts.iter().map(String::as_str)),
        );
        let tidied = tidied(&cited, &[(200, "app exited 1")]);
        let events: Vec<u64> = tidied.iter().map(|(event, _)| *event).collect();
        assert_eq!(events, [50, 100, 101, 102, 103, 104, 105, 200]);
    }

    #[test]
    fn of_lines_of_one_event_the_first_stays_and_what_repeats_is_one_piece() {
        let cited = [
            (7, "why"),
            (7, "hint"),
            (5, "refused"),
            (3, "refused"),
            (9, "refused"),
        ];
        let expected = [
            (7, "why".to_owned()),
            (9, "refused; the same at #3 and #5".to_owned()),
            (12, "app exited 1".to_owned()),
        ];
        assert_eq!(tidied(&cited, &[(12, "app exited 1")]), expected);
    }

    #[test]
    fn of_a_long_chain_the_first_and_the_last_ends_are_cited() {
        let ends = [(9, "sh"), (8, "sh"), (7, "make"), (6, "sh"), (5, "cc")];
        let kept = [
            (5, "cc".to_owned()),
            (6, "sh".to_owned()),
            (9, "sh".to_owned()),
        ];
        assert_eq!(tidied(&[], &ends), kept);
    }
}
