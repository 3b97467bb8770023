//! Tests of the capture format through its public interface.

mod captures;
mod round_trip;
