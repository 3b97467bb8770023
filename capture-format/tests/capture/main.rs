//! Tests of the capture format through its public interface.

mod captures;
mod columns;
mod damage;
mod files;
mod hostile;
mod python;
mod round_trip;
mod versions;
