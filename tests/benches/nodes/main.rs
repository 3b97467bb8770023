//! What crashes and requests cost the API server and the agents, by the number of nodes. Each node has the Kubernetes
//! clients and watches of a real agent; the API server is a fake one, which counts.
//!
//! ```sh
//! cargo bench -p lastword-tests --bench nodes
//! ```
//!
//! It prints the tables of docs/scale.md. CPU time is that of all agents together, which run in one thread; the server
//! has threads of its own.

#[cfg(target_os = "linux")]
mod linux;

fn main() -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    linux::main()?;
    Ok(())
}
