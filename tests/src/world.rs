//! Namespaces for one test alone.

#![expect(unsafe_code, reason = "ioctl(2)")]

use std::{io, net::UdpSocket, os::fd::AsRawFd, thread};

use anyhow::{Context, Result};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

/// Moves the calling thread into its own network and mount namespaces. Its ports and mounts do not affect the machine.
/// Loopback is up.
///
/// # Errors
/// This is not root.
pub fn enter_own_world() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .context("cannot make mount and network namespaces; run this as root")?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .context("cannot make mounts private")?;
    loopback_up().context("cannot bring lo up")
}

/// Calls `act` in a thread with its own namespaces. If one of them is a pid namespace, the processes that the thread
/// starts are in it.
///
/// # Errors
/// This is not root, or `act` fails.
pub fn in_thread<T, E>(
    namespaces: CloneFlags,
    act: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E>
where
    T: Send,
    E: From<io::Error> + Send,
{
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(namespaces).map_err(io::Error::from)?;
            act()
        });
        thread
            .join()
            .map_err(|_| io::Error::other("the thread panicked"))?
    })
}

/// Starts a process in a mount namespace in which only the unified hierarchy is mounted in the usual place, as on most
/// nodes.
///
/// # Errors
/// This is not root, or `start` fails.
pub fn on_a_node<T: Send>(start: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    const PLACE: &str = "/sys/fs/cgroup";
    in_thread(CloneFlags::CLONE_NEWNS, || {
        // Everything mounted below it is unmounted, too.
        umount2(PLACE, MntFlags::MNT_DETACH)?;
        mount(
            Some("none"),
            PLACE,
            Some("cgroup2"),
            MsFlags::empty(),
            None::<&str>,
        )?;
        start()
    })
}

/// Brings `lo` up in the current network namespace: netdevice(7).
fn loopback_up() -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all zeros is a valid request; SIOCSIFFLAGS reads its name and flags.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request)
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
