//! What the admission policy lets the agents of two nodes do. Needs Kubernetes 1.30 or newer, and deploy/.

use std::{env, fs, path::PathBuf, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{Event, Namespace, Pod, ServiceAccount},
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    discovery::{self, Scope},
};
use kubernetes::{
    Health, Who,
    announce::{Announcement, Announcer, Object},
    capture::{Capture, CaptureSpec, CaptureStatus, Phase},
    captures,
    pods::ContainerKind,
};
use serde_json::{Value, json};

const HOME: &str = "lastword";

/// A namespace, and the agents of two nodes that do not exist.
struct Scene {
    admin: Client,
    namespace: String,
    agents: [Agent; 2],
}

struct Agent {
    node: String,
    client: Client,
}

/// The documents of the policy; the sweep's hours and minutes are seconds in them.
fn policy(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents
}

fn policy_file() -> String {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "../../deploy/components/admission/policy.yaml",
    ]
    .iter()
    .collect();
    fs::read_to_string(path).unwrap()
}

async fn apply(client: &Client, documents: Vec<Value>) {
    let params = PatchParams::apply("lastword-tests").force();
    for document in documents {
        let object: DynamicObject = serde_json::from_value(document).unwrap();
        let kind = object.types.clone().unwrap();
        let (group, version) = kind.api_version.split_once('/').unwrap();
        let gvk = kube::core::GroupVersionKind::gvk(group, version, &kind.kind);
        let (resource, capabilities) = discovery::pinned_kind(client, &gvk).await.unwrap();
        assert!(matches!(capabilities.scope, Scope::Cluster));
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let name = object.metadata.name.clone().unwrap();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .unwrap();
    }
}

impl Scene {
    async fn new() -> Self {
        let config = Config::infer().await.unwrap();
        let admin = Client::try_from(config.clone()).unwrap();
        let text = policy_file();
        let short = text.replace("duration('1h')", "duration('4s')");
        let short = short.replace("'15m' : '1h'", "'4s' : '4s'");
        apply(&admin, policy(&short)).await;
        // A policy that was changed is in force a second later.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let namespace = format!("t-kube-admission-{}", std::process::id());
        let namespaces: Api<Namespace> = Api::all(admin.clone());
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        namespaces
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
        let agents = [
            agent(&config, &admin, "nowhere-1".to_owned()).await,
            agent(&config, &admin, format!("nowhere.{}.2", "n".repeat(60))).await,
        ];
        Self {
            admin,
            namespace,
            agents,
        }
    }

    fn captures(&self, client: &Client) -> Api<Capture> {
        Api::namespaced(client.clone(), &self.namespace)
    }

    /// The agent announces a Capture of this name, of a pod that crashed on its node.
    async fn announce(&self, agent: &Agent, name: &str, create: bool) -> Result<(), String> {
        let announcement = Announcement {
            namespace: self.namespace.clone(),
            object: match create {
                true => Object::Named(name.to_owned()),
                false => Object::Existing(name.to_owned()),
            },
            spec: CaptureSpec {
                pod_name: format!("pod-{name}"),
                ttl: Some("1s".to_owned()),
                ..CaptureSpec::default()
            },
            status: CaptureStatus {
                phase: Phase::Complete,
                node: Some(agent.node.clone()),
                pod_uid: Some(format!("uid-{name}")),
                container: Some("main".to_owned()),
                verdict: Some("main exited 1".to_owned()),
                finished_at: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                    Timestamp::now(),
                )),
                ..CaptureStatus::default()
            },
            kind: ContainerKind::App,
            ended: Timestamp::now(),
            recurred: None,
            fault: None,
        };
        let announcer = Announcer::new(agent.client.clone(), &agent.node, Health::new());
        announcer
            .announce(&announcement)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    }

    async fn patch(&self, agent: &Agent, name: &str, patch: Value) -> Result<(), String> {
        let api = self.captures(&agent.client);
        let patched = api.patch(name, &as_sweep(), &Patch::Merge(patch)).await;
        patched.map(drop).map_err(|error| error.to_string())
    }

    async fn status(&self, agent: &Agent, name: &str, status: Value) -> Result<(), String> {
        let api = self.captures(&agent.client);
        let patch = Patch::Merge(json!({ "status": status }));
        let patched = api
            .patch_status(name, &PatchParams::default(), &patch)
            .await;
        patched.map(drop).map_err(|error| error.to_string())
    }

    async fn delete(&self, agent: &Agent, name: &str) -> Result<(), String> {
        let api = self.captures(&agent.client);
        let deleted = api.delete(name, &DeleteParams::default()).await;
        deleted.map(drop).map_err(|error| error.to_string())
    }

    /// Applies parts of a Capture, as the sweep does.
    async fn apply(
        &self,
        agent: &Agent,
        name: &str,
        parts: Value,
        status: bool,
    ) -> Result<(), String> {
        let api = self.captures(&agent.client);
        let params = PatchParams::apply("lastword-sweep").force();
        let mut object = json!({"apiVersion": "lastword.dev/v1alpha1", "kind": "Capture"});
        object
            .as_object_mut()
            .unwrap()
            .extend(parts.as_object().unwrap().clone());
        let patch = Patch::Apply(object);
        let patched = match status {
            true => api.patch_status(name, &params, &patch).await,
            false => api.patch(name, &params, &patch).await,
        };
        patched.map(drop).map_err(|error| error.to_string())
    }

    async fn mark(&self, agent: &Agent, name: &str, labels: Value) -> Result<(), String> {
        let annotations = json!({"lastword.dev/expired": agent.node});
        let metadata =
            json!({"metadata": {"name": name, "annotations": annotations, "labels": labels}});
        self.apply(agent, name, metadata, false).await
    }

    async fn fail(&self, agent: &Agent, name: &str, status: Value) -> Result<(), String> {
        let object = json!({"metadata": {"name": name}, "status": status});
        self.apply(agent, name, object, true).await
    }

    /// A request that a person makes, for a pod on this node if there is one.
    async fn request(&self, name: &str, node: Option<&str>) {
        let mut spec = CaptureSpec {
            pod_name: format!("pod-{name}"),
            ..CaptureSpec::default()
        };
        spec.ttl = Some("1s".to_owned());
        assert!(
            captures::create(&self.admin, Who::User, &self.namespace, name, spec)
                .await
                .unwrap()
        );
        if let Some(node) = node {
            let labels = json!({"metadata": {"labels": {"lastword.dev/node": node}}});
            let api = self.captures(&self.admin);
            api.patch(name, &PatchParams::default(), &Patch::Merge(labels))
                .await
                .unwrap();
        }
    }

    async fn end(self) {
        apply(&self.admin, policy(&policy_file())).await;
        let pods: Api<Pod> = Api::namespaced(self.admin.clone(), HOME);
        for agent in &self.agents {
            let now = DeleteParams::default().grace_period(0);
            pods.delete(&pod_name(&agent.node), &now).await.unwrap();
        }
        let namespaces: Api<Namespace> = Api::all(self.admin);
        namespaces
            .delete(&self.namespace, &DeleteParams::default())
            .await
            .unwrap();
    }
}

fn pod_name(node: &str) -> String {
    format!("admission-{}", &node[..9])
}

/// A client with the token that the agent's pod would have on this node.
async fn agent(config: &Config, admin: &Client, node: String) -> Agent {
    let pods: Api<Pod> = Api::namespaced(admin.clone(), HOME);
    let pod = serde_json::from_value(json!({
        "metadata": {"name": pod_name(&node)},
        "spec": {
            "nodeName": node, "serviceAccountName": "lastword-agent",
            "containers": [{"name": "agent", "image": "none"}],
        },
    }));
    let made = pods
        .create(&PostParams::default(), &pod.unwrap())
        .await
        .unwrap();
    let request: TokenRequest = serde_json::from_value(json!({
        "spec": {"audiences": [], "boundObjectRef": {
            "kind": "Pod", "apiVersion": "v1", "name": pod_name(&node), "uid": made.metadata.uid,
        }},
    }))
    .unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), HOME);
    let token = accounts
        .create_token_request("lastword-agent", &PostParams::default(), &request)
        .await
        .unwrap();
    let client = with_token(config, token.status.unwrap().token.unwrap());
    Agent { node, client }
}

fn with_token(config: &Config, token: String) -> Client {
    let mut config = config.clone();
    config.auth_info = kube::config::AuthInfo {
        token: Some(token.into()),
        ..kube::config::AuthInfo::default()
    };
    Client::try_from(config).unwrap()
}

/// The parameters of a patch that claims to be made by the sweep, but applies nothing.
fn as_sweep() -> PatchParams {
    PatchParams {
        field_manager: Some("lastword-sweep".to_owned()),
        ..PatchParams::default()
    }
}

fn refused(outcome: Result<(), String>, says: &str) {
    let message = outcome.expect_err(says);
    assert!(message.contains(says), "{message}");
}

#[tokio::test]
#[ignore = "needs a cluster of Kubernetes 1.30 or newer: cargo test -p kubernetes --test cluster admission -- --ignored"]
async fn an_agent_writes_what_is_of_its_node_and_nothing_else() {
    let scene = Scene::new().await;
    let [here, there] = &scene.agents;
    let foreign = "is not of node";
    // A policy is in force some seconds after it was made.
    scene.announce(there, "theirs", true).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while scene
        .patch(
            here,
            "theirs",
            json!({"spec": {"trigger": {"detail": "x"}}}),
        )
        .await
        .is_ok()
    {
        assert!(
            std::time::Instant::now() < deadline,
            "the policy is not in force"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    // Its own.
    scene.announce(here, "ours", true).await.unwrap();
    scene.announce(here, "ours", false).await.unwrap();
    scene.announce(there, "theirs", true).await.unwrap();

    // Those of others.
    refused(
        scene
            .status(here, "theirs", json!({"verdict": "nothing happened"}))
            .await,
        foreign,
    );
    refused(
        scene
            .status(here, "theirs", json!({"node": here.node}))
            .await,
        foreign,
    );
    refused(
        scene
            .patch(
                here,
                "theirs",
                json!({"metadata": {"labels": {"lastword.dev/node": here.node}}}),
            )
            .await,
        foreign,
    );
    refused(
        scene
            .status(there, "ours", json!({"phase": "Failed"}))
            .await,
        foreign,
    );
    refused(scene.delete(here, "theirs").await, foreign);
    refused(
        scene
            .status(here, "ours", json!({"node": there.node}))
            .await,
        foreign,
    );
    // But it may count pods of its own that had the same fault, where the Capture stands for that fault.
    let counted = json!({"similar": 3, "additions": ["a"]});
    refused(scene.status(here, "theirs", counted.clone()).await, foreign);
    let label = Patch::Merge(json!({"metadata": {"labels": {"lastword.dev/fault": "f"}}}));
    let theirs = scene.captures(&there.client);
    theirs
        .patch("theirs", &PatchParams::default(), &label)
        .await
        .unwrap();
    scene.status(here, "theirs", counted).await.unwrap();
    refused(
        scene.status(here, "theirs", json!({"similar": 2})).await,
        foreign,
    );
    let more = json!({"similar": 4, "verdict": "nothing happened"});
    refused(scene.status(here, "theirs", more).await, foreign);

    // Events of others.
    let events: Api<Event> = Api::namespaced(here.client.clone(), &scene.namespace);
    let all = Api::<Event>::namespaced(scene.admin.clone(), &scene.namespace);
    let listed = all.list(&kube::api::ListParams::default()).await.unwrap();
    let of = |node: &str| {
        let found = listed.items.iter().find(|event| {
            event
                .source
                .as_ref()
                .is_some_and(|source| source.host.as_deref() == Some(node))
        });
        found.unwrap().metadata.name.clone().unwrap()
    };
    let change = |name: String, host: &str| {
        let patch = Patch::Merge(
            json!({"message": "x", "source": {"component": "lastword", "host": host}}),
        );
        let events = events.clone();
        async move {
            let patched = events.patch(&name, &PatchParams::default(), &patch).await;
            patched.map(drop).map_err(|error| error.to_string())
        }
    };
    change(of(&here.node), &here.node).await.unwrap();
    refused(
        change(of(&here.node), &there.node).await,
        "must have it as its source",
    );
    refused(
        change(of(&there.node), &there.node).await,
        "must have it as its source",
    );
    refused(
        change(of(&there.node), &here.node).await,
        "the Event is not of the agent",
    );

    // Requests: whoever has the pod takes it.
    scene.request("asked-for", None).await;
    scene
        .status(
            here,
            "asked-for",
            json!({"phase": "Capturing", "node": here.node}),
        )
        .await
        .unwrap();
    scene
        .patch(
            here,
            "asked-for",
            json!({"metadata": {"labels": {"lastword.dev/node": here.node}}}),
        )
        .await
        .unwrap();
    refused(
        scene
            .status(
                there,
                "asked-for",
                json!({"phase": "Complete", "node": there.node}),
            )
            .await,
        foreign,
    );
    scene.request("elsewhere", None).await;
    scene
        .patch(
            here,
            "elsewhere",
            json!({"metadata": {"labels": {"lastword.dev/node": "third"}}}),
        )
        .await
        .unwrap();
    refused(
        scene
            .status(
                here,
                "elsewhere",
                json!({"phase": "Capturing", "node": here.node}),
            )
            .await,
        foreign,
    );
    scene.delete(here, "ours").await.unwrap();

    // A token without a node.
    let accounts: Api<ServiceAccount> = Api::namespaced(scene.admin.clone(), HOME);
    let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": []}})).unwrap();
    let token = accounts
        .create_token_request("lastword-agent", &PostParams::default(), &request)
        .await
        .unwrap();
    let config = Config::infer().await.unwrap();
    let nobody = Agent {
        node: here.node.clone(),
        client: with_token(&config, token.status.unwrap().token.unwrap()),
    };
    refused(
        scene.announce(&nobody, "nobodys", true).await,
        "the token names no node",
    );

    sweep(&scene).await;
    scene.end().await;
}

/// What an agent may do with Captures of other nodes, when their time is over by the API server's clock.
async fn sweep(scene: &Scene) {
    let [here, there] = &scene.agents;
    scene.request("left", Some("third")).await;
    scene.announce(there, "younger", true).await.unwrap();
    let fails = json!({"phase": "Failed", "reason": "NoAgent"});
    let foreign = "is not of node";
    refused(scene.mark(here, "younger", json!({})).await, foreign);
    refused(scene.mark(here, "left", json!({})).await, foreign);
    refused(scene.fail(here, "left", fails.clone()).await, foreign);
    tokio::time::sleep(Duration::from_secs(6)).await;

    // A time that the agent made up.
    scene.announce(there, "young", true).await.unwrap();
    let forged = |part: Option<&str>, fields: Value| {
        json!([{
            "manager": "lastword-sweep", "operation": "Apply", "apiVersion": "lastword.dev/v1alpha1",
            "time": "2099-01-01T00:00:00Z", "subresource": part, "fieldsType": "FieldsV1", "fieldsV1": fields,
        }])
    };
    let fields = json!({
        "f:metadata": {"f:annotations": {"f:lastword.dev/expired": {}}},
        "f:spec": {"f:podName": {}},
    });
    let annotations = json!({"lastword.dev/expired": "x"});
    let marked =
        json!({"metadata": {"managedFields": forged(None, fields), "annotations": annotations}});
    refused(scene.patch(here, "young", marked).await, foreign);
    scene.request("new", Some("third")).await;
    let fields = json!({"f:status": {"f:phase": {}}});
    let failed = json!({"metadata": {"managedFields": forged(Some("status"), fields)}, "status": {"phase": "Failed"}});
    let api = scene.captures(&here.client);
    let patched = api
        .patch_status("new", &as_sweep(), &Patch::Merge(failed))
        .await;
    refused(
        patched.map(drop).map_err(|error| error.to_string()),
        foreign,
    );
    let changes = json!({"lastword.dev/node": here.node});
    refused(scene.mark(here, "younger", changes).await, foreign);
    let verdict = json!({"phase": "Failed", "verdict": "nothing happened"});
    refused(scene.fail(here, "left", verdict).await, foreign);
    refused(scene.delete(here, "younger").await, foreign);
    refused(scene.mark(here, "left", json!({})).await, foreign);

    scene.mark(here, "younger", json!({})).await.unwrap();
    scene.delete(here, "younger").await.unwrap();
    scene.fail(here, "left", fails).await.unwrap();
    refused(scene.delete(here, "left").await, foreign);
}
