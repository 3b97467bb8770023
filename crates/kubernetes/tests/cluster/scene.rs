//! A namespace for one test, and what tests do in it.

use std::{process, time::Duration};

use k8s_openapi::{
    api::core::v1::{Namespace, Pod},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResourceExt as _, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::wait::{await_condition, conditions},
};
use kubernetes::{
    Who,
    capture::Capture,
    capture_read::CaptureRead,
    connect::{self, Options},
};
use serde_json::{Value, json};

pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Scene {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Scene {
    /// Connects, installs the CRDs, and makes a namespace.
    pub(crate) async fn new(name: &str) -> Self {
        let cluster = connect::connect(&Options::default(), Who::User)
            .await
            .unwrap();
        let client = cluster.client;
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        let params = PatchParams::apply("lastword-tests").force();
        for crd in [Capture::crd(), CaptureRead::crd()] {
            let name = crd.name_any();
            let apply = Patch::Apply(&crd);
            definitions.patch(&name, &params, &apply).await.unwrap();
            let established = conditions::is_crd_established();
            let waiting = await_condition(definitions.clone(), &name, established);
            waiting.await.unwrap();
        }

        let namespace = format!("t-kube-{name}-{}", process::id());
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let object: Namespace =
            serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        namespaces
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
        // Pods are refused until the controller has made the service account.
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
            Api::namespaced(client.clone(), &namespace);
        let made = |account: Option<&k8s_openapi::api::core::v1::ServiceAccount>| account.is_some();
        await_condition(accounts, "default", made).await.unwrap();
        Self { client, namespace }
    }

    /// Makes a pod whose one container runs a shell script. Returns its UID.
    pub(crate) async fn pod(
        &self,
        name: &str,
        container: &str,
        labels: Value,
        script: &str,
    ) -> String {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": labels, "annotations": {"lastword.dev/capture": "off", "other": "x"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": container,
                    "image": "localhost/busybox:1",
                    "imagePullPolicy": "Never",
                    "command": ["sh", "-c", script],
                    "resources": {"limits": {"memory": "32Mi"}},
                }],
            },
        }))
        .unwrap();
        let made = self
            .pods()
            .create(&PostParams::default(), &pod)
            .await
            .unwrap();
        made.metadata.uid.unwrap()
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn captures(&self) -> Api<Capture> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn end(self) {
        let namespaces: Api<Namespace> = Api::all(self.client);
        namespaces
            .delete(&self.namespace, &DeleteParams::default())
            .await
            .unwrap();
    }
}
