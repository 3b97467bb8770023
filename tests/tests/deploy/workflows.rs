//! The workflows in `.github` use fixed versions of actions, and each job has only the rights it names.

use serde_json::Value;

use crate::base::read;

const FILES: [&str; 2] = ["test", "release"];

#[test]
fn actions_are_pinned_to_a_commit_with_their_version_beside_it() {
    for file in FILES {
        let text = read(&format!(".github/workflows/{file}.yml"));
        let mut pinned = 0;
        for line in text.lines().filter(|line| line.contains("uses:")) {
            let (action, version) = line.split_once(" # ").expect(line);
            let (_, commit) = action.rsplit_once('@').expect(line);
            assert!(
                commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{line}"
            );
            assert!(version.starts_with('v'), "{line}");
            pinned += 1;
        }
        assert!(pinned > 0, "{file}");
    }
}

#[test]
fn who_may_write_is_said_job_by_job() {
    for file in FILES {
        let text = read(&format!(".github/workflows/{file}.yml"));
        let workflow: Value = serde_saphyr::from_str(&text).unwrap();
        let rights = |of: &Value| -> Vec<String> {
            let rights = of["permissions"].as_object().expect("permissions").iter();
            rights
                .filter(|(_, right)| **right == "write")
                .map(|(name, _)| name.clone())
                .collect()
        };
        assert_eq!(rights(&workflow), [""; 0], "{file}");
        for (name, job) in workflow["jobs"].as_object().expect("jobs") {
            let expected: &[&str] = match name.as_str() {
                "publish" => &["attestations", "id-token", "packages"],
                "release" => &["attestations", "contents", "id-token"],
                _ => continue,
            };
            let mut found = rights(job);
            found.sort();
            assert_eq!(found, expected, "{name}");
        }
    }
}
