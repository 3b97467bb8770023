//! Gives memory of the allocator back to the system.

#![expect(unsafe_code, reason = "malloc_trim(3)")]

/// Returns unused memory of the allocator to the kernel. After all containers of a node have ended, there are some 40
/// MiB in small pieces.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
