//! What the numbers and bytes of events mean on Linux. The tables do not come from the machine, because a capture can be
//! read on any machine.

pub mod dns;
pub mod errno;
pub mod interrupted;
pub mod open_flags;
pub mod signal;
pub mod sockaddr;
pub mod system_call;
pub mod time;

pub use dns::{Message, Rcode};
pub use errno::Errno;
pub use interrupted::Interrupted;
pub use signal::Signal;
pub use sockaddr::SockAddr;
