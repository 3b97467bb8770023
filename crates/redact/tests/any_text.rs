//! Arbitrary bytes: lengths stay the same, a second pass changes nothing, and planted secrets do not survive.

use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use capture_format::{Event, EventKind as K};
use proptest::prelude::*;
use redact::{Config, Manifest, Payload, Redactor};

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(&Config::default()).unwrap());

fn redacted(kind: K, payloads: &[Vec<u8>]) -> (Vec<Vec<u8>>, Manifest) {
    let event = |payload: &Vec<u8>| Event {
        kind,
        data: Bytes::copy_from_slice(payload),
        ..Event::default()
    };
    let mut events: Vec<Event> = payloads.iter().map(event).collect();
    let mut manifest = Manifest::default();
    REDACTOR.run(&mut events, Payload::Default, &[], &mut manifest);
    (
        events.iter().map(|event| event.data.to_vec()).collect(),
        manifest,
    )
}

/// Pieces of the texts that the rules look for, so that they occur in unexpected combinations.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "password",
        "token",
        "api_key",
        "PATH",
        "HOME",
        "=",
        ": ",
        ":",
        "\"",
        "'",
        "\\",
        "\n",
        "\r\n",
        "\0",
        " ",
        "{",
        "}",
        ",",
        "://",
        "@",
        "Authorization: ",
        "Bearer ",
        "Basic ",
        "Cookie: ",
        "X-Api-Key: ",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "-----",
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us",
        "$6$salt$",
        "login x password ",
        "<secret>",
        "</secret>",
        "|",
        "*",
        "--",
        "-p",
        "mysql ",
        "sig",
        "pass",
        "unexpected ",
    ]);
    prop_oneof![
        4 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => "[a-zA-Z0-9./]{1,12}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 1..6),
    ]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
}

/// Texts as programs write them, with `@@` in place of a secret.
const TEMPLATES: &[&str] = &[
    "DB_PASSWORD=@@\n",
    "{\"password\":\"@@\"}",
    "connect: host=db password=@@ sslmode=off",
    "postgres://app:@@@db/x",
    "Authorization: Bearer @@\r\n",
    "authorization: Basic @@\r\n",
    "x-api-key: @@\r\n",
    "Cookie: a=@@\r\n",
    "/login?user=x&token=@@&y=1",
    "secret: @@\n",
    "'client_secret': '@@'",
    "-----BEGIN RSA PRIVATE KEY-----\n@@\n-----END RSA PRIVATE KEY-----\n",
    "PATH=/bin\nHOME=/\nMODE=@@\n",
    "<password>@@</password>",
    "ALTER USER app IDENTIFIED BY '@@'",
    "eyJhbGciOiJIUzI1NiJ9.@@.@@ ",
    "xoxb-1234567890-@@ ",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lengths_stay_and_a_second_pass_changes_nothing(
        payloads in prop::collection::vec(payload(), 1..4),
        write in any::<bool>(),
    ) {
        for kind in [if write { K::WRITE } else { K::READ }, K::EXEC, K::OPEN] {
            let (once, _) = redacted(kind, &payloads);
            let lengths = |payloads: &[Vec<u8>]| payloads.iter().map(Vec::len).collect::<Vec<_>>();
            prop_assert_eq!(lengths(&once), lengths(&payloads));
            let (twice, manifest) = redacted(kind, &once);
            let text = |payloads: &[Vec<u8>]| payloads.iter().map(|payload| payload.escape_ascii().to_string()).collect::<Vec<_>>();
            prop_assert_eq!(text(&twice), text(&once), "{:?}", text(&payloads));
            prop_assert!(manifest.is_empty(), "{manifest:?}: {:?}", text(&once));
        }
    }

    #[test]
    fn planted_secrets_do_not_survive(
        template in prop::sample::select(TEMPLATES),
        secret in "[A-Za-z][A-Za-z0-9_-]{6,30}[0-9]",
        before in "([ -~]{0,40}\n)?",
        after in "[ -~\n]{0,40}",
        write in any::<bool>(),
    ) {
        let text = format!("{before}{}{after}", template.replace("@@", &secret));
        let kind = if write { K::WRITE } else { K::READ };
        let (masked, _) = redacted(kind, &[text.clone().into_bytes()]);
        let masked = String::from_utf8_lossy(&masked[0]).into_owned();
        // The text before or after may contain the same letters.
        prop_assert!(before.contains(&secret) || after.contains(&secret) || !masked.contains(&secret), "{text:?}\n{masked:?}");
    }
}

/// CPU time of this thread, since the machine may be busy.
fn cpu_time() -> Duration {
    Duration::from(nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap())
}

/// Texts with which a matcher would take long if it started again at every byte. Twice the text may take only about
/// twice as long: as one line or many, as one payload or many.
#[test]
fn hostile_payloads_take_linear_time() {
    let mut slow = String::new();
    for piece in [
        "a",
        ":",
        "://",
        "a://a:",
        "password",
        "password=",
        "password: \"\\",
        "{\"",
        "'",
        "\\",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "-----END ",
        "$4\r\nAUTH\r\n$1\r\n",
        "Cookie: ",
        "<token>",
        "<a name=\"token\">",
        "PATH=\nHOME=\n",
        "A: \"b\" PATH",
        "eyJ",
        "mysql -p",
        "curl -u ",
        "\0",
        "\u{1b}[",
        "\u{1b}]",
        "\n",
        "kind: Secret\ndata:\n",
        "name: password value: x ",
        "--password -",
        "API-",
        "key=",
        "a_key=a",
        "$1$",
        "grant a on b to ",
        "authorization: bearer ",
        "create user a identified by ",
        "from-literal a=",
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n",
    ] {
        let time = |length: usize| {
            let text: Vec<u8> = piece.bytes().cycle().take(length).collect();
            let start = cpu_time();
            let (masked, _) = redacted(K::WRITE, &[text]);
            assert_eq!(masked[0].len(), length);
            cpu_time() - start
        };
        let (short, long) = (time(32 << 10), time(128 << 10));
        if long > short * 8 + Duration::from_millis(200) {
            writeln!(slow, "{piece:?}: {short:?}, four times as much {long:?}").unwrap();
        }
        if long > Duration::from_secs(4) {
            writeln!(slow, "{piece:?}: {long:?}").unwrap();
        }
        let (masked, _) = redacted(K::EXEC, &[piece.bytes().cycle().take(4096).collect()]);
        assert_eq!(masked[0].len(), 4096);
    }
    assert!(slow.is_empty(), "{slow}");
}
