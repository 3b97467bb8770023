//! The capture format of lastword.

#![forbid(unsafe_code)]

mod event;
mod metadata;

pub use event::{Event, EventFlags, EventKind, FdType, SignalOrigin, SignalDisposition};
pub use metadata::{
    Container, ExitStatus, Header, Host, Losses, Pod, Probe, Redaction, Run, Trigger,
};
