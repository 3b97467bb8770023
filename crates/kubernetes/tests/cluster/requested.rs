use futures::StreamExt as _;
use kube::api::PostParams;
use kubernetes::{
    Health, Who,
    capture::{Capture, CaptureSpec, Phase},
    captures::{self, Captures, Notice, Offer},
    fetch,
};
use tokio::time::timeout;

use crate::scene::{PATIENCE, Scene};

fn spec(pod: &str) -> CaptureSpec {
    CaptureSpec {
        pod_name: pod.to_owned(),
        ..CaptureSpec::default()
    }
}

fn captures(scene: &Scene, node: &str) -> Captures {
    let day = std::time::Duration::from_secs(24 * 3600);
    Captures::new(scene.client.clone(), node, day, Health::new())
}

async fn offer(captures: &Captures, name: &str) -> Offer {
    let mut notices = captures.notices();
    timeout(PATIENCE, async {
        loop {
            match notices.next().await.unwrap() {
                Notice::Offered(offer) if offer.name == name => return offer,
                _ => {}
            }
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
#[ignore = "needs a cluster: cargo test -p kubernetes --test cluster -- --ignored"]
async fn of_several_agents_one_takes_it_and_the_next_start_of_that_one_takes_it_once_more() {
    let scene = Scene::new("take").await;
    scene
        .pod("web", "main", serde_json::json!({}), "sleep 600")
        .await;
    let create = || {
        captures::create(
            &scene.client,
            Who::User,
            &scene.namespace,
            "wanted",
            spec("web"),
        )
    };
    assert!(create().await.unwrap());
    assert!(
        !create().await.unwrap(),
        "a second request of that name makes no second one"
    );

    // These nodes do not exist, so an agent of this cluster does not interfere.
    let (here, there) = (captures(&scene, "nowhere-1"), captures(&scene, "nowhere-2"));
    let (offered, also) = (offer(&here, "wanted").await, offer(&there, "wanted").await);
    assert_eq!(offered.spec.trigger.kind, "manual");
    let taken = here.claim(&offered).await.unwrap().unwrap();
    assert_eq!(there.claim(&also).await.unwrap(), None);
    assert_eq!(
        here.claim(&offered).await.unwrap(),
        None,
        "the offer is used up"
    );
    let seen = scene.captures().get("wanted").await.unwrap();
    assert_eq!(seen.status.unwrap(), taken.status);

    let again = offer(&captures(&scene, "nowhere-1"), "wanted").await;
    assert_eq!(again.attempts, 1);
    let taken = here.claim(&again).await.unwrap().unwrap();
    here.fail(taken, "NothingRecorded", "no run of it was recorded")
        .await
        .unwrap();
    let seen = scene
        .captures()
        .get("wanted")
        .await
        .unwrap()
        .status
        .unwrap();
    assert_eq!((seen.phase, seen.attempts), (Phase::Failed, Some(2)));
    assert_eq!(seen.message.unwrap(), "no run of it was recorded");
    assert!(seen.finished_at.is_some());
    scene.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster: cargo test -p kubernetes --test cluster -- --ignored"]
async fn one_for_a_pod_that_is_not_there_fails() {
    let scene = Scene::new("orphan").await;
    let mut orphan = spec("nobody");
    orphan.ttl = Some("5s".to_owned());
    captures::create(&scene.client, Who::User, &scene.namespace, "orphan", orphan)
        .await
        .unwrap();
    let (one, two) = (captures(&scene, "nowhere-1"), captures(&scene, "nowhere-2"));
    let run = async |captures: &Captures| captures.notices().for_each(async |_| {}).await;
    let failed = fetch::wait(&scene.client, &scene.namespace, "orphan", PATIENCE);
    let failed = tokio::select! {
        () = run(&one) => unreachable!(),
        () = run(&two) => unreachable!(),
        failed = failed => failed.unwrap(),
    };
    let read = fetch::read(
        &scene.client,
        &failed,
        None,
        None,
        &mut Vec::new(),
        std::future::pending(),
    )
    .await;
    let message = read.unwrap_err().to_string();
    assert!(message.contains("is Failed: pod"), "{message}");
    let status = failed.status.unwrap();
    let expected = format!("pod {}/nobody not found", scene.namespace);
    assert_eq!(
        (status.phase, status.message),
        (Phase::Failed, Some(expected))
    );
    scene.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster: cargo test -p kubernetes --test cluster -- --ignored"]
async fn finished_ones_of_this_node_are_deleted_when_their_time_is_over() {
    let scene = Scene::new("expire").await;
    scene
        .pod("web", "main", serde_json::json!({}), "sleep 600")
        .await;
    let mut short = spec("web");
    short.ttl = Some("2s".to_owned());
    captures::create(&scene.client, Who::User, &scene.namespace, "short", short)
        .await
        .unwrap();
    let here = captures(&scene, "nowhere-1");
    let taken = here
        .claim(&offer(&here, "short").await)
        .await
        .unwrap()
        .unwrap();
    here.fail(taken, "NothingRecorded", "no run of it was recorded")
        .await
        .unwrap();
    let told = Notice::Deleted {
        namespace: scene.namespace.clone(),
        name: "short".to_owned(),
    };
    let is_it = here
        .notices()
        .any(|notice| std::future::ready(notice == told));
    assert!(timeout(PATIENCE, is_it).await.unwrap());
    let gone = |capture: Option<&Capture>| capture.is_none();
    let waited = kube::runtime::wait::await_condition(scene.captures(), "short", gone);
    timeout(PATIENCE, waited).await.unwrap().unwrap();
    scene.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster: cargo test -p kubernetes --test cluster -- --ignored"]
async fn the_api_server_refuses_a_spec_that_makes_no_sense() {
    let scene = Scene::new("invalid").await;
    let mut wrong = spec("web");
    wrong.ttl = Some("a week".to_owned());
    for (spec, field) in [(spec(""), "podName"), (wrong, "ttl")] {
        let capture = Capture::new("wrong", spec);
        let refused = scene
            .captures()
            .create(&PostParams::default(), &capture)
            .await;
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(field), "{message}");
    }
    scene.end().await;
}
