//! The case lastword is measured by: an nginx whose upstream `flask` does not exist.
//!
//! The scene is Debian's nginx, its packages laid over the machine's `/etc`, `/usr` and `/var`, in mount and network
//! namespaces whose only name server answers NXDOMAIN to everything. `/etc/resolv.conf` is as Kubernetes writes it. The machine
//! outside sees nothing of it, and nothing is left of it when its processes are gone.

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

/// The command of the container in the scene. Debian's nginx logs to stderr alone until it has read its configuration; `-e`
/// makes it log to a file as well from the start, as nginx's own images do.
pub const NGINX: [&str; 5] = [
    "nginx",
    "-e",
    "/var/log/nginx/error.log",
    "-g",
    "daemon off;",
];

/// An nginx that cannot resolve its upstream.
pub struct Scene {
    /// Debian's packages `nginx` and `busybox-static` with what they need, unpacked; the folder that stands for `/`.
    pub packages: PathBuf,
    /// A folder that stays the machine's own inside the scene, for programs and files to take out of it.
    pub kept: PathBuf,
}

impl Scene {
    /// Calls `act` on a thread inside the scene; the commands it starts are inside too.
    ///
    /// # Errors
    /// This is not root, the kernel has no overlay file system, or `act` fails.
    pub fn play<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let done = &done;
            let stage = scope.spawn(move || {
                let server = self.set()?;
                scope.spawn(move || answer(&server, done));
                act()
            });
            let result = stage.join();
            done.store(true, Ordering::Relaxed);
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves this thread into namespaces of its own, furnishes them and returns the name server's socket.
    fn set(&self) -> Result<UdpSocket> {
        crate::enter_own_world()?;
        // Opened before the overlays, which may cover it.
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

        // Often a symbolic link into /run.
        if let Err(error) = fs::remove_file("/etc/resolv.conf")
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error).context("cannot replace /etc/resolv.conf in the scene");
        }
        for (path, text) in [
            ("/etc/resolv.conf", RESOLV_CONF),
            ("/etc/nsswitch.conf", NSSWITCH_CONF),
            ("/etc/hosts", "127.0.0.1 localhost\n"),
            ("/etc/nginx/conf.d/proxy.conf", PROXY_CONF),
        ] {
            fs::write(path, text).with_context(|| format!("cannot write {path} in the scene"))?;
        }
        UdpSocket::bind("127.0.0.1:53").context("cannot start the name server on 127.0.0.1:53")
    }

    /// Lays a folder of the packages over the machine's.
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

/// Says NXDOMAIN to every query until `done`.
fn answer(server: &UdpSocket, done: &AtomicBool) {
    // Only how soon the scene ends depends on it.
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
