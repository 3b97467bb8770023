//! The interface between the eBPF programs and user space: one definition of every byte that they exchange.
//!
//! The programs themselves are the binary of this package, which is built for the BPF target only.

#![no_std]

pub mod wire;
