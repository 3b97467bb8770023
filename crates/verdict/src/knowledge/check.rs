//! Whether entries contradict each other.

use super::{Catalogue, Fault};

impl Catalogue {
    /// Examples that another entry of the same file takes to mean something else: what a message means must not depend
    /// on the order of entries. Of an example of several lines only the last one counts: the others may be frames.
    #[must_use]
    pub fn contradictions(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for sheet in &self.sheets {
            for entry in &sheet.entries {
                for example in entry.examples() {
                    let last = example.rfind('\n').map_or(0, |end| end + 1);
                    let others = sheet.entries.iter().filter(|other| {
                        other.id() != entry.id()
                            && !other.agrees_with(entry)
                            && other.find(example).is_some_and(|(_, end)| end > last)
                    });
                    faults.extend(others.map(|other| Fault {
                        file: format!("{}.toml", sheet.name),
                        line: entry.line(),
                        entry: Some(entry.id().to_owned()),
                        message: format!(
                            "{} takes \"{example}\" to mean something else: narrow one of the patterns",
                            other.id()
                        ),
                    }));
                }
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs::read_dir;
    use std::path::Path;

    use super::super::built_in::FILES;
    use super::super::{Catalogue, Severity, parse};

    #[test]
    fn every_entry_of_every_file_is_sound() {
        let mut ids = HashSet::new();
        for (name, text) in FILES {
            let (sheet, faults) = parse::parse(name, text);
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            assert!(faults.is_empty(), "{}", faults.join("\n"));
            for entry in &sheet.entries {
                assert!(
                    entry.seen_in().next().is_some(),
                    "{}: no source",
                    entry.id()
                );
                assert!(
                    entry.counterexamples().next().is_some() || entry.severity() != Severity::Why,
                    "{}: it says why, and has no counterexample",
                    entry.id()
                );
                assert!(ids.insert(entry.id().to_owned()));
            }
        }
        assert_eq!(Catalogue::built_in().len(), ids.len());
        let contradictions = Catalogue::built_in().contradictions();
        let contradictions: Vec<String> = contradictions.iter().map(ToString::to_string).collect();
        assert!(contradictions.is_empty(), "{}", contradictions.join("\n"));
    }

    #[test]
    fn every_source_is_a_capture_or_public() {
        let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures");
        for entry in Catalogue::built_in().entries() {
            for source in entry.seen_in().filter(|it| !it.starts_with("https://")) {
                let capture = captures.join(format!("{source}.lwcap"));
                assert!(capture.is_file(), "{}: {source}", entry.id());
            }
        }
    }

    #[test]
    fn every_file_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("knowledge");
        let mut files: Vec<String> = read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            // Other data: see the modules `message` and `symptom`.
            .filter(|file| !matches!(&**file, "formats.toml" | "symptoms.toml" | "words.toml"))
            .collect();
        files.sort();
        let mut known: Vec<String> = FILES
            .iter()
            .map(|(name, _)| format!("{name}.toml"))
            .collect();
        known.sort();
        assert_eq!(files, known);
    }
}
