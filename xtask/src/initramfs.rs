//! The file system a guest boots into: a cpio archive in the kernel's `newc` form.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use cpio::newc::{Builder, ModeFileType, trailer};

/// Folders the guest mounts something on, or writes to.
const FOLDERS: [&str; 7] = ["dev", "etc", "proc", "root", "run", "sys", "tmp"];

/// A file of the guest.
pub(crate) struct File {
    /// Its path, without the leading slash.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) content: Vec<u8>,
    /// Whether it can be executed.
    pub(crate) executable: bool,
}

/// Writes an archive with these files, their folders, and the console that the kernel gives to `/init`.
///
/// # Errors
/// `out` cannot be written, or a file is larger than the format's 4 GiB.
pub(crate) fn write<W: Write>(mut out: W, files: &[File]) -> io::Result<()> {
    let mut folders: BTreeSet<&str> = FOLDERS.into();
    for file in files {
        folders.extend(
            file.path
                .match_indices('/')
                .map(|(end, _)| &file.path[..end]),
        );
    }
    let mut inode = 0;
    let mut entry = |name: &str, kind, mode| {
        inode += 1;
        Builder::new(name)
            .ino(inode)
            .mode(mode)
            .set_mode_file_type(kind)
    };
    for folder in folders {
        out = entry(folder, ModeFileType::Directory, 0o755)
            .write(out, 0)
            .finish()?;
    }
    out = entry("dev/console", ModeFileType::Char, 0o600)
        .rdev_major(5)
        .rdev_minor(1)
        .write(out, 0)
        .finish()?;
    for file in files {
        let size = u32::try_from(file.content.len()).map_err(io::Error::other)?;
        let mode = if file.executable { 0o755 } else { 0o644 };
        let mut writer = entry(&file.path, ModeFileType::Regular, mode).write(out, size);
        writer.write_all(&file.content)?;
        out = writer.finish()?;
    }
    trailer(out)?.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use cpio::newc::Reader;

    use super::*;

    /// Name, mode, device and content of each entry, by another reader of the format.
    fn entries(archive: &[u8]) -> Vec<(String, u32, (u32, u32), String)> {
        let mut rest = archive;
        let mut entries = Vec::new();
        loop {
            let mut reader = Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                return entries;
            }
            let mut content = String::new();
            reader.read_to_string(&mut content).unwrap();
            let entry = reader.entry();
            let device = (entry.rdev_major(), entry.rdev_minor());
            entries.push((entry.name().to_owned(), entry.mode(), device, content));
            rest = reader.finish().unwrap();
        }
    }

    #[test]
    fn files_come_after_their_folders_with_mode_and_content() {
        let file = |path: &str, content: &str, executable| File {
            path: path.to_owned(),
            content: content.into(),
            executable,
        };
        let mut archive = Vec::new();
        write(
            &mut archive,
            &[
                file("init", "program", true),
                file("usr/share/x", "odd", false),
            ],
        )
        .unwrap();
        let entries = entries(&archive);
        let position = |name: &str| entries.iter().position(|entry| entry.0 == name).unwrap();

        assert_eq!(entries[position("init")].1, 0o100_755);
        assert_eq!(entries[position("init")].3, "program");
        assert_eq!(entries[position("usr/share/x")].1, 0o100_644);
        assert_eq!(entries[position("usr/share/x")].3, "odd");
        assert_eq!(entries[position("usr/share")].1, 0o040_755);
        assert!(position("usr") < position("usr/share"));
        assert!(position("usr/share") < position("usr/share/x"));
        assert_eq!(entries[position("dev/console")].1, 0o020_600);
        assert_eq!(entries[position("dev/console")].2, (5, 1));
    }
}
