//! Operators' packs: directories with files of the catalogue's form.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use super::{Catalogue, Fault, parse};

/// How many files a directory may have.
const MAX_FILES: usize = 64;
/// How many bytes a file may have.
const MAX_FILE: u64 = 256 << 10;
/// The ending of the files' names.
const ENDING: &str = ".toml";

/// The directory could not be read.
#[derive(Debug)]
pub struct Unreadable(io::Error);

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot be read")
    }
}

impl std::error::Error for Unreadable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl Catalogue {
    /// This catalogue and the files `*.toml` of a directory, which are asked first, in the order of their names. An
    /// entry with a fault is left out, and so is a file that cannot be read or whose scope has a fault. The faults are
    /// returned.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    pub fn with_packs(&self, directory: &Path) -> Result<(Self, Vec<Fault>), Unreadable> {
        let mut names = Vec::new();
        for file in fs::read_dir(directory).map_err(Unreadable)? {
            let name = file.map_err(Unreadable)?.file_name();
            let name = name.to_string_lossy().into_owned();
            // A ConfigMap's directory has its files twice: `..data` leads to those that the links lead to.
            if name.ends_with(ENDING) && !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort();
        let (mut sheets, mut faults) = (Vec::new(), Vec::new());
        let whole = |file: &str, message: String| Fault {
            file: file.to_owned(),
            line: 1,
            entry: None,
            message,
        };
        for (number, file) in names.iter().enumerate() {
            let name = file.trim_end_matches(ENDING);
            if number == MAX_FILES {
                let message = format!(
                    "a directory may have {MAX_FILES} files: this and later ones are left out"
                );
                faults.push(whole(file, message));
                break;
            }
            if self.sheets.iter().any(|sheet| sheet.name == name) {
                let message = format!("lastword has a file {file} of its own: choose another name");
                faults.push(whole(file, message));
                continue;
            }
            match read(&directory.join(file)) {
                Ok(text) => {
                    let (sheet, of_file) = parse::parse(name, &text);
                    sheets.push(Arc::new(sheet));
                    faults.extend(of_file);
                }
                Err(message) => faults.push(whole(file, message)),
            }
        }
        sheets.extend(self.sheets.iter().cloned());
        Ok((Self { sheets }, faults))
    }
}

/// The text of a file.
fn read(path: &Path) -> Result<String, String> {
    let whole = |error: io::Error| format!("cannot be read: {error}");
    // Opening a FIFO would wait for somebody who writes.
    if !fs::metadata(path).map_err(whole)?.is_file() {
        return Err("is no file".into());
    }
    let mut text = Vec::new();
    let file = File::open(path).map_err(whole)?;
    file.take(MAX_FILE + 1)
        .read_to_end(&mut text)
        .map_err(whole)?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!("has more than {MAX_FILE} bytes: divide it"));
    }
    String::from_utf8(text).map_err(|_| "is no text in UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(file: &str, name: &str) -> String {
        format!(
            "[[entry]]\nid = \"{file}.{name}\"\npattern = '{name}'\nseverity = \"why\"\nexamples = ['{name}']\n"
        )
    }

    #[test]
    fn packs_come_first_and_what_is_wrong_with_them_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("b.toml", &entry("b", "x"));
        write("a.toml", &(entry("a", "x") + "[[entry]]\nid = 3\n"));
        write("python.toml", &entry("python", "x"));
        write("large.toml", &"#".repeat(300_000));
        write("notes.txt", "nothing");
        fs::create_dir(folder.path().join("..data.toml")).unwrap();
        fs::create_dir(folder.path().join("folder.toml")).unwrap();
        fs::write(folder.path().join("latin.toml"), [b'#', 0xe9]).unwrap();
        let built_in = Catalogue::built_in();
        let (catalogue, faults) = built_in.with_packs(folder.path()).unwrap();
        let first: Vec<&str> = catalogue
            .entries()
            .map(|entry| entry.id())
            .take(2)
            .collect();
        assert_eq!(first, ["a.x", "b.x"]);
        assert_eq!(catalogue.len(), built_in.len() + 2);
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), 5, "{faults:?}");
        for (fault, said) in faults.iter().zip([
            "a.toml:7: 3: ",
            "folder.toml:1: is no file",
            "large.toml:1: has more than",
            "latin.toml:1: is no text",
            "python.toml:1: lastword has a file",
        ]) {
            assert!(fault.starts_with(said), "{fault}");
        }
    }

    #[test]
    fn a_directory_that_is_missing_is_an_error() {
        let error = Catalogue::built_in().with_packs(Path::new("/nonexistent/packs"));
        assert!(error.unwrap_err().to_string().contains("cannot be read"));
    }
}
