//! The spool on real disks, and uploads to a real S3 server.

mod captures;
mod directory;
mod full_disk;
mod kept;
mod killed;
mod limits;
mod replaced;
mod server;
mod store;
mod uploads;
