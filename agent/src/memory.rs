//! Gives memory of the allocator back to the system.

#![expect(unsafe_code, reason = "malloc_trim(3)")]

/// Gives memory back that the allocator holds and nobody uses. When a whole node has died it holds some 40 MiB, in pieces.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
