//! Ctrl-C while a file is being fetched: what was made for it in the cluster is deleted first. At any other time, and
//! the second time, it ends the program at once.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::{consts::SIGINT, flag, low_level};

/// The program's Ctrl-C.
pub(super) struct Interrupt {
    /// Whether it ends the program at once.
    at_once: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes it over. Call it once.
    ///
    /// # Errors
    /// If the system does not let it.
    pub(super) fn take() -> io::Result<Self> {
        let at_once = Arc::new(AtomicBool::new(true));
        flag::register_conditional_default(SIGINT, at_once.clone())?;
        Ok(Self { at_once })
    }

    /// Waits for the first Ctrl-C. As long as this future lives, the first does not end the program.
    pub(super) async fn first(&self) {
        let _until = AtOnce(&self.at_once);
        self.at_once.store(false, Ordering::Relaxed);
        // Without a handler nothing can be waited for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }

    /// Ends the program as if Ctrl-C had done it.
    pub(super) fn end() {
        // If it fails, the program ends with an error.
        let _ = low_level::emulate_default_handler(SIGINT);
    }
}

/// When it is dropped, Ctrl-C ends the program at once again.
struct AtOnce<'a>(&'a AtomicBool);

impl Drop for AtOnce<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
