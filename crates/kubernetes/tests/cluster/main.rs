//! Tests on the cluster that `$KUBECONFIG` names. They need the image localhost/busybox:1, install the CRD, and work
//! in namespaces `t-kube-…`, which they delete.
//!
//! ```sh
//! cargo test -p kubernetes --test cluster -- --ignored
//! ```

mod admission;
mod announces;
mod fetches;
mod requested;
mod scene;
mod watches;
