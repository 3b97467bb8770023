//! Which known name a misspelt name probably means.

/// The candidate that is closest to `word`, if it is so close that it was probably meant.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn suggests_what_is_close_and_nothing_else() {
        let names = ["restarts", "first_crash", "readiness"];
        assert_eq!(closest("restart", names), Some("restarts"));
        assert_eq!(closest("readyness", names), Some("readiness"));
        assert_eq!(closest("colour", names), None);
    }
}
