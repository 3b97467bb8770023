use super::*;

const HYBRID: &str = "\
25 30 0:23 / /proc rw,nosuid shared:14 - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/systemd rw,relatime shared:9 - cgroup cgroup rw,xattr,name=systemd
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:10 master:3 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:37 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

const UNIFIED: &str = "\
30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
31 24 0:26 / /mnt/elsewhere rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
";

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn root() -> &'static Path {
    Path::new("/sys/fs/cgroup")
}

fn v1(controller: &str) -> Hierarchy {
    Hierarchy::V1 {
        controller: controller.into(),
    }
}

/// Chooses among the mounts in `mountinfo`; `counts` has the number of containers for some mount points.
fn chosen(mountinfo: &str, counts: &[(&str, usize)]) -> Option<(Hierarchy, String)> {
    let candidates = mounts(mountinfo, root())
        .into_iter()
        .map(|mount| {
            let count = counts
                .iter()
                .find(|(path, _)| mount.path == root().join(path));
            let count = count.map_or(0, |(_, count)| *count);
            (mount, count)
        })
        .collect();
    let detected = choose(candidates)?;
    let mount = detected.mount.display().to_string();
    Some((detected.hierarchy, mount))
}

#[test]
fn reads_mounts() {
    let read = mounts(HYBRID, root());
    let read: Vec<_> = (read.iter())
        .map(|mount| (mount.path.to_str().unwrap(), mount.hierarchy.clone()))
        .collect();
    assert_eq!(
        read,
        [
            ("/sys/fs/cgroup/cpu,cpuacct", v1("cpu")),
            ("/sys/fs/cgroup/cpuset", v1("cpuset")),
            ("/sys/fs/cgroup/memory", v1("memory")),
            ("/sys/fs/cgroup/pids", v1("pids")),
            ("/sys/fs/cgroup/unified", Hierarchy::Unified),
        ]
    );
    assert_eq!(mounts(UNIFIED, root()).len(), 1);
    assert_eq!(mounts("", root()), []);
    assert_eq!(mounts("rubbish\n1 2 - cgroup2\n - \n", root()), []);

    let odd = r"30 24 0:26 / /host\040node/cgroup rw - cgroup2 none rw";
    assert_eq!(
        mounts(odd, Path::new("/host node"))[0].path,
        Path::new("/host node/cgroup")
    );
}

#[test]
fn what_another_mount_covers_is_not_there() {
    let paths = |mountinfo: &str| -> Vec<String> {
        let found = cgroup_mounts(mountinfo);
        found
            .map(|mount| mount.path.display().to_string())
            .collect()
    };
    let (top, memory) = ("/sys/fs/cgroup", "/sys/fs/cgroup/memory");
    let all = paths(HYBRID);
    // A mount at the same place, of any type: the newer one covers the older one.
    let tmpfs = format!("{HYBRID}50 35 0:40 / {memory} rw - tmpfs none rw\n");
    let left: Vec<_> = all.iter().filter(|path| *path != memory).cloned().collect();
    assert_eq!(paths(&tmpfs), left);
    let again = format!("{HYBRID}50 35 0:32 / {memory} rw - cgroup cgroup rw,memory\n");
    assert_eq!(
        paths(&again).iter().filter(|path| *path == memory).count(),
        1
    );
    // A mount over the folder that contains all of them.
    let unified = format!("{HYBRID}50 31 0:38 / {top} rw - cgroup2 none rw\n");
    assert_eq!(paths(&unified), [top]);
    // A mount over the file system that contains the folder.
    let sysfs = "23 1 0:22 / /sys rw - sysfs sysfs rw\n";
    assert_eq!(
        paths(&format!(
            "{sysfs}{HYBRID}50 23 0:22 / /sys rw - sysfs sysfs rw\n"
        )),
        [""; 0]
    );
    let beside = format!(
        "{sysfs}{HYBRID}50 23 0:22 / /sys/fs/cg rw - tmpfs none rw\n51 35 0:22 / {memory}/x rw - tmpfs none rw\n"
    );
    assert_eq!(paths(&beside), all);
    // The file system at the top is mounted on itself, or on one that is not listed.
    assert_eq!(paths("1 1 0:2 / / rw - cgroup2 none rw\n"), ["/"]);
}

#[test]
fn takes_the_unified_one_where_all_containers_are_in_it() {
    let unified = (Hierarchy::Unified, "/sys/fs/cgroup".to_owned());
    assert_eq!(chosen(UNIFIED, &[]), Some(unified.clone()));
    assert_eq!(chosen(UNIFIED, &[("", 7)]), Some(unified));

    let hybrid = (Hierarchy::Unified, "/sys/fs/cgroup/unified".to_owned());
    let everywhere = [("memory", 5), ("pids", 5), ("cpuset", 5), ("unified", 5)];
    assert_eq!(chosen(HYBRID, &everywhere), Some(hybrid));
}

#[test]
fn takes_version_1_where_only_it_has_all_containers() {
    let memory = (v1("memory"), "/sys/fs/cgroup/memory".to_owned());
    let only_v1 = [("memory", 5), ("pids", 5), ("cpuset", 5)];
    assert_eq!(chosen(HYBRID, &only_v1), Some(memory.clone()));
    // an old and a new runtime side by side
    let some = [("memory", 5), ("pids", 5), ("unified", 3)];
    assert_eq!(chosen(HYBRID, &some), Some(memory));
    // rootless: not all controllers are delegated
    let pids = (v1("pids"), "/sys/fs/cgroup/pids".to_owned());
    assert_eq!(chosen(HYBRID, &[("pids", 1)]), Some(pids));
}

#[test]
fn takes_version_1_on_a_hybrid_node_without_containers() {
    let memory = (v1("memory"), "/sys/fs/cgroup/memory".to_owned());
    assert_eq!(chosen(HYBRID, &[]), Some(memory));
    let without_memory: String = (HYBRID.lines())
        .filter(|line| !line.contains("memory"))
        .map(|line| format!("{line}\n"))
        .collect();
    let pids = (v1("pids"), "/sys/fs/cgroup/pids".to_owned());
    assert_eq!(chosen(&without_memory, &[]), Some(pids));
}

#[test]
fn takes_none_where_none_is() {
    assert_eq!(chosen("", &[]), None);
    let named = "32 31 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd";
    assert_eq!(chosen(named, &[]), None);
    let error = detect(Path::new("/nowhere")).unwrap_err().to_string();
    assert!(error.contains("/nowhere"), "{error}");
}

#[test]
fn counts_each_container_once_however_many_cgroups_it_has() {
    let folder = tempfile::tempdir().unwrap();
    for path in [
        format!("kubepods/burstable/pod1/{A}/init.scope"),
        format!("kubepods/burstable/pod1/{A}/system.slice/a.service"),
        format!("system.slice/docker-{B}.scope"),
        format!("machine.slice/libpod-conmon-{B}.scope"),
        "system.slice/sshd.service".into(),
    ] {
        fs::create_dir_all(folder.path().join(path)).unwrap();
    }
    fs::write(folder.path().join("kubepods/cgroup.procs"), "1\n").unwrap();
    let found = cgroups(folder.path());
    assert_eq!(found.len(), 12);
    assert!(found.contains(&format!("/kubepods/burstable/pod1/{A}")));
    assert_eq!(containers_in(&found), [A.into(), B.into()].into());
    assert_eq!(cgroups(&folder.path().join("missing")), [""; 0]);
}

#[test]
fn leaves_out_containers_that_come_or_go_during_the_look() {
    let sets = |ids: [&[&str]; 2]| ids.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
    // B started after the first hierarchy had been looked at
    let first = sets([&[A], &[A, B]]);
    assert_eq!(lasting(&first, &sets([&[A], &[A]])), [1, 1]);
    // C lives on, and is only in the second one
    let second = sets([&[A, B], &[A, B, "c"]]);
    assert_eq!(lasting(&first, &second), [2, 2]);
    let first = sets([&[A], &[A, "c"]]);
    assert_eq!(lasting(&first, &second), [1, 2]);
}
