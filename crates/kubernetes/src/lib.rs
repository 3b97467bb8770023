//! Everything that talks to a Kubernetes API server. This is the only crate that uses kube.
//!
//! lastword uses the API server in both directions. The agent learns from it whose containers run on the node, and
//! which captures people ask for; it writes `Capture` objects and Events. The kubectl plugin finds captures there and
//! fetches their files.
//!
//! | module | what it does | who uses it |
//! |---|---|---|
//! | [`capture`], [`capture_read`] | the custom resources `Capture` and `CaptureRead` | everyone |
//! | [`connect`] | a client, and [`Health`]: is the API server there? | everyone |
//! | [`pods`], [`namespaces`] | watches, trimmed to what is needed before anything is kept | the agent |
//! | [`events`] | what Kubernetes says about one pod | everyone |
//! | [`announce`] | a verdict becomes a `Capture` and an Event on the pod | the agent |
//! | [`faults`] | the few Captures that stand for a fault of many pods | the agent |
//! | [`owner`] | the controller whose pods share a fault's Captures | the agent |
//! | [`pod_event`] | an Event on a pod | the agent |
//! | [`captures`] | requested captures: who takes them, and what becomes of the rest | the agent |
//! | [`reading`] | who may read which file | the agent |
//! | [`never_started`] | why nothing of a pod ran | the kubectl plugin |
//! | [`fetch`] | finding Captures, and reading their files | the kubectl plugin |
//!
//! Every call names the [`Access`] that it needs, so an [`Error`] can say which rule of RBAC is missing. Everything
//! works on Kubernetes 1.20 and later.
#![forbid(unsafe_code)]

pub mod announce;
pub mod capture;
pub mod capture_read;
pub mod captures;
mod clock;
pub mod connect;
mod error;
pub mod events;
pub mod faults;
pub mod fetch;
mod health;
mod name;
pub mod namespaces;
pub mod never_started;
pub mod owner;
pub mod pod_event;
pub mod pods;
pub mod random;
pub mod reading;
mod text;
mod watch;

pub use error::{AGENT, AGENT_AT_HOME, Access, Error, Retry, USER, VIEW, Who};
pub use health::{Health, Standing, Trouble};
pub use jiff::Timestamp;
pub use kube::Client;
pub use name::capture_name;
pub use watch::Change;
