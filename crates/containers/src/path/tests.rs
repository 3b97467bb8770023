use super::*;

const ID: &str = "3f2a9c0b7d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8";
const NODE: &str = "a0b1c2d3e4f5061728394a5b6c7d8e9fa0b1c2d3e4f5061728394a5b6c7d8e9f";
const UID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
const HASH: &str = "2b4e6f8091a2b3c4d5e6f708192a3b4c";

/// Replaces `ID`, `NODE`, `UXX` (the UID), `U_X` (with underscores) and `HASH` by the constants.
fn path(pattern: &str) -> String {
    pattern
        .replace("NODE", NODE)
        .replace("ID", ID)
        .replace("UXX", UID)
        .replace("U_X", &UID.replace('-', "_"))
        .replace("HASH", HASH)
}

#[test]
fn finds_the_container_in_paths_of_every_runtime_and_driver() {
    use Runtime::{Containerd, CriO, Docker, Podman};
    let pod = Some(UID);
    let hash = Some(HASH);
    #[rustfmt::skip]
    let table: &[(&str, Option<Runtime>, Option<&str>)] = &[
        // containerd, systemd driver, each QoS class
        ("/kubepods.slice/kubepods-podU_X.slice/cri-containerd-ID.scope", Some(Containerd), pod),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_X.slice/cri-containerd-ID.scope", Some(Containerd), pod),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_X.slice/cri-containerd-ID.scope", Some(Containerd), pod),
        // cgroupfs driver: the name does not show whether it is containerd or cri-dockerd
        ("/kubepods/podUXX/ID", None, pod),
        ("/kubepods/burstable/podUXX/ID", None, pod),
        ("/kubepods/besteffort/podUXX/ID", None, pod),
        // static pods
        ("/kubepods/burstable/podHASH/ID", None, hash),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podHASH.slice/cri-containerd-ID.scope", Some(Containerd), hash),
        // kubelet and containerd use different drivers
        ("/system.slice/containerd.service/kubepods-burstable-podU_X.slice:cri-containerd:ID", Some(Containerd), pod),
        ("/kubepods-podHASH.slice:cri-containerd:ID", Some(Containerd), hash),
        // CRI-O, with runc and with crun
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_X.slice/crio-ID.scope", Some(CriO), pod),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_X.slice/crio-ID.scope/container", Some(CriO), pod),
        ("/kubepods/burstable/podUXX/crio-ID", Some(CriO), pod),
        // Docker, cri-dockerd
        ("/system.slice/docker-ID.scope", Some(Docker), None),
        ("/docker/ID", Some(Docker), None),
        ("/docker/ID/init.scope", Some(Docker), None),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", Some(Docker), None),
        ("/kubepods.slice/kubepods-podU_X.slice/docker-ID.scope", Some(Docker), pod),
        ("/ecs/0123456789abcdef0123456789abcdef/ID", None, None),
        // podman
        ("/machine.slice/libpod-ID.scope", Some(Podman), None),
        ("/machine.slice/libpod-ID.scope/container", Some(Podman), None),
        ("/machine.slice/machine-libpod_pod_NODE.slice/libpod-ID.scope/container", Some(Podman), None),
        ("/libpod_parent/libpod-ID", Some(Podman), None),
        ("/libpod_parent/NODE/libpod-ID", Some(Podman), None),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container", Some(Podman), None),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_NODE.slice/libpod-ID.scope", Some(Podman), None),
        ("/system.slice/web.service/libpod-payload-ID", Some(Podman), None),
        // nerdctl
        ("/system.slice/nerdctl-ID.scope", Some(Containerd), None),
        ("/default/ID", None, None),
        // kubelet --cgroup-root, both drivers
        ("/tenant/kubepods/burstable/podUXX/ID", None, pod),
        (r"/tenant.slice/tenant-kubepods.slice/tenant-kubepods-burstable.slice/tenant-kubepods-burstable-podU_X.slice/cri-containerd-ID.scope", Some(Containerd), pod),
        // a node that is itself a container: kind, minikube
        ("/docker/NODE/kubelet/kubepods/besteffort/podUXX/ID", None, pod),
        ("/system.slice/docker-NODE.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-podU_X.slice/cri-containerd-ID.scope", Some(Containerd), pod),
        ("/machine.slice/libpod-NODE.scope/container/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_X.slice/cri-containerd-ID.scope", Some(Containerd), pod),
        ("/system.slice/docker-NODE.scope/kubepods.slice/kubepods-podU_X.slice/docker-ID.scope", Some(Docker), pod),
        // k3s, as root and rootless
        ("/system.slice/k3s.service/kubepods/burstable/podUXX/ID", None, pod),
        ("/user.slice/user-1000.slice/user@1000.service/k3s-rootless.service/kubepods/besteffort/podUXX/ID", None, pod),
        // cgroups made inside the container
        ("/kubepods.slice/kubepods-podU_X.slice/cri-containerd-ID.scope/init.scope", Some(Containerd), pod),
        ("/kubepods.slice/kubepods-podU_X.slice/cri-containerd-ID.scope/system.slice/sshd.service", Some(Containerd), pod),
        ("/kubepods/podUXX/ID/a/b/c", None, pod),
        // Docker inside a pod: its containers do not belong to the pod
        ("/kubepods/podUXX/NODE/docker/ID", Some(Docker), None),
        // other ways to write it
        ("kubepods/podUXX/ID/", None, pod),
        ("/ID", None, None),
    ];
    for &(pattern, runtime, pod_uid) in table {
        let expected = CgroupPath {
            runtime,
            container: ID.into(),
            pod_uid: pod_uid.map(Into::into),
        };
        assert_eq!(parse(&path(pattern)), Some(expected), "{pattern}");
    }
}

#[test]
fn takes_nothing_else_for_a_container() {
    for pattern in [
        "",
        "/",
        "/init.scope",
        "/kubepods",
        "/kubepods/burstable/podUXX",
        "/kubepods.slice/kubepods-podU_X.slice",
        "/system.slice/containerd.service",
        // monitors
        "/machine.slice/libpod-conmon-ID.scope",
        "/kubepods.slice/kubepods-podU_X.slice/crio-conmon-ID.scope",
        "/kubepods/podUXX/crio-conmon-ID",
        "/libpod_parent/conmon",
        // podman's pods
        "/machine.slice/machine-libpod_pod_ID.slice",
        "/libpod_parent/ID",
        // not an id
        "/docker/IDa",
        "/docker/buildkit/xq3vd1vjbc6e3iyzoqv2zx5sa",
        "/kubepods-podU_X.slice:cri-containerd:short",
        "/machine.slice/libpod-ID.slice",
        "/system.slice/other-ID.scope",
    ] {
        assert_eq!(parse(&path(pattern)), None, "{pattern}");
    }
    assert_eq!(parse(&format!("/docker/{}", ID.to_uppercase())), None);
}

#[test]
fn a_cgroup_inside_a_container_is_not_the_containers_own() {
    let own = |pattern| parse_own(&path(pattern)).is_some();
    assert!(own("/ID"));
    assert!(own("/kubepods/podUXX/ID"));
    assert!(own("/docker/ID/docker/ID"));
    for pattern in [
        "/docker/ID/init.scope",
        "/docker/ID/docker-ID.slice",
        "/docker/ID/ID.scope.d",
        "/libpod_parent/ID",
        "",
    ] {
        assert!(!own(pattern), "{pattern}");
    }
}

#[test]
fn takes_a_pods_uid_only_where_it_is_one() {
    for parent in [
        "podman",
        "pod",
        "kubepods-podshort.slice",
        "pod0f1e2d3c_4b5a_6978_8796_a5b4c3d2e1f0",
        "my-podUXX",
    ] {
        let parsed = parse(&path(&format!("/{parent}/ID"))).expect("a container");
        assert_eq!(parsed.pod_uid, None, "{parent}");
    }
}
