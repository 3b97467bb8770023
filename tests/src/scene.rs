//! The case by which lastword is measured: an nginx whose upstream `flask` does not exist.
//!
//! The scene uses Debian's nginx. Its packages are laid over the machine's `/etc`, `/usr` and `/var`, in mount and
//! network namespaces whose only name server answers NXDOMAIN to everything. `/etc/resolv.conf` is as Kubernetes
//! writes it. The machine outside sees nothing of the scene, and nothing is left of it when its processes are gone. A
//! machine that exists for the scene alone, a guest, has an nginx of its own and needs no namespaces
//! ([`play_on_this_machine`]).

use std::{
    fs::{self, File},
    io::ErrorKind,
    net::UdpSocket,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount};

use crate::dns;

const RESOLV_CONF: &str = "\
search default.svc.cluster.local svc.cluster.local cluster.local
nameserver 127.0.0.1
options ndots:5
";

const NSSWITCH_CONF: &str = "\
passwd: files
group: files
hosts: files dns
";

const PROXY_CONF: &str = "\
server {
    listen 80;
    location / {
        proxy_pass http://flask:5000;
    }
}
";

/// The command of the container in the scene. Debian's nginx logs only to stderr until it has read its configuration.
/// With `-e` it also logs to a file from the start, as nginx's own images do.
pub const NGINX: [&str; 5] = [
    "nginx",
    "-e",
    "/var/log/nginx/error.log",
    "-g",
    "daemon off;",
];

/// An nginx that cannot resolve its upstream.
pub struct Scene {
    /// Debian's packages `nginx` and `busybox-static` with their dependencies, unpacked into a folder that stands for
    /// `/`.
    pub packages: PathBuf,
    /// A folder of the machine that is visible inside the scene, so that programs and files can be taken out of it.
    pub kept: PathBuf,
}

/// Files of the scene.
const FILES: [(&str, &str); 4] = [
    ("/etc/resolv.conf", RESOLV_CONF),
    ("/etc/nsswitch.conf", NSSWITCH_CONF),
    ("/etc/hosts", "127.0.0.1 localhost\n"),
    ("/etc/nginx/conf.d/proxy.conf", PROXY_CONF),
];

/// Users and groups that Debian's nginx needs, if the machine does not have them.
const USERS: [(&str, &str); 2] = [
    (
        "/etc/passwd",
        "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n",
    ),
    ("/etc/group", "root:x:0:\nwww-data:x:33:\n"),
];

/// Calls `act` on a machine that exists only for the scene and has nginx installed: the machine's own files are
/// changed.
///
/// # Errors
/// A file cannot be written, the name server's port is taken, or `act` fails.
pub fn play_on_this_machine<T: Send>(act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    for folder in ["/etc/nginx/conf.d", "/var/log/nginx", "/var/lib/nginx"] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {folder}"))?;
    }
    write(&USERS)?;
    write(&FILES)?;
    with_name_server(name_server, act)
}

/// Calls `act` on a thread, after `set` has prepared the thread and made the name server's socket. Meanwhile queries on
/// that socket are answered.
fn with_name_server<T: Send>(
    set: impl FnOnce() -> Result<UdpSocket> + Send,
    act: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = &done;
        let stage = scope.spawn(move || {
            let server = set()?;
            scope.spawn(move || answer(&server, done));
            act()
        });
        let result = stage.join();
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn write(files: &[(&str, &str)]) -> Result<()> {
    for (path, text) in files {
        fs::write(path, text).with_context(|| format!("cannot write {path} in the scene"))?;
    }
    Ok(())
}

fn name_server() -> Result<UdpSocket> {
    UdpSocket::bind("127.0.0.1:53").context("cannot start the name server on 127.0.0.1:53")
}

impl Scene {
    /// Calls `act` on a thread inside the scene. Commands that it starts are inside, too.
    ///
    /// # Errors
    /// This is not root, the kernel has no overlay file system, or `act` fails.
    pub fn play<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        with_name_server(|| self.set(), act)
    }

    /// Moves this thread into its own namespaces, prepares them and returns the name server's socket.
    fn set(&self) -> Result<UdpSocket> {
        crate::enter_own_world()?;
        // The folder is opened before the overlays are mounted, which may cover it.
        let kept = File::open(&self.kept)
            .with_context(|| format!("cannot open {}", self.kept.display()))?;
        let scratch = self.kept.join("target/scene");
        fs::create_dir_all(&scratch)
            .with_context(|| format!("cannot make {}", scratch.display()))?;
        tmpfs(&scratch)?;
        for folder in ["etc", "usr", "var"] {
            self.overlay(folder, &scratch)?;
        }
        tmpfs(Path::new("/run"))?;
        let open = format!("/proc/self/fd/{}", kept.as_raw_fd());
        mount(
            Some(open.as_str()),
            &self.kept,
            None::<&str>,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            None::<&str>,
        )
        .with_context(|| format!("cannot keep {}", self.kept.display()))?;

        // The file is often a symbolic link into /run.
        if let Err(error) = fs::remove_file("/etc/resolv.conf")
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error).context("cannot replace /etc/resolv.conf in the scene");
        }
        write(&FILES)?;
        name_server()
    }

    /// Mounts a folder of the packages over that of the machine.
    fn overlay(&self, folder: &str, scratch: &Path) -> Result<()> {
        let upper = scratch.join(folder).join("upper");
        let work = scratch.join(folder).join("work");
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        let lower = self.packages.join(folder);
        let options = format!(
            "lowerdir={}:/{folder},upperdir={},workdir={}",
            lower.display(),
            upper.display(),
            work.display()
        );
        ensure!(
            options.matches([':', ',']).count() == 3,
            "a path in `{options}` holds a colon or a comma; move the workspace or the cache"
        );
        mount(
            Some("overlay"),
            &Path::new("/").join(folder),
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .with_context(|| format!("cannot lay nginx's packages over /{folder} (overlay, {options})"))
    }
}

fn tmpfs(place: &Path) -> Result<()> {
    mount(
        Some("tmpfs"),
        place,
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .with_context(|| format!("cannot mount a tmpfs on {}", place.display()))
}

/// Answers every query with NXDOMAIN until `done`.
fn answer(server: &UdpSocket, done: &AtomicBool) {
    // If this fails, the scene only ends later.
    let _ = server.set_read_timeout(Some(Duration::from_millis(50)));
    let mut buffer = [0; 512];
    while !done.load(Ordering::Relaxed) {
        if let Ok((length, client)) = server.recv_from(&mut buffer)
            && let Some(answer) = dns::nxdomain(&buffer[..length])
        {
            // A client that is gone needs no answer.
            let _ = server.send_to(&answer, client);
        }
    }
}
