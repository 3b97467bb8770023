//! OCI image archives, made without Docker: an image layout
//! (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>) as one tar file, with one layer. Equal
//! files give an equal archive: entries are sorted, owned by root, and bear no times.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::step;

/// What a path of the root file system is.
enum Node {
    Folder { mode: u32 },
    File { content: Vec<u8>, mode: u32 },
    Link { target: String },
}

/// The root file system of an image. Paths are relative to its root.
pub(crate) struct Root {
    nodes: BTreeMap<String, Node>,
}

/// How an image is called and what it runs.
pub(crate) struct Image<'a> {
    /// Repository and tag: `localhost/lastword:0.1.0`.
    pub(crate) name: &'a str,
    /// What is executed; empty for an image whose containers all say it themselves.
    pub(crate) entrypoint: &'a [&'a str],
}

impl Root {
    /// A root with the folders that a runtime mounts something on, and the user `root`.
    pub(crate) fn new() -> Root {
        let mut root = Root {
            nodes: BTreeMap::new(),
        };
        for folder in ["dev", "etc", "proc", "run", "sys", "usr/bin", "var/lib"] {
            root.folder(folder, 0o755);
        }
        root.folder("tmp", 0o1777);
        root.file("etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\n", 0o644);
        root.file("etc/group", "root:x:0:\n", 0o644);
        root
    }

    /// Adds a folder, and the folders around it.
    pub(crate) fn folder(&mut self, path: &str, mode: u32) {
        self.parents(path);
        self.nodes.insert(path.to_owned(), Node::Folder { mode });
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) {
        self.parents(path);
        let content = content.into();
        self.nodes
            .insert(path.to_owned(), Node::File { content, mode });
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        let target = target.to_owned();
        self.nodes.insert(path.to_owned(), Node::Link { target });
    }

    /// Adds a file of this machine.
    pub(crate) fn copy(&mut self, path: &str, from: &Path, mode: u32) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.file(path, content, mode);
        Ok(())
    }

    /// Adds the shared libraries of a program, at the paths they have here. `ldd` is what `ldd PROGRAM` is run by, so
    /// that its environment can name other folders; libraries below `own` are left out, as they are in the image
    /// already.
    ///
    /// # Errors
    /// ldd fails, or a library is missing.
    pub(crate) fn libraries(&mut self, ldd: &mut Command, own: Option<&Path>) -> Result<()> {
        let listed = step::quiet(ldd, "is it a program of this machine's architecture?")?;
        for library in libraries(&listed)? {
            let path = Path::new(library);
            if own.is_none_or(|own| !path.starts_with(own)) {
                self.copy(library.trim_start_matches('/'), path, 0o755)?;
            }
        }
        Ok(())
    }

    /// Adds all files, folders and links in a folder of this machine.
    pub(crate) fn tree(&mut self, folder: &Path) -> Result<()> {
        let mut left = vec![(folder.to_owned(), String::new())];
        while let Some((folder, prefix)) = left.pop() {
            let entries = fs::read_dir(&folder)
                .with_context(|| format!("cannot read {}", folder.display()))?;
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let name = name
                    .to_str()
                    .with_context(|| format!("{} is not UTF-8", entry.path().display()))?;
                let path = format!("{prefix}{name}");
                let kind = entry.file_type()?;
                if kind.is_symlink() {
                    let target = fs::read_link(entry.path())?;
                    self.link(&path, &target.to_string_lossy());
                } else if kind.is_dir() {
                    self.folder(&path, mode(&entry.metadata()?));
                    left.push((entry.path(), format!("{path}/")));
                } else if kind.is_file() {
                    self.copy(&path, &entry.path(), mode(&entry.metadata()?))?;
                }
            }
        }
        Ok(())
    }

    fn parents(&mut self, path: &str) {
        for (end, _) in path.match_indices('/') {
            self.nodes
                .entry(path[..end].to_owned())
                .or_insert(Node::Folder { mode: 0o755 });
        }
    }

    /// The layer: a tar archive.
    fn layer(&self) -> Result<Vec<u8>> {
        let mut archive = Builder::new(Vec::new());
        for (path, node) in &self.nodes {
            match node {
                Node::Folder { mode } => {
                    append(
                        &mut archive,
                        &format!("{path}/"),
                        *mode,
                        EntryType::Directory,
                        &[],
                    )?;
                }
                Node::File { content, mode } => {
                    append(&mut archive, path, *mode, EntryType::Regular, content)?;
                }
                Node::Link { target } => {
                    let mut header = header(0o777, EntryType::Symlink, 0);
                    archive.append_link(&mut header, path, target)?;
                }
            }
        }
        Ok(archive.into_inner()?)
    }
}

/// The permissions of a file.
fn mode(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o7777
}

/// Paths that a listing by ldd names. The kernel's own (`linux-vdso.so.1`) has none.
fn libraries(listed: &str) -> Result<Vec<&str>> {
    let mut found = Vec::new();
    for line in listed.lines() {
        if line.contains("not found") {
            bail!("a shared library is missing: {}", line.trim());
        }
        let path = line.rsplit(" => ").next().unwrap_or(line).trim();
        let path = path.split(" (").next().unwrap_or(path);
        if path.starts_with('/') {
            found.push(path);
        }
    }
    Ok(found)
}

fn header(mode: u32, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

fn append<W: Write>(
    archive: &mut Builder<W>,
    path: &str,
    mode: u32,
    kind: EntryType,
    content: &[u8],
) -> io::Result<()> {
    let mut header = header(mode, kind, content.len() as u64);
    archive.append_data(&mut header, path, content)
}

/// Writes an image as an archive that `ctr images import`, `kind load image-archive`, `docker load` and `podman load`
/// take.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(root: &Root, image: &Image<'_>, out: &Path) -> Result<()> {
    let layer = root.layer()?;
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::default());
    gzip.write_all(&layer)?;

    let mut blobs = BTreeMap::new();
    let layer_blob = blob(&mut blobs, "layer.v1.tar+gzip", gzip.finish()?);
    let config = json!({
        "architecture": architecture()?,
        "os": "linux",
        "config": {
            "Entrypoint": image.entrypoint,
            "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        "history": [{ "created_by": "cargo xtask image" }],
    });
    let config = blob(&mut blobs, "config.v1+json", config.to_string().into());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layer_blob],
    });
    let mut manifest = blob(&mut blobs, "manifest.v1+json", manifest.to_string().into());
    let tag = image.name.rsplit(':').next().unwrap_or_default();
    manifest["annotations"] = json!({
        "io.containerd.image.name": image.name,
        "org.opencontainers.image.ref.name": tag,
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest],
    });

    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder)?;
    }
    let part = out.with_extension("part");
    let file = File::create(&part).with_context(|| format!("cannot write {}", part.display()))?;
    let mut archive = Builder::new(io::BufWriter::new(file));
    let mut add =
        |path: &str, content: &[u8]| append(&mut archive, path, 0o644, EntryType::Regular, content);
    add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    for (digest, content) in &blobs {
        add(&format!("blobs/{}", digest.replace(':', "/")), content)?;
    }
    add("index.json", index.to_string().as_bytes())?;
    archive.into_inner()?.flush()?;
    fs::rename(&part, out).with_context(|| format!("cannot write {}", out.display()))
}

/// Keeps a blob, and gives its descriptor.
fn blob(blobs: &mut BTreeMap<String, Vec<u8>>, kind: &str, content: Vec<u8>) -> Value {
    let digest = digest(&content);
    let descriptor = json!({
        "mediaType": format!("application/vnd.oci.image.{kind}"),
        "digest": digest,
        "size": content.len(),
    });
    blobs.insert(digest, content);
    descriptor
}

/// `sha256:` and the digest in hexadecimal.
pub(crate) fn digest(content: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(content) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// This machine's architecture, as images name it.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("images for {other} are not made yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_with_a_path() {
        let listed = "\tlinux-vdso.so.1 (0x00007f0c)\n\
                      \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f0c)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f0c)\n";
        assert_eq!(
            libraries(listed).unwrap(),
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
        assert_eq!(libraries("\tstatically linked\n").unwrap(), [""; 0]);
        let missing = libraries("\tlibx.so.1 => not found\n").unwrap_err();
        assert!(missing.to_string().contains("libx.so.1"), "{missing}");
    }
}
