//! Against the cluster that `$KUBECONFIG` names; it needs the image localhost/busybox:1. Installs the CRD, and works in namespaces `t-kube-…` that it deletes.
//!
//! ```sh
//! cargo test -p kubernetes --test cluster -- --ignored
//! ```

mod announces;
mod fetches;
mod requested;
mod scene;
mod watches;
