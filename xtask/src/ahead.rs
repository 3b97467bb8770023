//! Fetches what the tests need from the network while the compiler works. Whoever needs one of these things gets it from
//! the cache then. What could not be fetched here is fetched once more by who needs it, and that says what is in the way.

use std::thread;

use anyhow::Result;

use crate::{
    arch::Arch,
    browser, chart,
    kernel::{KERNELS, Kernel},
    readers, vm,
};

/// Begins to fetch; for guests, too, if there will be any.
pub(crate) fn begin(guests: bool) {
    thread::spawn(move || fetch(guests));
}

fn fetch(guests: bool) -> Result<()> {
    readers::get()?;
    chart::fetch()?;
    browser::fetch()?;
    #[cfg(target_os = "linux")]
    crate::demo::PACKAGES.get()?;
    if guests {
        vm::fetch(Arch::HERE)?;
        for source in KERNELS {
            Kernel::get(source, Arch::HERE)?;
        }
    }
    Ok(())
}
