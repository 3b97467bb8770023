//! What is masked in payloads, and what must survive.

use std::fmt::Write;
use std::sync::LazyLock;

use bytes::Bytes;
use capture_format::{Event, EventFlags, EventKind as K, Tid};
use redact::{Config, Manifest, Pattern, Payload, Redactor};

#[path = "support/marked.rs"]
mod marked;

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(&Config::default()).unwrap());

fn event(kind: K, fd: i64, data: impl AsRef<[u8]>) -> Event {
    Event {
        pid: 7,
        tid: Tid(7),
        kind,
        args: [fd, 0, 0],
        data: Bytes::copy_from_slice(data.as_ref()),
        ..Event::default()
    }
}

/// The events' payloads after redaction, as one text each.
fn payloads(events: Vec<Event>) -> Vec<String> {
    let mut masked = events.clone();
    REDACTOR.run(&mut masked, Payload::Default, &[], &mut Manifest::default());
    let masked = masked.into_iter().zip(events).map(|(event, before)| {
        assert_eq!(event.data.len(), before.data.len());
        let flagged = event.flags.contains(EventFlags::REDACTED);
        assert_eq!(flagged, event.data != before.data);
        String::from_utf8_lossy(&event.data).into_owned()
    });
    masked.collect()
}

fn one(kind: K, data: &str) -> String {
    payloads(vec![event(kind, 9, data)]).remove(0)
}

/// Checks texts in which `§` surrounds what must be masked, both when they are read and when they are written.
fn check(kinds: &[K], texts: &[&str]) {
    let mut wrong = String::new();
    for text in texts {
        for &kind in kinds {
            let (given, expected) = marked::parts(text);
            let masked = one(kind, &given);
            if masked != expected {
                writeln!(wrong, "{kind:?}\n   {masked:?}\n  not {expected:?}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn credentials_in_any_payload() {
    let texts = [
        "GET / HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer §abc.def-123§\r\nAccept: */*\r\n\r\n",
        "GET / HTTP/1.1\r\nauthorization: Basic §dXNlcjpodW50ZXIy§\r\n",
        "Proxy-Authorization: Digest §username=\"Mufasa\", response=\"6629fae4\"§\r\nX: y\r\n",
        "> Cookie: §session=abc; theme=dark§\r\n> Accept: */*\r\n",
        "HTTP/1.1 200 OK\r\nSet-Cookie: §sid=31d4d96e; Path=/§\r\n",
        "X-Api-Key: §123§\r\nX-Amz-Security-Token: §FQoGZ§\r\nX-Vault-Token: §hunter2§\r\n",
        "headers: {\"Authorization\":\"Bearer §hunter2§\",\"Accept\":\"*/*\"}\n",
        "curl failed, header was 'authorization: bearer §A1b2C3d4§'\n",
        "connecting to postgres://app:§hun@ter2§@db:5432/shop\n",
        "redis://:§hunter2§@cache:6379/0\n",
        "remote https://bob:§hunter2§@git.example/x.git\n",
        "app:§hunter2§@tcp(db:3306)/shop?parseTime=true\n",
        "key §AKIAIOSFODNN7EXAMPLE§ is denied\n",
        "aws_secret_access_key = §wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY§\n",
        "DB_PASSWORD=§hunter2§\n",
        "dial with host=db user=app password=§hunter2§ dbname=shop\n",
        "Server=db;Password=§hunter2§;Database=shop\n",
        "GET /v1?api_key=§abc123§&page=2 HTTP/1.1\r\n",
        "{\"user\":\"app\",\"password\":\"§hunt\\\"er2§\",\"port\":5432}\n",
        "{\"pin\": 1, \"token\": §12345678§, \"x\": 2}\n",
        "msg=\"{\\\"clientSecret\\\":\\\"§hunter2§\\\",\\\"x\\\":1}\"\n",
        "{ user: 'app', password: '§hunter2§' }\n",
        "config is {Host:db Password:§hunter2§ Port:5432}\n",
        "invalid password: \"§hunter2§\"\n",
        "password: §hunter2§\n",
        "  apiKey: §hunter2§\n",
        "<db><user>app</user><password>§hunter2§</password></db>\n",
        "jwt §eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U§ expired\n",
        "using §ghp_16C7e42F292c6912E7710c838347Ae178B4a§ for git\n",
        "§glpat-abcdefghij0123456789§ §xoxb-123456789012-abcdef§ §sk_live_4eC39HqLyjWDarjtT1zdp7dc§ §AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY§\n",
        "root:§$6$saltsalt$0123456789abcdef§:19000:0:99999:7:::\n",
        "ALTER USER app IDENTIFIED BY '§hunter2§';\n",
        "machine api login app password §hunter2§\n",
        "*2\r\n$4\r\nAUTH\r\n$7\r\n§hunter2§\r\n",
        "{\"auths\":{\"registry\":{\"auth\":\"§YXBwOmh1bnRlcjI=§\"}}}\n",
        "//npm.example.org/:_authToken=§hunter2§\n",
        "+ mysql -uroot -p§hunter2§ shop\n",
    ];
    check(&[K::READ, K::WRITE], &texts);
}

#[test]
fn files_are_read_with_less_doubt() {
    let texts = [
        "passphrase: §correct horse battery staple§\nuser: app\n",
        "[db]\npassword = §hunter 2, really§\nhost = db\n",
        "secret: §|\n  line one\n  line two§\nother: x\n",
    ];
    check(&[K::READ], &texts);
}

#[test]
fn what_carries_a_verdict_survives() {
    let texts = [
        "nginx: [emerg] host not found in upstream \"flask\" in /etc/nginx/conf.d/proxy.conf:4\n",
        "psql: error: FATAL:  password authentication failed for user \"app\"\n",
        "Access denied for user 'root'@'10.0.0.1' (using password: YES)\n",
        "cat: can't open '/run/secrets/db_password': No such file or directory\n",
        "/run/secrets/token: No such file or directory\n",
        "open /etc/app/secret: permission denied\n",
        "token: Permission denied\n",
        "vault-token: command not found\n",
        "SyntaxError: Unexpected token } in JSON at position 5\n",
        "SyntaxError: Unexpected token = in JSON\n",
        "SyntaxError: Unexpected token: '}'\n",
        "parse error: unknown token: \"}\" at line 3\n",
        "KeyError: 'DB_PASSWORD'\n",
        "    password = os.environ[\"DB_PASSWORD\"]\n",
        "const token = process.env.API_TOKEN;\n",
        "error: DB_PASSWORD is not set\n",
        "missing environment variable API_TOKEN: required\n",
        "DB_PASSWORD=${DB_PASSWORD}\n",
        "password=undefined\n",
        "secret \"db-credentials\" not found\n",
        "bearer authentication failed\n",
        "WWW-Authenticate: Basic realm=\"x\"\n",
        "Basic authentication required\n",
        "invalid cookie: rejected\n",
        "PWD=/app\n",
        "--- PASS: TestLogin (0.00s)\n",
        "bypass=true compass: north\n",
        "max_tokens=4096\n",
        "passwd: files systemd\n",
        "http://backend:8080/path?x=me@example.org\n",
        "connect to http://10.96.0.10:80/ failed: Connection refused\n",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "NAME=\"Debian\"\nVERSION_ID=\"12\"\nHOME_URL=\"https://www.debian.org/\"\nPATH_X=1\n",
        "nameserver 10.96.0.10\nsearch default.svc.cluster.local\noptions ndots:5\n",
        "Error: Cannot find module 'express'\nRequire stack:\n- /app/server.js\n",
        "*** stack smashing detected ***: terminated\n",
    ];
    check(&[K::WRITE], &texts);
}

#[test]
fn environments_are_masked_in_every_form() {
    for (text, secret) in [
        ("PATH=/usr/bin\nHOME=/root\nMODE=hunter2\n", "hunter2"),
        ("HOSTNAME=web\0PATH=/usr/bin\0MODE=hunter2\0", "hunter2"),
        (
            "export HOME='/root'\nexport MODE='hunter2'\nexport PATH='/bin'\n",
            "hunter2",
        ),
        (
            "environ({'PATH': '/bin', 'HOME': '/root', 'MODE': 'hunter2'})\n",
            "hunter2",
        ),
        (
            "{\n  PATH: '/bin',\n  HOME: '/root',\n  MODE: 'hunter2'\n}\n",
            "hunter2",
        ),
        (
            "{\"PATH\": \"/bin\", \"HOSTNAME\": \"x\", \"MODE\": \"hunter2\"}\n",
            "hunter2",
        ),
    ] {
        let masked = one(K::WRITE, text);
        assert!(!masked.contains(secret), "{masked}");
        assert!(masked.contains("MODE"), "{masked}");
    }
}

#[test]
fn a_key_that_is_read_in_pieces_is_masked_in_all_of_them() {
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n";
    let (begin, end) = (
        "-----BEGIN EC PRIVATE KEY-----\n",
        "-----END EC PRIVATE KEY-----\n",
    );
    let text = format!("# key\n{begin}{}{end}listen 80;\n", line.repeat(5));
    for size in [1, 7, 64, 100, 4096] {
        let pieces = text.as_bytes().chunks(size);
        let events = pieces.map(|piece| event(K::READ, 5, piece)).collect();
        let masked = payloads(events).concat();
        assert!(
            !masked.contains("MII") && !masked.contains("Us8cKj"),
            "{size}: {masked}"
        );
        assert!(masked.ends_with("listen 80;\n"), "{size}: {masked}");
    }
}

#[test]
fn a_value_behind_its_key_in_the_next_write_is_masked() {
    let events = ["connect password=", "hunt", "er2\n", "listening on 8080\n"];
    let masked = payloads(events.map(|data| event(K::WRITE, 1, data)).into());
    assert_eq!(
        masked,
        ["connect password=", "****", "***\n", "listening on 8080\n"]
    );
    // Another descriptor is another stream.
    let events = vec![
        event(K::WRITE, 1, "password="),
        event(K::WRITE, 2, "error\n"),
    ];
    assert_eq!(payloads(events), ["password=", "error\n"]);
}

#[test]
fn files_of_secrets_are_known_by_their_path() {
    let mounts = ["/etc/db".to_owned()];
    let mut manifest = Manifest::default();
    let mut read = |path: &str, name: &str| {
        let mut open = event(K::OPENAT, -100, "");
        (open.name, open.ret) = (Bytes::copy_from_slice(path.as_bytes()), 3);
        let mut read = event(K::READ, 3, "hunter2\n");
        read.name = Bytes::copy_from_slice(name.as_bytes());
        let mut events = [open, read, event(K::CLOSE, 3, "")];
        REDACTOR.run(&mut events, Payload::Default, &mounts, &mut manifest);
        events[1].data == "*******\n"
    };
    assert!(read(
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        "token"
    ));
    assert!(read("/etc/db/pw", "pw"));
    assert!(read("/proc/self/environ", "environ"));
    assert!(read("/proc/1/environ", ""));
    assert!(!read("/etc/dbconf", "dbconf"));
    assert!(!read(
        "/var/run/secrets/kubernetes.io/serviceaccount/namespace",
        "namespace"
    ));
    assert_eq!(
        (manifest.of("secret_file"), manifest.of("environment")),
        (2, 2)
    );
}

#[test]
fn a_file_opened_before_the_recording_is_known_by_its_name() {
    let mut shadow = event(K::PREAD64, 3, "root:!:1\n");
    shadow.name = Bytes::from_static(b"shadow");
    assert_eq!(payloads(vec![shadow]), ["********\n"]);
}

#[test]
fn arguments_lose_passwords_and_nothing_else() {
    for (given, expected) in [
        (
            "app\0--password=hunter 2\0-v\0",
            "app\0--password=********\0-v\0",
        ),
        ("app\0--token\0hunter2\0-v\0", "app\0--token\0*******\0-v\0"),
        (
            "mysql\0-uroot\0-phunter2\0shop\0",
            "mysql\0-uroot\0-p*******\0shop\0",
        ),
        (
            "java\0-Dspring.datasource.password=hunter2\0-jar\0a.jar\0",
            "java\0-Dspring.datasource.password=*******\0-jar\0a.jar\0",
        ),
        (
            "env\0API_TOKEN=hunter2\0MODE=x\0./app\0",
            "env\0API_TOKEN=*******\0MODE=x\0./app\0",
        ),
        (
            "sh\0-c\0exec app --password hunter2 -p 80\0",
            "sh\0-c\0exec app --password ******* -p 80\0",
        ),
        (
            "curl\0-H\0Authorization: Bearer hunter2\0http://x/\0",
            "curl\0-H\0Authorization: Bearer *******\0http://x/\0",
        ),
        (
            "curl\0-u\0bob:hunter2\0http://x/\0",
            "curl\0-u\0bob:*******\0http://x/\0",
        ),
        ("mkdir\0-p\0/data\0", "mkdir\0-p\0/data\0"),
        (
            "app\0-p\08080\0--token-file\0/x\0",
            "app\0-p\08080\0--token-file\0/x\0",
        ),
        ("app\0--secret\0/etc/x\0", "app\0--secret\0/etc/x\0"),
    ] {
        assert_eq!(payloads(vec![event(K::EXEC, 1, given)]), [expected]);
    }
}

#[test]
fn without_payloads_nothing_of_them_is_kept() {
    let mut manifest = Manifest::default();
    let kinds = [K::READ, K::WRITE, K::SENDTO, K::RECVMSG, K::PWRITEV2];
    let mut events: Vec<Event> = kinds.map(|kind| event(kind, 3, "anything")).into();
    events
        .iter_mut()
        .for_each(|event| event.name = Bytes::from_static(b"app.log"));
    events.push(event(K::EXEC, 0, "app\0"));
    REDACTOR.run(&mut events, Payload::None, &[], &mut manifest);
    let exec = events.pop().unwrap();
    for event in events {
        assert!(
            event.data.is_empty() && event.name == "app.log",
            "{:?}",
            event.kind
        );
        let flags = EventFlags::REDACTED | EventFlags::TRUNCATED;
        assert!(event.flags.contains(flags));
    }
    assert_eq!(
        (exec.data, exec.flags),
        (Bytes::from_static(b"app\0"), EventFlags::default())
    );
    assert_eq!(manifest.of("payload"), 5);
}

fn configured(patterns: &[(&str, &str)]) -> Result<Redactor, redact::Error> {
    let pattern = |&(name, regex): &(&str, &str)| Pattern {
        name: name.into(),
        regex: regex.into(),
    };
    Redactor::new(&Config {
        patterns: patterns.iter().map(pattern).collect(),
        ..Config::default()
    })
}

#[test]
fn patterns_of_the_operator_mask_their_group_or_all() {
    let redactor = configured(&[("staff", r"staff-(\d+)"), ("iban", r"DE\d{20}")]).unwrap();
    let mut text = "staff-4711 pays DE12345678901234567890".to_owned();
    let mut manifest = Manifest::default();
    redactor.text(&mut text, &mut manifest);
    assert_eq!(text, "staff-**** pays **********************");
    assert_eq!((manifest.of("staff"), manifest.of("iban")), (1, 1));
}

#[test]
fn patterns_that_cannot_be_used_are_named() {
    let error = |patterns: &[(&str, &str)]| configured(patterns).err().unwrap().to_string();
    let unclosed = error(&[("staff", "(")]);
    assert!(
        unclosed.starts_with("redaction pattern \"staff\" cannot be used: regex parse error"),
        "{unclosed}"
    );
    assert!(unclosed.contains("unclosed group"), "{unclosed}");
    assert!(error(&[("huge", r"\w{1000}{1000}")]).contains("\"huge\""));
    assert!(error(&[("all", "x*")]).contains("matches the empty text"));
    assert!(error(&[("", "x")]).starts_with("redaction pattern 1 needs a name"));
    assert!(error(&[("a", "x"), ("jwt", "y")]).starts_with("redaction pattern 2 needs a name"));
    assert!(error(&[("a", "x"), ("a", "y")]).starts_with("redaction pattern 2 needs a name"));
    let relative = Config {
        secret_paths: vec!["etc/db".into()],
        ..Config::default()
    };
    let error = Redactor::new(&relative).err().unwrap().to_string();
    assert!(error.contains("\"etc/db\" is not absolute"), "{error}");
}
