//! When a capture is taken: observations in, decisions out.
//!
//! The caller reports to a [`Machine`] what happens to containers ([`Observation`]) and to their pods
//! ([`PodObservation`]). The machine answers which container to capture ([`Decision`]). It has no clock, does no I/O,
//! and knows neither kernel nor cluster: the caller passes the time in, and asks again at [`Machine::next_due`].
//!
//! # One capture per loop
//!
//! A *loop* is what a container does from a crash on, until one of its runs has lasted for [`Rules::cool_down`].
//! Within a loop:
//!
//! * The first trigger that trips gives a capture.
//! * Another cause gives another capture; a cause that was captured before does not. A loop has at most eight causes.
//! * Once the loop has as many ended runs as a capture holds ([`Config::keep`]), a capture that holds fewer is
//!   replaced, once.
//! * A run that is in a capture already gives no other capture.
//!
//! Five ends of a run are no crash: its pod ends; the kubelet stops a sidecar because the ordinary containers of its pod
//! are done; a rule of one container restarts all containers of the pod; the kubelet restarts the container because
//! somebody changed its image or resources in the pod; somebody added the container for debugging. For containers that
//! are switched off, by selectors or by an annotation, there are no decisions.
//!
//! # Annotations
//!
//! An annotation on a pod is for the pod's containers; an annotation on a namespace is for all pods in it. The pod's
//! annotation wins. An annotation with `.CONTAINER` at the end of its name is for that container alone, and wins over
//! both.
//!
//! | annotation | value |
//! |---|---|
//! | `lastword.dev/capture` | `off`, or `on` whatever the selectors say |
//! | `lastword.dev/trigger` | rules instead of the configured ones, see [`Rules::parse`] |
//! | `lastword.dev/payload` | `none`: store no payload; `default`: as configured |
//!
//! An annotation whose value has no meaning is ignored, with a [`Decision::Warn`].
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

pub use decision::{Attempt, Decision, Kind, Tripped};
pub use label_selector::LabelSelector;
pub use machine::{Config, Machine};
pub use observation::{
    Captured, Description, Ended, ExitStatus, Labels, Observation, PodObservation, Subject, Why,
};
pub use rules::{RestartRule, Rules};
pub use selectors::{NamePattern, Namespaces, Selectors};
pub use signal::Signal;
pub use suggestion::closest;
pub use time::Time;
