//! When a capture is taken: observations in, decisions out.
//!
//! [`Machine`] is told what happens to containers ([`Observation`]) and to their pods ([`PodObservation`]), and says which
//! container to capture ([`Decision`]). It has no clock, does no I/O and knows neither kernel nor cluster; the caller passes
//! the time in, and asks again at [`Machine::next_due`].
//!
//! # One capture a loop
//!
//! A *loop* is what a container does from a crash on until one of its runs has lasted for [`Rules::cool_down`]. Within a loop
//!
//! * the first trigger that trips gives a capture;
//! * another cause gives another capture, a cause that was captured before does not (at most eight causes a loop);
//! * once the loop has as many ended runs as a capture holds ([`Config::keep`]), a capture that holds fewer is replaced, once;
//! * a run that stands in a capture already gives none.
//!
//! What ends because its pod ends, or because a rule of one container restarts all of them, is no crash, nor is the end of a container that somebody added for debugging. Containers that are switched off, by selectors or by annotation, are never decided for.
//!
//! # Annotations
//!
//! On a pod, or on a namespace for all its pods; the pod's wins. With `.CONTAINER` behind the name, for that container alone, which wins over both.
//!
//! | annotation | value |
//! |---|---|
//! | `lastword.dev/capture` | `off`, or `on` whatever the selectors say |
//! | `lastword.dev/trigger` | rules instead of the configured ones, see [`Rules::parse`] |
//! | `lastword.dev/payload` | `none`: store no payload; `default`: as configured |
//!
//! A value that says nothing is ignored, with a [`Decision::Warn`].
#![forbid(unsafe_code)]

mod annotations;
mod captures;
mod container;
mod decision;
mod history;
mod judge;
mod label_selector;
mod machine;
mod observation;
mod rules;
mod selectors;
mod signal;
mod suggestion;
mod time;

pub use decision::{Attempt, Decision, Kind, Trigger};
pub use label_selector::LabelSelector;
pub use machine::{Config, Machine};
pub use observation::{
    Captured, Description, Ended, ExitStatus, Labels, Observation, PodObservation, Probe, Subject,
};
pub use rules::{RestartRule, Rules};
pub use selectors::{NamePattern, Namespaces, Selectors};
pub use signal::Signal;
pub use suggestion::closest;
pub use time::Time;
