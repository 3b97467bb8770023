//! Labels and annotations of namespaces: labels for selectors, annotations for opting in and out.

use std::collections::BTreeMap;

use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, core::PartialObjectMeta};

use crate::{
    Change, Health,
    error::{LIST_NAMESPACES, WATCH_NAMESPACES},
    pods::OUR_ANNOTATIONS,
    watch::{Watch, Which},
};

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceInfo {
    /// UID.
    pub uid: String,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations whose key begins with `lastword.dev/`, with that prefix.
    pub annotations: BTreeMap<String, String>,
}

/// Watches the metadata of every namespace. That is worth its memory only if something depends on them.
pub fn watch(client: Client, health: Health) -> BoxStream<'static, Change<NamespaceInfo>> {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client);
    let watch = Watch {
        who: "namespaces",
        list: LIST_NAMESPACES,
        watch: WATCH_NAMESPACES,
        from_cache: true,
        which: Which::default(),
    };
    watch.follow(api, health, |namespace| {
        let metadata = namespace.metadata;
        let uid = metadata.uid?;
        let mut annotations = metadata.annotations.unwrap_or_default();
        annotations.retain(|key, _| key.starts_with(OUR_ANNOTATIONS));
        let info = NamespaceInfo {
            uid: uid.clone(),
            name: metadata.name?,
            labels: metadata.labels.unwrap_or_default(),
            annotations,
        };
        Some((uid, info))
    })
}
