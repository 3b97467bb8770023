use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Namespace};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use kubernetes::{
    Error, Health, Retry, Who,
    announce::{Announcement, Announcer, Object},
    capture::{CaptureSpec, CaptureStatus, Location, Phase, Trigger},
    events,
    pods::ContainerKind,
};

use crate::scene::Scene;

const NAME: &str = "web-main-1";
const VERDICT: &str = "web exited 1, 41 ms after start: DNS says no such host \"flask\"";

fn announcement(scene: &Scene, uid: &str) -> Announcement {
    Announcement {
        namespace: scene.namespace.clone(),
        object: Object::Named(NAME.to_owned()),
        spec: CaptureSpec {
            pod_name: "web".to_owned(),
            pod_uid: Some(uid.to_owned()),
            container: Some("main".to_owned()),
            trigger: Trigger {
                kind: "restarts".to_owned(),
                detail: Some("more than 4 restarts in 2 min".to_owned()),
            },
            ..CaptureSpec::default()
        },
        status: CaptureStatus {
            phase: Phase::Complete,
            node: Some("node-1".to_owned()),
            pod_uid: Some(uid.to_owned()),
            container: Some("main".to_owned()),
            verdict: Some(VERDICT.to_owned()),
            cause: Some("dns_no_such_host".to_owned()),
            confidence: Some(90),
            runs: Some(3),
            size_bytes: Some(4321),
            ..CaptureStatus::default()
        },
        kind: ContainerKind::App,
        ended: Timestamp::now(),
        recurred: None,
        fault: None,
    }
}

#[tokio::test]
#[ignore = "needs a cluster: cargo test -p kubernetes --test cluster -- --ignored"]
async fn announcing_again_changes_nothing_and_a_better_verdict_takes_the_place_of_the_former() {
    let scene = Scene::new("announce").await;
    let uid = scene
        .pod("web", "main", serde_json::json!({}), "sleep 600")
        .await;
    let health = Health::new();
    let announcer = Announcer::new(scene.client.clone(), "node-1", health.clone());
    let mut announcement = announcement(&scene, &uid);
    announcer.announce(&announcement).await.unwrap();
    let first = scene.captures().get(NAME).await.unwrap();
    assert_eq!(first.spec, announcement.spec);
    assert_eq!(first.status.as_ref(), Some(&announcement.status));
    assert!(health.subscribe().borrow().is_up());

    // This is like another agent process: nothing is remembered except in the cluster.
    let restarted = Announcer::new(scene.client.clone(), "node-1", Health::new());
    restarted.announce(&announcement).await.unwrap();
    let second = scene.captures().get(NAME).await.unwrap();
    assert_eq!(
        first.metadata.resource_version,
        second.metadata.resource_version
    );

    announcement.object = Object::Existing(NAME.to_owned());
    announcement.status.verdict = Some("web exited 1: better".to_owned());
    announcement.status.confidence = None;
    announcement.status.location = Some(Location {
        node_path: None,
        object_url: Some("s3://bucket/key".to_owned()),
    });
    announcer.announce(&announcement).await.unwrap();
    let third = scene.captures().get(NAME).await.unwrap();
    assert_eq!(third.spec, announcement.spec);
    assert_eq!(third.status.as_ref(), Some(&announcement.status));

    let said: Vec<_> = events::of_pod(&scene.client, Who::Agent, &scene.namespace, &uid)
        .await
        .unwrap()
        .into_iter()
        .filter(|event| event.reason == "LastWords")
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].message, "web exited 1: better");
    assert_eq!(said[0].field_path, "spec.containers{main}");
    assert_eq!(
        (said[0].warning, said[0].source.as_str()),
        (true, "lastword")
    );
    assert!(said[0].last.is_some());
    scene.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster: cargo test -p kubernetes --test cluster -- --ignored"]
async fn the_event_comes_after_the_pod_is_gone_and_nothing_is_made_again_that_was_deleted() {
    let scene = Scene::new("gone").await;
    let announcer = Announcer::new(scene.client.clone(), "node-1", Health::new());
    let mut announcement = announcement(&scene, "11111111-2222-3333-4444-555555555555");
    announcement.status.verdict = Some("ä".repeat(5000));
    announcer.announce(&announcement).await.unwrap();
    let api: Api<Event> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let listed = api.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(listed.len(), 1);
    assert!(listed[0].message.as_ref().unwrap().len() <= 1024);

    scene
        .captures()
        .delete(NAME, &DeleteParams::default())
        .await
        .unwrap();
    announcement.object = Object::Existing(NAME.to_owned());
    let error = announcer.announce(&announcement).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);

    // A finalizer keeps the namespace in deletion while the announcement is made.
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    namespaces
        .delete(&scene.namespace, &DeleteParams::default())
        .await
        .unwrap();
    announcement.object = Object::Named("web-main-2".to_owned());
    announcement.status.cause = Some("other".to_owned());
    let error = announcer.announce(&announcement).await.unwrap_err();
    assert!(matches!(error, Error::NamespaceGone(_)), "{error:?}");
    assert!(error.to_string().contains(&scene.namespace), "{error}");
}
