//! Why a container died: from the events of a run to one sentence, with evidence and a confidence.
//!
//! A *fact* is something that happened in a run, such as a failed call or a line of output. A *rule* looks for one
//! cause of death among the facts. A *verdict* is what a rule returns: a cause, a sentence, a confidence in percent,
//! and the events that are the evidence.
//!
//! ```text
//! events ─► facts    one pass over a run: processes, failed calls, output, DNS, connections, signals
//!             └─► rules    each looks for one cause: facts → a verdict that cites events, or nothing
//!                   └─► explain    the most confident verdict of each run; what the runs have in common; one sentence
//! ```
//!
//! A rule that is not sure returns nothing: a wrong verdict is worse than none. The table in [`rules`] says which
//! confidence needs which evidence.
//!
//! ```
//! # let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/captures/nginx-upstream.lwcap");
//! let mut reader = capture_format::open_file(capture.as_ref())?;
//! let explanation = verdict::explain::explain(&mut reader);
//! assert!(explanation.sentence.starts_with("nginx exited 1"));
//! for run in &explanation.runs {
//!     println!("run {}: {:?}, {} %", run.run, run.verdict.cause, run.verdict.confidence);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What messages of known programs mean is data: see [`knowledge`].
//!
//! [`losses`] says what was not recorded, which weakens every verdict. [`runtimes`] distinguishes a container
//! runtime's own processes from those of the container.

#![forbid(unsafe_code)]

mod candidate;
mod compare;
pub mod entity;
pub mod explain;
pub mod facts;
mod fingerprint;
pub mod knowledge;
mod leads;
mod lexicon;
pub mod losses;
pub mod message;
pub mod rules;
pub mod runtimes;
mod symptom;
#[cfg(test)]
mod testing;
mod tie;

pub use fingerprint::Fingerprint;
pub use leads::Lead;
