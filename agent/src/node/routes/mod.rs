//! What the loop does with each input. A route asks and changes the owners of the state (`state/`), and begins the work
//! that follows.
//!
//! | file | inputs about |
//! |---|---|
//! | `lives.rs` | containers that start, and who they are |
//! | `inner.rs` | containers inside a container, and other cgroups inside it |
//! | `deaths.rs` | runs that end, up to the capture that is written; read from top to bottom |
//! | `pods.rs` | pods, namespaces, the container runtime |
//! | `opt_out.rs` | containers of which nothing may be recorded |
//! | `captures.rs` | Capture objects |
//! | `requests.rs` | people and alerts; `lastword status` |
//! | `resume.rs` | what an earlier agent left |

mod captures;
mod deaths;
mod inner;
mod lives;
mod opt_out;
mod pods;
mod requests;
mod resume;
