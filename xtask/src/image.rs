//! `xtask image`: lastword, and what the end-to-end tests run, as OCI archives.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use clap::Args;

use crate::{
    apt::{Bundle, Suite},
    oci::{self, Image, Root},
    place, step,
};

/// What the image of this version is called, here and in `deploy/`.
pub(crate) const LASTWORD: &str = concat!("localhost/lastword:", env!("CARGO_PKG_VERSION"));
/// What the crashing containers of the end-to-end tests run.
pub(crate) const SCENARIOS: &str = "localhost/lastword-scenarios:1";

/// Where archives go, below the workspace.
const FOLDER: &str = "target/images";

/// Certificates of public authorities, for object storage over TLS; in the image if this machine has them.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The programs that crash, or not, and what changes the clock of one program.
const PACKAGES: Bundle = Bundle {
    name: "scenarios",
    suite: Suite::Bookworm,
    packages: &["busybox-static", "libfaketime", "nginx", "python3-minimal"],
    without: &["*/share/doc/*", "*/share/man/*", "*/share/locale/*"],
};

/// Commands that busybox provides in the image of the scenarios.
const APPLETS: [&str; 9] = [
    "cat", "date", "echo", "env", "ls", "rm", "sh", "sleep", "wget",
];

/// Which image, from what.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Where to write the archive [default: target/images/NAME.tar]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A lastword that is built already, for this machine's architecture [default: build target/release/lastword]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The image that the end-to-end tests' crashing containers run, instead of lastword's
    #[arg(long, conflicts_with = "binary")]
    scenarios: bool,
}

/// Makes an image, and says where it is.
///
/// # Errors
/// The build fails, or a file cannot be read or written.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (name, path) = if arguments.scenarios {
        (SCENARIOS, scenarios(arguments.output.as_deref())?)
    } else {
        let binary = arguments.binary.as_deref();
        (LASTWORD, lastword(binary, arguments.output.as_deref())?)
    };
    println!("{name} {}", path.display());
    Ok(())
}

/// Makes the image of lastword, from a binary that is there or by building one, and gives its path.
///
/// # Errors
/// The build fails, or a file cannot be read or written.
pub(crate) fn lastword(binary: Option<&Path>, output: Option<&Path>) -> Result<PathBuf> {
    let built = place::workspace().join("target/release/lastword");
    let binary = match binary {
        Some(binary) => binary,
        None => {
            crate::build()?;
            &built
        }
    };
    let mut root = Root::new();
    root.copy("usr/bin/lastword", binary, 0o755)?;
    root.link("usr/bin/kubectl-lastword", "lastword");
    root.libraries(Command::new("ldd").arg(binary), None)?;
    let authorities = Path::new(AUTHORITIES);
    if authorities.exists() {
        root.copy(AUTHORITIES.trim_start_matches('/'), authorities, 0o644)?;
    }
    let image = Image {
        name: LASTWORD,
        entrypoint: &["/usr/bin/lastword"],
    };
    write(&root, &image, output)
}

/// Makes the image of the scenarios from Debian's packages, and gives its path.
///
/// # Errors
/// Packages cannot be fetched, or a file cannot be read or written.
pub(crate) fn scenarios(output: Option<&Path>) -> Result<PathBuf> {
    let packages = PACKAGES.get()?;
    let mut root = Root::new();
    root.tree(&packages.root)?;
    for applet in APPLETS {
        root.link(&format!("usr/bin/{applet}"), "/bin/busybox");
    }
    for program in ["usr/sbin/nginx", "usr/bin/python3"] {
        let mut ldd = Command::new("ldd");
        ldd.arg(packages.root.join(program))
            .env("LD_LIBRARY_PATH", packages.libraries());
        root.libraries(&mut ldd, Some(&packages.root))?;
    }
    let image = Image {
        name: SCENARIOS,
        entrypoint: &[],
    };
    write(&root, &image, output)
}

fn write(root: &Root, image: &Image<'_>, output: Option<&Path>) -> Result<PathBuf> {
    let path = match output {
        Some(path) => path.to_owned(),
        None => {
            let name = image.name.rsplit('/').next().unwrap_or(image.name);
            let name = name.split(':').next().unwrap_or(name);
            place::workspace().join(FOLDER).join(format!("{name}.tar"))
        }
    };
    oci::write(root, image, &path)?;
    let size = path.metadata()?.len() >> 10;
    step::say(format_args!("wrote {} ({size} KiB)", path.display()));
    Ok(path)
}
