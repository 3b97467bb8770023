//! Bringing a new network namespace's loopback interface up.

#![expect(unsafe_code, reason = "ioctl(2)")]

use std::{io, net::UdpSocket, os::fd::AsRawFd};

/// Brings `lo` up in the current network namespace: netdevice(7).
///
/// # Errors
/// Without CAP_NET_ADMIN in the namespace.
pub fn loopback_up() -> io::Result<()> {
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
