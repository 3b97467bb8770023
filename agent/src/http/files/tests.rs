use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime},
};

use axum::{Json, extract::Path};

use kubernetes::{Timestamp, Who, connect};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::{http::testing::request, node::handle::Status};

/// What the API server has.
#[derive(Default)]
struct Objects {
    /// CaptureReads by `NAMESPACE/NAME`.
    reads: Mutex<HashMap<String, Value>>,
    /// Captures by `NAMESPACE/NAME`.
    captures: Mutex<HashMap<String, Value>>,
    /// How many requests came.
    requests: AtomicUsize,
    /// What every request is answered, if anything is wrong.
    trouble: Mutex<Option<(u16, String)>>,
}

/// An API server, an agent that asks it, and the agent's spool.
struct Scene {
    objects: Arc<Objects>,
    files: Files,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

type Answer = Result<Json<Value>, (StatusCode, Json<Value>)>;

fn failed(code: u16, reason: &str, message: &str, name: &str) -> (StatusCode, Json<Value>) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": message, "details": {"name": name},
    });
    (StatusCode::from_u16(code).unwrap(), Json(status))
}

impl Objects {
    fn asked(&self) -> Result<(), (StatusCode, Json<Value>)> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        match &*self.trouble.lock().unwrap() {
            Some((code, message)) => Err(failed(*code, "", message, "x")),
            None => Ok(()),
        }
    }

    fn read(&self, namespace: &str, name: &str) -> Answer {
        self.asked()?;
        let found = self
            .reads
            .lock()
            .unwrap()
            .get(&format!("{namespace}/{name}"))
            .cloned();
        found
            .map(Json)
            .ok_or_else(|| failed(404, "NotFound", "not found", name))
    }

    fn list(&self, namespace: &str, query: &str) -> Answer {
        self.asked()?;
        let name = query
            .split("metadata.name%3D")
            .nth(1)
            .expect("a field selector");
        let name = name.split('&').next().unwrap_or_default();
        let found = self
            .captures
            .lock()
            .unwrap()
            .get(&format!("{namespace}/{name}"))
            .cloned();
        Ok(Json(json!({
            "kind": "CaptureList", "apiVersion": "lastword.dev/v1alpha1", "metadata": {},
            "items": found.into_iter().collect::<Vec<_>>(),
        })))
    }
}

impl Scene {
    async fn new() -> Self {
        let objects = Arc::new(Objects::default());
        let (reads, captures) = (objects.clone(), objects.clone());
        let group = "/apis/lastword.dev/v1alpha1/namespaces/{namespace}";
        let app = Router::new()
            .route("/version", get(async || "{}"))
            .route(
                &format!("{group}/capturereads/{{name}}"),
                get(
                    async move |Path((namespace, name)): Path<(String, String)>| {
                        reads.read(&namespace, &name)
                    },
                ),
            )
            .route(
                &format!("{group}/captures"),
                get(
                    async move |Path(namespace): Path<String>, query: extract::RawQuery| {
                        captures.list(&namespace, &query.0.unwrap_or_default())
                    },
                ),
            );
        let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", api.local_addr().unwrap());
        tokio::spawn(server_of(api, app));

        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "c", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let options = connect::Options {
            kubeconfig: Some(kubeconfig),
            context: None,
        };
        let cluster = connect::connect(&options, Who::Agent).await.unwrap();
        let store = spool::StoreConfig {
            url: format!("file://{}", folder.path().join("store").display()),
            ..spool::StoreConfig::default()
        };
        let files = Files::new(
            Reading::new(cluster.client),
            folder.path().join("spool"),
            Some(Arc::new(Store::open(&store).unwrap())),
            Arc::new(Metrics::new()),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(files.clone().serve(listener));
        Self {
            objects,
            files,
            address,
            folder,
        }
    }

    /// A scene with a Capture shop/web-1 whose file is in the spool.
    async fn with_file(content: &[u8]) -> Self {
        let scene = Self::new().await;
        scene.capture("shop", "web-1", "Complete", false);
        scene.write("spool/captures/shop/web-1.lwcap", content);
        scene
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn capture(&self, namespace: &str, name: &str, phase: &str, uploaded: bool) {
        let mut capture = json!({
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"podName": "web"},
            "status": {"phase": phase},
        });
        if uploaded {
            capture["status"]["location"] = json!({"objectUrl": "file:///x"});
        }
        let place = format!("{namespace}/{name}");
        self.objects.captures.lock().unwrap().insert(place, capture);
    }

    /// Makes a CaptureRead in a namespace.
    fn prove(&self, namespace: &str, capture: &str) -> Proof {
        self.prove_with(namespace, capture, |_| ())
    }

    fn prove_with(&self, namespace: &str, capture: &str, change: impl FnOnce(&mut Value)) -> Proof {
        let proof = Proof::new().unwrap();
        let mut read = json!({
            "metadata": {
                "namespace": namespace, "name": proof.name(), "generation": 1,
                "creationTimestamp": ago(0),
            },
            "spec": {"captureName": capture, "secretSha256": proof.secret_sha256()},
        });
        change(&mut read);
        let place = format!("{namespace}/{}", proof.name());
        self.objects.reads.lock().unwrap().insert(place, read);
        proof
    }

    /// The answer to a request with this proof for the file of a Capture.
    async fn ask(&self, capture: &str, proof: &Proof) -> String {
        let authorization = format!("Authorization: Bearer {}\r\n", proof.text());
        self.send(capture, &authorization).await
    }

    async fn send(&self, capture: &str, headers: &str) -> String {
        let (namespace, name) = capture.split_once('/').unwrap();
        let part = match name.contains("/similar/") {
            true => "",
            false => "/file",
        };
        let path = format!("/api/v1/namespaces/{namespace}/captures/{name}{part}");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = request("GET", &path, headers, "");
        stream.write_all(&request).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// How often the metric counts this.
    fn count(&self, result: &str) -> u64 {
        let text = self.files.metrics.encode(&Status::default()).unwrap();
        let line = format!("lastword_file_requests_total{{result=\"{result}\"}} ");
        let found = text.lines().find_map(|it| it.strip_prefix(&line));
        found.map_or(0, |count| count.parse().unwrap())
    }
}

async fn server_of(listener: TcpListener, app: Router) {
    server::serve(listener, None, app, Limits::default()).await;
}

/// So many seconds ago, as the API server writes it.
fn ago(seconds: i64) -> String {
    let now = Timestamp::try_from(SystemTime::now()).unwrap();
    let then = Timestamp::from_second(now.as_second() - seconds).unwrap();
    then.to_string()
}

#[tokio::test]
async fn who_proves_it_gets_the_file() {
    let content = vec![b'x'; 300_000];
    let scene = Scene::with_file(&content).await;
    let proof = scene.prove("shop", "web-1");
    let answer = scene.ask("shop/web-1", &proof).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{}", &answer[..200]);
    assert!(answer.contains("content-length: 300000"));
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.as_bytes() == content);
    assert_eq!(scene.count("served"), 1);
}

#[tokio::test]
async fn a_file_that_is_only_uploaded_comes_from_the_store() {
    let scene = Scene::new().await;
    scene.capture("shop", "web-1", "Complete", true);
    scene.write("store/shop/web-1.lwcap", b"uploaded");
    let proof = scene.prove("shop", "web-1");
    let answer = scene.ask("shop/web-1", &proof).await;
    assert!(answer.ends_with("\r\n\r\nuploaded"), "{answer}");
    // Whoever got the name of a Capture that is gone, or has no upload, gets nothing from the store.
    scene.capture("shop", "web-1", "Complete", false);
    let answer = scene.ask("shop/web-1", &proof).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert_eq!(scene.count("no_file"), 1);
}

#[tokio::test]
async fn the_file_of_a_capture_may_have_another_name() {
    let scene = Scene::new().await;
    scene.capture("shop", "slot", "Complete", true);
    let of = |scene: &Scene, file: &str| {
        let mut captures = scene.objects.captures.lock().unwrap();
        captures.get_mut("shop/slot").unwrap()["status"]["file"] = json!(file);
    };
    of(&scene, "web-1");
    let proof = scene.prove("shop", "slot");
    scene.write("store/shop/web-1.lwcap", b"uploaded");
    let answer = scene.ask("shop/slot", &proof).await;
    assert!(answer.ends_with("\r\n\r\nuploaded"), "{answer}");
    scene.write("spool/captures/shop/web-1.lwcap", b"here");
    let answer = scene.ask("shop/slot", &proof).await;
    assert!(answer.ends_with("\r\n\r\nhere"), "{answer}");
    scene.write("spool/captures/bank/web-1.lwcap", b"secret words");
    of(&scene, "../bank/web-1");
    let answer = scene.ask("shop/slot", &proof).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn a_capture_gives_the_files_for_which_it_stands_and_no_others() {
    let scene = Scene::new().await;
    let mut entry = Entry::default();
    entry.info.owner = Some(spool::Owner::default());
    entry.info.fingerprint = Some("0123456789abcdef".to_owned());
    let fault = kubernetes::faults::Fault {
        owner: kubernetes::owner::Owner::default(),
        container: String::new(),
        fingerprint: "0123456789abcdef".to_owned(),
    };
    let slot = fault.slots().last().unwrap();
    scene.capture("shop", &slot, "Complete", false);
    let proof = scene.prove("shop", &slot);
    let write = |file: &str, entry: &Entry| {
        scene.write(&format!("spool/captures/shop/{file}.lwcap"), b"its words");
        let sidecar = serde_json::to_vec(entry).unwrap();
        scene.write(&format!("spool/captures/shop/{file}.json"), &sidecar);
    };
    let own = entry.clone();
    entry.state.similar = Some(spool::Similar::default());
    write("web-2", &entry);
    let ask = async |file: &str| {
        scene
            .ask(&format!("shop/{slot}/similar/{file}"), &proof)
            .await
    };
    let answer = ask("web-2").await;
    assert!(answer.ends_with("\r\n\r\nits words"), "{answer}");
    write("own", &own);
    let mut other = entry.clone();
    other.info.fingerprint = Some("fedcba9876543210".to_owned());
    write("other", &other);
    scene.write("spool/captures/bank/web-2.lwcap", b"its words");
    for strange in ["own", "other", "gone", "..%2Fbank%2Fweb-2"] {
        let answer = ask(strange).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{strange}: {answer}");
    }
}

#[tokio::test]
async fn nobody_gets_a_file_without_a_proof() {
    let scene = Scene::with_file(b"secret words").await;
    let proof = scene.prove("shop", "web-1");
    let (name, secret) = (proof.name(), "0".repeat(64));
    for headers in [
        String::new(),
        "Authorization: Bearer x\r\n".to_owned(),
        format!("Authorization: Basic {}\r\n", proof.text()),
        format!("Authorization: Bearer {name}\r\n"),
        format!("Authorization: Bearer ../captures/web-1.{secret}\r\n"),
        format!("Authorization: Bearer {}.{secret}\r\n", "a".repeat(254)),
    ] {
        let answer = scene.send("shop/web-1", &headers).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{headers} {answer}");
        assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
        assert!(answer.contains("kubectl lastword"), "{answer}");
    }
    assert_eq!(scene.objects.requests.load(Ordering::Relaxed), 0);
    assert_eq!(scene.count("no_proof"), 6);
}

#[tokio::test]
async fn a_wrong_secret_is_as_good_as_none() {
    let scene = Scene::with_file(b"secret words").await;
    let proof = scene.prove("shop", "web-1");
    let wrong = format!("{}.{}", proof.name(), "0".repeat(64));
    let wrong = scene
        .ask("shop/web-1", &Proof::parse(&wrong).unwrap())
        .await;
    let unknown = scene.ask("shop/web-1", &Proof::new().unwrap()).await;
    assert!(wrong.starts_with("HTTP/1.1 401"), "{wrong}");
    let (_, said) = wrong.split_once("\r\n\r\n").unwrap();
    assert!(
        unknown.ends_with(said),
        "strangers learn nothing: {unknown}"
    );
    assert_eq!(scene.count("unknown_proof"), 2);
}

#[tokio::test]
async fn a_right_in_one_namespace_is_none_in_another() {
    let scene = Scene::with_file(b"secret words").await;
    // A tenant makes a CaptureRead of their own namespace that names somebody else's Capture.
    let proof = scene.prove("mine", "web-1");
    let answer = scene.ask("shop/web-1", &proof).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let answer = scene.ask("mine/web-1", &proof).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    for strange in [
        "mine/..%2Fshop%2Fweb-1",
        "mine%2F..%2Fshop/web-1",
        "mine/web-1%3Fx",
    ] {
        let answer = scene.ask(strange, &proof).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(!answer.contains("secret words"));
    }
    assert_eq!(scene.count("no_capture"), 4);
}

#[tokio::test]
async fn a_proof_is_for_one_capture_and_five_minutes() {
    let scene = Scene::with_file(b"secret words").await;
    scene.capture("shop", "web-2", "Complete", false);
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 4] = [
        ("another Capture", |it| {
            it["spec"]["captureName"] = json!("web-2")
        }),
        ("five minutes", |it| {
            it["metadata"]["creationTimestamp"] = json!(ago(300))
        }),
        ("was changed", |it| it["metadata"]["generation"] = json!(2)),
        ("being deleted", |it| {
            it["metadata"]["deletionTimestamp"] = json!(ago(0))
        }),
    ];
    for (says, change) in changes {
        let proof = scene.prove_with("shop", "web-1", change);
        let answer = scene.ask("shop/web-1", &proof).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(
            answer.contains(says) && answer.contains("make a new one"),
            "{answer}"
        );
    }
    assert_eq!(scene.count("unfit_proof"), 4);
}

#[tokio::test]
async fn a_capture_without_a_file_says_so() {
    let scene = Scene::new().await;
    scene.capture("shop", "web-1", "Capturing", false);
    let proof = scene.prove("shop", "web-1");
    let answer = scene.ask("shop/web-1", &proof).await;
    assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
    assert!(answer.contains("wait until it is Complete"), "{answer}");

    scene.capture("shop", "web-1", "Complete", false);
    let answer = scene.ask("shop/web-1", &proof).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("ask the agent of the node"), "{answer}");

    // The file of a Capture that is gone is nobody's.
    scene.write("spool/captures/shop/web-1.lwcap", b"secret words");
    scene.objects.captures.lock().unwrap().clear();
    let answer = scene.ask("shop/web-1", &proof).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("no Capture of this name"), "{answer}");
}

#[tokio::test]
async fn an_agent_that_cannot_ask_serves_nothing() {
    let scene = Scene::with_file(b"secret words").await;
    let proof = scene.prove("shop", "web-1");
    let rbac = "User \"system:serviceaccount:lastword:lastword-agent\" cannot get resource \"capturereads\"";
    for (code, message, says) in [
        (500, "etcd", "API server is away"),
        (403, rbac, "ClusterRole lastword-agent"),
    ] {
        *scene.objects.trouble.lock().unwrap() = Some((code, message.to_owned()));
        let answer = scene.ask("shop/web-1", &proof).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("retry-after"), "{answer}");
        assert!(answer.contains(says), "{answer}");
    }
    assert_eq!(scene.count("unavailable"), 2);
}

#[tokio::test]
async fn four_files_at_once_and_no_more() {
    let scene = Scene::with_file(&vec![b'x'; 64 << 20]).await;
    let proof = scene.prove("shop", "web-1");
    let mut slow = Vec::new();
    for _ in 0..FILES {
        let mut stream = TcpStream::connect(scene.address).await.unwrap();
        let path = "/api/v1/namespaces/shop/captures/web-1/file";
        let authorization = format!("Authorization: Bearer {}\r\n", proof.text());
        let request = request("GET", path, &authorization, "");
        stream.write_all(&request).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        slow.push(stream);
    }
    assert_eq!(scene.files.turns.available_permits(), 0);
    let fifth = scene.files.clone();
    let keep = Keep::default();
    let mut headers = HeaderMap::new();
    let bearer = format!("Bearer {}", proof.text()).parse().unwrap();
    headers.insert(header::AUTHORIZATION, bearer);
    tokio::time::pause();
    let open = fifth.open("shop".to_owned(), "web-1".to_owned(), None, &headers, &keep);
    let refusal = open.await.err().expect("no turn is free");
    tokio::time::resume();
    assert_eq!(refusal.kind(), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
    drop(slow.pop());
    let again = scene
        .files
        .open("shop".to_owned(), "web-1".to_owned(), None, &headers, &keep);
    assert!(again.await.is_ok());
}

#[tokio::test]
async fn a_flood_asks_the_api_server_sixteen_times_a_second_at_most() {
    let scene = Scene::new().await;
    let capture = CaptureId::new("shop".to_owned(), "web-1".to_owned()).unwrap();
    let start = Instant::now();
    for number in 0..40 {
        let proof = Proof::new().unwrap();
        let check = scene.files.check(&capture, &proof);
        // Some wait for the answer, most go away at once.
        let patience = if number < 6 {
            CHECK_PACE
        } else {
            Duration::from_millis(5)
        };
        let _ = timeout(patience, check).await;
    }
    let rounds = start.elapsed().as_millis() / CHECK_PACE.as_millis();
    let most = CHECKS * (1 + usize::try_from(rounds).unwrap());
    let asked = scene.objects.requests.load(Ordering::Relaxed);
    assert!(asked >= CHECKS && asked <= most, "{asked} of {most}");
}

/// What is logged in this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_says_what_was_read_by_which_object_and_never_a_secret() {
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || lines.clone())
        .finish();
    // As long as there is only one subscriber, tracing asks the thread that comes to a line first whether anybody wants
    // it, and the thread of another test has none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let scene = Scene::with_file(b"words").await;
    let (mine, proof) = (scene.prove("mine", "web-1"), scene.prove("shop", "web-1"));
    let refused = scene.ask("shop/web-1", &mine).await;
    assert!(scene.ask("shop/web-1", &proof).await.ends_with("words"));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let served = log.lines().find(|line| line.contains("a file was read"));
    let served = served.expect("an audit line");
    for said in ["shop/web-1", proof.name(), "bytes=5", "served"] {
        assert!(served.contains(said), "{said}: {served}");
    }
    assert!(log.contains("unknown_proof"), "{log}");
    for proof in [mine, proof] {
        let text = proof.text();
        let (_, secret) = text.rsplit_once('.').unwrap();
        assert!(!log.contains(secret) && !refused.contains(secret));
    }
}
