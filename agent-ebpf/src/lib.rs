//! What the eBPF programs and user space exchange: one definition of every byte.
//!
//! The programs themselves are this package's binary, built for the BPF target alone.

#![no_std]

pub mod wire;
