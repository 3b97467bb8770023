//! A network and mounts of one's own.

#![expect(unsafe_code, reason = "ioctl(2)")]

use std::{io, net::UdpSocket, os::fd::AsRawFd};

use anyhow::{Context, Result};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Moves the calling thread into network and mount namespaces of its own: ports and mounts are its own, and nothing of them
/// reaches the machine. Loopback is up.
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

/// Brings `lo` up in the current network namespace: netdevice(7).
fn loopback_up() -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all zeros is a valid request; SIOCSIFFLAGS reads name and flags of it.
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
