use super::*;
use crate::cri::State;

const POD: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn id(number: u32) -> String {
    format!("{number:064x}")
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    (pairs.iter())
        .map(|&(name, value)| (name.into(), value.into()))
        .collect()
}

fn in_runtime(number: u32, name: &str, attempt: u32) -> cri::Container {
    cri::Container {
        id: id(number),
        pod_uid: POD.into(),
        namespace: "shop".into(),
        pod_name: "web-1".into(),
        name: name.into(),
        attempt,
        state: State::Running,
        created_at: Some(1),
        image: "sha256:1234".into(),
        image_id: "nginx@sha256:5678".into(),
    }
}

fn sandbox(number: u32) -> cri::Sandbox {
    cri::Sandbox {
        id: id(number),
        pod_uid: POD.into(),
        namespace: "shop".into(),
        pod_name: "web-1".into(),
        ready: true,
        labels: map(&[("app", "web"), ("stage", "old")]),
        annotations: map(&[("lastword.dev/capture", "off")]),
    }
}

fn status(
    name: &str,
    restart_count: u32,
    current: Option<u32>,
    previous: Option<u32>,
) -> ContainerSighting {
    ContainerSighting {
        name: name.into(),
        kind: Kind::App,
        image: "nginx:1".into(),
        image_id: "nginx@sha256:9999".into(),
        restart_count,
        current: current.map(id),
        previous: previous.map(id),
    }
}

fn pod(containers: Vec<ContainerSighting>) -> PodSighting {
    PodSighting {
        uid: POD.into(),
        mirror: None,
        namespace: "shop".into(),
        name: "web-1".into(),
        labels: map(&[("app", "web"), ("stage", "new")]),
        annotations: map(&[("lastword.dev/trigger", "oom"), ("other/secret", "x")]),
        containers,
    }
}

#[test]
fn names_a_container_by_the_runtime_alone() {
    let mut directory = Directory::default();
    assert_eq!(directory.container(&id(1)), None);
    directory.saw_cri(&[sandbox(9)], &[in_runtime(1, "nginx", 4)], at(0));

    let found = directory.container(&id(1)).unwrap();
    assert_eq!(
        (found.name.as_str(), found.run(), found.kind),
        ("nginx", 5, None)
    );
    assert_eq!(found.image, "sha256:1234");
    assert_eq!(found.pod.namespace, "shop");
    assert_eq!(found.pod.name, "web-1");
    assert_eq!(found.pod.labels, map(&[("app", "web"), ("stage", "old")]));
    assert_eq!(
        found.pod.annotations,
        map(&[("lastword.dev/capture", "off")])
    );
    assert_eq!(found.pod.api_uid, None);
}

#[test]
fn names_a_container_by_the_api_server_alone_and_its_previous_run_too() {
    let mut directory = Directory::default();
    directory.saw_pod(&pod(vec![status("nginx", 4, Some(2), Some(1))]), at(0));

    let current = directory.container(&id(2)).unwrap();
    assert_eq!((current.run(), current.kind), (5, Some(Kind::App)));
    assert_eq!(current.image, "nginx:1");
    assert_eq!(current.image_id, "nginx@sha256:9999");
    assert_eq!(
        current.pod.annotations,
        map(&[("lastword.dev/trigger", "oom")])
    );
    let previous = directory.container(&id(1)).unwrap();
    assert_eq!(previous.run(), 4);
    assert_eq!(
        previous.image_id, "",
        "only that of the current run is known"
    );

    // waiting for the next start, both are the one that ended
    directory.saw_pod(&pod(vec![status("nginx", 5, Some(3), Some(3))]), at(1));
    assert_eq!(directory.container(&id(3)).unwrap().run(), 6);
    // after a reboot there is no current one yet
    directory.saw_pod(&pod(vec![status("nginx", 7, None, Some(4))]), at(2));
    assert_eq!(directory.container(&id(4)).unwrap().run(), 8);
}

#[test]
fn takes_labels_from_the_sandbox_that_is_in_use() {
    let mut directory = Directory::default();
    let mut left_behind = sandbox(8);
    left_behind.ready = false;
    left_behind.labels = map(&[("stage", "older")]);
    let sandboxes = [left_behind.clone(), sandbox(9), left_behind];
    directory.saw_cri(&sandboxes, &[], at(0));
    assert_eq!(directory.pod(POD).unwrap().labels["stage"], "old");
    assert!(directory.is_sandbox(&id(8)));
}

#[test]
fn believes_each_side_in_what_it_knows_better_whichever_came_first() {
    let mut expected = Vec::new();
    for runtime_first in [true, false] {
        let mut directory = Directory::default();
        let runtime = |directory: &mut Directory| {
            directory.saw_cri(&[sandbox(9)], &[in_runtime(1, "nginx", 7)], at(0));
        };
        if runtime_first {
            runtime(&mut directory);
        }
        directory.saw_pod(&pod(vec![status("nginx", 0, Some(1), None)]), at(0));
        if !runtime_first {
            runtime(&mut directory);
        }
        let found = directory.container(&id(1)).unwrap();
        assert_eq!(found.attempt, 7);
        assert_eq!(found.image, "nginx:1");
        assert_eq!(found.image_id, "nginx@sha256:5678");
        assert_eq!(found.kind, Some(Kind::App));
        assert_eq!(found.pod.labels["stage"], "new");
        expected.push(found);
    }
    assert_eq!(expected[0], expected[1]);
}

#[test]
fn keeps_the_image_of_a_run_when_the_specification_has_changed_since() {
    let mut directory = Directory::default();
    let mut container = in_runtime(1, "nginx", 0);
    container.image = "nginx:0".into();
    directory.saw_container(&container, at(0));
    directory.saw_pod(&pod(vec![status("nginx", 1, Some(2), Some(1))]), at(0));
    assert_eq!(directory.container(&id(1)).unwrap().image, "nginx:0");
    assert_eq!(directory.container(&id(2)).unwrap().image, "nginx:1");
}

#[test]
fn tells_kinds_of_containers_apart() {
    let mut directory = Directory::default();
    let kinds = [Kind::Init, Kind::Sidecar, Kind::App, Kind::Ephemeral];
    let containers = (1..).zip(kinds).map(|(number, kind)| ContainerSighting {
        kind,
        ..status(&format!("{kind:?}"), 0, Some(number), None)
    });
    directory.saw_pod(&pod(containers.collect()), at(0));
    for (number, kind) in (1..).zip(kinds) {
        let found = directory.container(&id(number)).unwrap();
        assert_eq!(found.kind, Some(kind));
    }
    // the runtime knows of the next one first
    directory.saw_container(&in_runtime(7, "Sidecar", 1), at(0));
    let next = directory.container(&id(7)).unwrap();
    assert_eq!(next.kind, Some(Kind::Sidecar));
}

#[test]
fn tells_sandboxes_from_containers() {
    let mut directory = Directory::default();
    directory.saw_cri(&[sandbox(9)], &[in_runtime(1, "nginx", 0)], at(0));
    assert!(directory.is_sandbox(&id(9)));
    assert!(!directory.is_sandbox(&id(1)));
    assert_eq!(directory.container(&id(9)), None);
}

#[test]
fn takes_a_static_pod_and_its_mirror_for_one() {
    const HASH: &str = "2b4e6f8091a2b3c4d5e6f708192a3b4c";
    let mut directory = Directory::default();
    let mut container = in_runtime(1, "etcd", 0);
    container.pod_uid = HASH.into();
    directory.saw_container(&container, at(0));
    let mut mirror = pod(vec![status("etcd", 0, Some(1), None)]);
    mirror.mirror = Some(HASH.into());
    directory.saw_pod(&mirror, at(1));

    let found = directory.container(&id(1)).unwrap();
    assert_eq!(found.pod.uid, HASH);
    assert_eq!(found.pod.api_uid.as_deref(), Some(POD));
    assert_eq!(directory.pod(HASH).unwrap().name, "web-1");
    assert_eq!(directory.pod(POD), None);

    // The mirror pod may be deleted; that does not end the pod.
    directory.pod_deleted(POD, at(2));
    directory.expire(at(100_000));
    assert!(directory.container(&id(1)).is_some());
}

#[test]
fn names_containers_after_they_are_gone_for_a_while() {
    let mut directory = Directory::default();
    directory.saw_cri(&[sandbox(9)], &[in_runtime(1, "nginx", 0)], at(0));
    directory.saw_pod(&pod(vec![status("nginx", 0, Some(1), None)]), at(0));
    let keep = Limits::default().keep;

    // one side is not enough
    directory.saw_cri(&[], &[], at(10));
    directory.expire(at(10) + keep);
    assert!(directory.container(&id(1)).is_some());

    directory.pod_deleted(POD, at(20));
    directory.expire(at(20) + keep - SECOND);
    assert!(directory.container(&id(1)).is_some());
}

#[test]
fn forgets_what_both_sides_have_no_more() {
    let mut directory = Directory::default();
    directory.saw_cri(&[sandbox(9)], &[in_runtime(1, "nginx", 0)], at(0));
    directory.saw_pod(&pod(vec![status("nginx", 0, Some(1), None)]), at(0));
    let keep = Limits::default().keep;
    directory.pod_deleted(POD, at(10));
    directory.saw_cri(&[], &[], at(20));
    directory.expire(at(20) + keep);
    assert_eq!(directory.container(&id(1)), None);
    assert!(!directory.is_sandbox(&id(9)));
    assert_eq!(directory.pod(POD), None);
    assert_eq!(directory.len(), 0);
    assert_eq!(directory.given_up(), 0);
}

#[test]
fn forgets_old_runs_of_a_pod_that_lives() {
    let mut directory = Directory::default();
    let keep = Limits::default().keep;
    for run in 0..1_000 {
        let now = at(u64::from(run) * 100);
        directory.saw_cri(&[sandbox(9_999)], &[in_runtime(run, "nginx", run)], now);
        let previous = run.checked_sub(1);
        directory.saw_pod(&pod(vec![status("nginx", run, Some(run), previous)]), now);
        directory.expire(now);
    }
    let kept = keep.as_secs() as usize / 100;
    assert!(directory.containers().count() <= kept + 2);
    assert_eq!(directory.container(&id(999)).unwrap().run(), 1_000);
    assert_eq!(directory.container(&id(990)).unwrap().run(), 991);
    assert_eq!(directory.container(&id(1)), None);
}

#[test]
fn never_holds_more_than_its_limits_and_gives_up_what_is_gone_first() {
    let limits = Limits {
        containers: 800,
        pods: 80,
        ..Limits::default()
    };
    let mut directory = Directory::new(limits);
    let live = pod(vec![status("live", 0, Some(999_999), None)]);
    directory.saw_pod(&live, at(0));
    for number in 0..10_000 {
        let mut container = in_runtime(number, "nginx", 0);
        container.pod_uid = format!("{:08x}-0000-4000-8000-000000000000", number / 10);
        let now = at(1 + u64::from(number));
        directory.saw_container(&container, now);
        assert!(directory.containers.len() <= 800);
        assert!(directory.pods.len() <= 80);
        if number % 10 == 9 {
            directory.saw_cri(&[], &[], now);
        }
    }
    assert!(directory.container(&id(9_999)).is_some());
    assert!(
        directory.container(&id(999_999)).is_some(),
        "the one that lives"
    );
    assert!(directory.given_up() > 9_000);
    for entry in directory.containers.values() {
        assert!(directory.pods.contains_key(&entry.pod_uid));
    }
}

#[test]
fn bounds_what_a_pod_can_make_it_keep_and_says_so() {
    let mut directory = Directory::default();
    let mut large = pod(vec![]);
    large.labels = (0..1_000)
        .map(|number| (format!("label-{number:03}"), "v".repeat(63)))
        .collect();
    large.containers = vec![status("nginx", 0, Some(1), None)];
    large.containers[0].image = "é".repeat(100_001);
    directory.saw_pod(&large, at(0));
    assert_eq!(directory.container(&id(1)).unwrap().image.len(), MAX_IMAGE);
    let known = directory.pod(POD).unwrap();
    assert!(known.labels_cut);
    assert_eq!(known.labels.len(), MAX_LABELS / (9 + 63));
    assert!(known.labels.contains_key("label-000"));
    directory.saw_pod(&pod(vec![]), at(0));
    assert!(!directory.pod(POD).unwrap().labels_cut);
}

#[test]
fn leaves_out_what_kubelet_did_not_make_and_ids_that_are_none() {
    let mut directory = Directory::default();
    let mut by_hand = in_runtime(1, "debug", 0);
    by_hand.pod_uid.clear();
    directory.saw_container(&by_hand, at(0));
    let mut odd = in_runtime(2, "odd", 0);
    odd.id = "x".repeat(100_000);
    directory.saw_cri(&[], &[odd], at(0));
    let mut short = status("short", 0, None, None);
    short.current = Some("abc".into());
    directory.saw_pod(&pod(vec![short]), at(0));
    assert_eq!(directory.containers().count(), 0);
}
