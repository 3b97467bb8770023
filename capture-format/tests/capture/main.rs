//! Tests of the capture format through its public interface.

mod captures;
mod damage;
mod files;
mod hostile;
mod round_trip;
mod versions;
