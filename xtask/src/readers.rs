//! Programs of others that read what lastword exports, as commands in one folder of the cache: nothing is installed.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    apt::{Bundle, Suite, Unpacked},
    pip, place, step,
};

/// The newest sysdig, and Stratoshark's command line with a capinfos that knows as much.
const NEW: Bundle = Bundle {
    name: "readers-sid",
    suite: Suite::Sid,
    packages: &["sysdig", "stratoshark"],
    without: &UNREAD,
};

/// What Stratoshark's window needs, and its command line does not.
const NOT_FETCHED: [&str; 9] = [
    "libqt6core5compat6",
    "libqt6core6t64",
    "libqt6dbus6",
    "libqt6gui6",
    "libqt6printsupport6",
    "libqt6svg6",
    "libqt6widgets6",
    "qt6-qpa-plugins",
    "debconf",
];

/// sysdig as it was before its format changed, and tshark.
const OLD: Bundle = Bundle {
    name: "readers-bookworm",
    suite: Suite::Bookworm,
    packages: &["sysdig", "tshark"],
    without: &UNREAD,
};

const UNREAD: [&str; 3] = ["*/share/doc/*", "*/share/locale/*", "*/share/man/*"];

/// The schema of Perfetto's traces, by those who make it.
const PYTHON_PACKAGES: [&str; 2] = ["perfetto==0.59.1", "protobuf==7.36.2"];

/// Gives the folder with the readers, fetching them if they are not in the cache yet.
///
/// # Errors
/// The machine has no apt, the network fails, or the cache cannot be written.
pub(crate) fn get() -> Result<PathBuf> {
    let new = NEW.get_whole(&NOT_FETCHED)?;
    let old = OLD.get()?;
    let folder = place::cache()?.join("readers");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    plugins(&new)?;
    for (name, program) in [
        ("sysdig", "sysdig"),
        ("strato", "strato"),
        ("capinfos", "capinfos"),
    ] {
        write(&folder.join(name), &with_its_libc(&new, program))?;
    }
    for (name, program) in [("sysdig-classic", "sysdig"), ("tshark", "tshark")] {
        write(&folder.join(name), &with_its_libraries(&old, program))?;
    }
    if let Err(error) = pip::fill(&folder.join("python"), &PYTHON_PACKAGES) {
        step::say(format_args!(
            "not fetched: the schema of Perfetto's traces ({error:#})"
        ));
    }
    Ok(folder)
}

/// Stratoshark looks for its plugins beside the program, which is the dynamic loader here.
fn plugins(new: &Unpacked) -> Result<()> {
    let link = new.root.join(library_folder()).join("plugins");
    if !link.exists() {
        std::os::unix::fs::symlink("wireshark/plugins", &link)
            .with_context(|| format!("cannot make {}", link.display()))?;
    }
    Ok(())
}

/// A program of a suite whose C library is newer than the machine's.
fn with_its_libc(new: &Unpacked, program: &str) -> String {
    let libraries = new.root.join(library_folder());
    let loader = match env::consts::ARCH {
        "aarch64" => "ld-linux-aarch64.so.1",
        _ => "ld-linux-x86-64.so.2",
    };
    format!(
        "#!/bin/sh\nexec '{0}/{loader}' --library-path '{0}' '{1}/usr/bin/{program}' \"$@\"\n",
        libraries.display(),
        new.root.display()
    )
}

fn with_its_libraries(old: &Unpacked, program: &str) -> String {
    format!(
        "#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}/usr/bin/{program}' \"$@\"\n",
        old.libraries(),
        old.root.display()
    )
}

fn library_folder() -> String {
    format!("usr/lib/{}-linux-gnu", env::consts::ARCH)
}

fn write(path: &Path, script: &str) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    fs::write(path, script).with_context(cannot)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(cannot)
}
