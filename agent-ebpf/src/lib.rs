//! agent-ebpf.
