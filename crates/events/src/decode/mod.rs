//! What the numbers and bytes of events mean on Linux. The tables are our own, because a capture can be read on any
//! machine.

pub mod dns;
pub mod errno;
pub mod open_flags;
pub mod signal;
pub mod sockaddr;
pub mod time;

pub use dns::{Message, Rcode};
pub use errno::Errno;
pub use signal::Signal;
pub use sockaddr::SockAddr;
