use std::collections::BTreeSet;

use serde_json::Value;

use super::{Config, ConfigError, LogFormat, RuntimeEndpoint, Switch, load, read::parse};

const DOCUMENTATION: &str = include_str!("../../../docs/configuration.md");

/// The file that the documentation shows: all keys with their defaults.
fn documented() -> &'static str {
    let (_, rest) = DOCUMENTATION.split_once("```yaml\n").unwrap();
    rest.split_once("```").unwrap().0
}

fn problems(text: &str) -> String {
    let problems = parse(text).unwrap_err();
    problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect()
}

#[test]
fn an_empty_file_is_the_default() {
    for text in ["", "# nothing\n", "{}", "recorder:\ntriggers:\n", "---\n"] {
        assert_eq!(parse(text).unwrap(), Config::default(), "{text:?}");
    }
}

#[test]
fn what_is_documented_is_the_default() {
    assert_eq!(parse(documented()).unwrap(), Config::default());
}

#[test]
fn every_key_is_documented() {
    fn keys(value: &Value, path: &str, into: &mut BTreeSet<String>) {
        if let Value::Object(fields) = value {
            for (key, value) in fields {
                let path = format!("{path}.{key}");
                keys(value, &path, into);
                into.insert(path);
            }
        }
    }
    let (mut there_are, mut shown) = (BTreeSet::new(), BTreeSet::new());
    keys(
        &serde_json::to_value(Config::default()).unwrap(),
        "",
        &mut there_are,
    );
    // The parser refuses unknown keys in the documentation.
    keys(
        &serde_saphyr::from_str(documented()).unwrap(),
        "",
        &mut shown,
    );
    assert_eq!(there_are, shown);
    for key in there_are {
        let key = key.rsplit('.').next().unwrap();
        let explained = DOCUMENTATION.matches(&format!("`{key}`")).count();
        assert!(
            explained > 0 || DOCUMENTATION.contains(&format!(".{key}`")),
            "{key} is not explained"
        );
    }
}

#[test]
fn everything_is_read() {
    let config = parse(
        "recorder: {memory: 64MiB, other_payload: 0}\n\
         runs: {keep: 5}\n\
         triggers:\n  restarts: [{more_than: 2, within: 1h}]\n  first_crash: false\n  signals: [SEGV, 6]\n  cool_down: 1m\n\
         selectors:\n  namespaces: {include: ['team-*'], exclude: [team-x]}\n  pod_labels: app in (a, b)\n\
         redaction: {patterns: [{name: ticket, regex: 'T-[0-9]+'}]}\n\
         storage: {url: 's3://captures/here', options: {aws_region: eu-1}}\n\
         container_runtime: {endpoint: off}\n\
         kubernetes: {enabled: on, ttl: 1day}\n\
         http: {listen: '127.0.0.1:1', alerts_token_file: /token, alerts_namespaces: [shop], alerts_per_minute: 30}\n\
         socket: /tmp/agent.sock\n\
         log: {format: json}\n",
    )
    .unwrap();
    assert_eq!(config.recorder.memory.as_u64(), 64 << 20);
    assert_eq!(config.machine().keep, 5);
    assert_eq!(config.triggers.restarts.len(), 1);
    assert_eq!(config.triggers.signals.len(), 2);
    assert!(config.triggers.oom_killed && !config.triggers.first_crash);
    assert!(!config.selectors.pod_labels.is_empty());
    assert_eq!(config.redaction.patterns[0].name, "ticket");
    assert_eq!(config.storage.options["aws_region"], "eu-1");
    assert_eq!(config.container_runtime.endpoint, RuntimeEndpoint::Off);
    assert_eq!(config.kubernetes.enabled, Switch::On);
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn everything_that_is_wrong_is_told_with_its_place() {
    let text = "\
recorder:
  memory: 1MiB
  memroy: 1GiB
  text_payload: 5000
  config_file_max: much
run:
  keep: 3
runs:
  keep: 0
triggers:
  restarts:
    - {more_than: 4, within: 2m}
    - {more_than: 4, within: soon}
    - {more_than: 4, withn: 2m}
    - more_than: 2000
      within: 2m
  oom: true
  exit_codes: [3, 300]
  signals: [SEGF]
  first_crash: 'yes'
selectors:
  pod_labels: app in web
redaction:
  patterns: [{name: x}]
spool: {directory: here, max_age: 1s}
container_runtime: {endpoint: cri}
kubernetes: {enabled: onn}
http: {listen: '9440'}
log: {level: 3}
socket: [a]
";
    let expected = r#"2:11: recorder.memory: 1.0 MiB is too little; the least is 16.0 MiB
3:3: recorder.memroy: there is no key `memroy`; did you mean `memory`?
4:17: recorder.text_payload: 5000 is too much; the most is 4096
5:20: recorder.config_file_max: `much` is no size; write it as in 256MiB or 4096
6:1: run.keep: there is no key `run`; did you mean `runs`?
9:9: runs.keep: 0 is too little; the least is 1
13:30: triggers.restarts: invalid value: string "soon", expected a duration
14:22: triggers.restarts: there is no key `withn`; did you mean `within`?
15:7: triggers.restarts: more_than: 2000 is above 1000
17:3: triggers.oom: there is no key `oom`; did you mean `oom_killed`?
18:19: triggers.exit_codes: invalid value: integer `300`, expected u8
19:13: triggers.signals: there is no signal `SEGF`; did you mean `SIGSEGV`?
20:16: triggers.first_crash: invalid type: string "yes", expected a boolean
22:15: selectors.pod_labels: label selector `app in web`: `app in web` is no label key; write it as in `app=web`, `tier in (a, b)` or `!canary`
24:14: redaction.patterns: `regex` is missing
25:20: spool.directory: `here` is no absolute path
25:35: spool.max_age: 1s is too short; the least is 1m
26:31: container_runtime.endpoint: `cri` is neither auto nor off nor the path of a socket, such as /run/containerd/containerd.sock
27:23: kubernetes.enabled: there is no value `onn`; did you mean `on`?
28:16: http.listen: `9440` is no address with a port; write it as in 0.0.0.0:9440
29:14: log.level: write one of error, warn, info, debug, trace, as text
30:9: socket: invalid type: sequence, expected path string
"#;
    assert_eq!(problems(text), expected);
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let missing = load(&directory.path().join("none.yaml")).unwrap_err();
    assert!(
        missing.to_string().contains("none.yaml: No such file"),
        "{missing}"
    );
    let file = directory.path().join("agent.yaml");
    std::fs::write(&file, "runs:\n  kep: 3\n").unwrap();
    let invalid = load(&file).unwrap_err().to_string();
    let line = format!(
        "{}:2:3: runs.kep: there is no key `kep`; did you mean `keep`?",
        file.display()
    );
    assert!(invalid.contains(&line), "{invalid}");
    std::fs::write(&file, "#".repeat(2 << 20)).unwrap();
    assert!(matches!(load(&file), Err(ConfigError::TooLarge { .. })));
}

#[test]
fn patterns_are_tried() {
    let bad = problems(
        "redaction:\n  patterns:\n    - {name: one, regex: a+}\n    - {name: two, regex: '('}\n",
    );
    assert!(
        bad.contains("redaction.patterns: redaction pattern \"two\" cannot be used"),
        "{bad}"
    );
    let twice =
        problems("redaction:\n  patterns: [{name: one, regex: a}, {name: one, regex: b}]\n");
    assert!(twice.contains("needs a name of its own"), "{twice}");
}

#[test]
fn what_is_no_configuration_is_refused() {
    for text in [
        "a",
        "[a]",
        "recorder: [",
        "recorder: 3",
        "socket: {}",
        "runs: {keep: 1}\nruns: {keep: 2}",
        "a: &a [*a]",
    ] {
        assert!(!problems(text).is_empty(), "{text}");
    }
}
