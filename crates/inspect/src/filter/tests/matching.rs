//! What matches in small runs whose events are known.

use capture_format::{BootTime, Event, EventFlags, EventKind as K, Pod, SignalOrigin};

use super::*;

/// Events for the cases below, numbered here:
///
/// ```text
///  1 exec sh -c ./start          2 stdio
///  3 fork 200                    4 exec app --port 80     5 stdio
///  6 openat data.bin = 3 (cwd /srv)
///  7 write 3                     8 write 2 "error: x"
///  9 openat /secret = -13        10 socket = 4            11 connect 10.0.0.7:80
/// 12 sendto DNS query            13 recvfrom DNS answer NXDOMAIN
/// 14 SIGTERM from outside        15 exit 143
/// ```
fn story() -> Script {
    use fixtures::dns;
    let mut s = Script::new(&["/bin/sh", "-c", "./start"]);
    s.fork(INIT, 200).exec(200, &["app", "--port", "80"]);
    s.open(200, "/srv/data.bin", 3);
    s.write(200, 3, "payload\0\x01\u{e9}")
        .write(200, 2, "error: x\n");
    s.open(200, "/secret", -13);
    s.call(200, K::SOCKET, 4, [2, 2, 0], "", "");
    s.connect(200, 4, &inet([10, 0, 0, 7], 53), 0);
    let query = dns::query(7, "flask", 1);
    s.call(200, K::SENDTO, 23, [4, 0, 23], "", query);
    s.reply(200, 4, [10, 0, 0, 7], dns::response(7, "flask", 1, 3));
    s.signal(200, 15, 0, (812, "shim"), SignalOrigin::Outside);
    s.exit_status(200, 15);
    s
}

fn matches(filter: &str) -> Vec<u64> {
    matching(filter, &header(), &[story()])
}

const NONE: [u64; 0] = [];

#[test]
fn events() {
    assert_eq!(matches("evt.type = openat"), [6, 9]);
    assert_eq!(matches("evt.type in (fork, exit)"), [3, 15]);
    assert_eq!(matches("evt.type startswith send"), [12]);
    assert_eq!(matches("evt.num <= 2 or evt.num = 15"), [1, 2, 15]);
    assert_eq!(matches("evt.failed = true"), [9]);
    assert_eq!(matches("evt.res = EACCES"), [9]);
    assert_eq!(matches("evt.res in (13, ENOENT)"), [9]);
    assert_eq!(matches("evt.res startswith E"), [9]);
    assert_eq!(matches("evt.rawres = -13"), [9]);
    assert_eq!(matches("evt.arg.signal = SIGTERM"), [14, 15]);
    assert_eq!(matches("evt.arg[origin] = outside"), [14]);
    assert_eq!(matches("evt.args contains \"flags=O_RDONLY\""), [6, 9]);
    assert_eq!(matches("evt.is_io_write = true"), [7, 8, 12]);
    assert_eq!(matches("evt.is_io_read = true"), [13]);
    assert_eq!(matches("evt.is_open_read = true"), [6, 9]);
    assert_eq!(matches("evt.is_open_write = true"), NONE);
    assert_eq!(matches("evt.buffer contains \"error:\""), [8]);
    assert_eq!(matches("evt.buffer icontains ERROR"), [8]);
    assert_eq!(matches(r#"evt.buffer contains "d\0\x01\u{e9}""#), [7]);
    assert_eq!(matches(r#"evt.buffer endswith "\xa9""#), [7]);
    assert_eq!(matches("evt.buflen > 10 and fd.num = 3"), [7]);
}

/// As in Falco, a comparison with a field that the event does not have is false, whatever the comparison is.
#[test]
fn a_field_that_is_not_there_fails_every_comparison() {
    assert_eq!(matches("evt.res != ENOENT and evt.num < 6"), NONE);
    assert_eq!(matches("evt.rawres != 7 and evt.num < 6"), NONE);
    assert_eq!(
        matches("not evt.res = ENOENT and evt.num < 6"),
        [1, 2, 3, 4, 5]
    );
    assert_eq!(matches("not evt.res exists"), [1, 2, 3, 4, 5, 14, 15]);
    assert_eq!(matches("evt.res exists and evt.num < 8"), [6, 7]);
}

#[test]
fn times() {
    assert_eq!(matches("evt.reltime <= 2ms"), [1, 2]);
    assert_eq!(matches("evt.reltime <= 2000000"), [1, 2]);
    assert_eq!(matches("evt.reltime > 0.014s"), [15]);
    assert_eq!(matches("evt.boottime <= 1000002000000"), [1, 2]);
    let time =
        events::decode::time::time_of_day(BootTime(1_000_002_000_000), &header().host).unwrap();
    assert_eq!(matches(&format!("evt.time <= {time}")), [1, 2]);
    assert_eq!(matches(&format!("evt.time = {time}")), [2]);
    let clock = &time[11..time.len() - 1];
    assert_eq!(matches(&format!("evt.time <= {clock}")), [1, 2]);
    assert_eq!(matches("evt.rawtime <= 1795217000002000000"), [1, 2]);
}

#[test]
fn processes() {
    let of_app: Vec<u64> = (4..=15).collect();
    assert_eq!(matches("proc.name = app"), of_app);
    assert_eq!(matches("proc.pid = 200"), of_app);
    assert_eq!(matches("proc.vpid = 1"), [1, 2, 3]);
    assert_eq!(matches("proc.exe = app"), of_app);
    assert_eq!(matches("proc.exepath = /usr/bin/app"), of_app);
    assert_eq!(matches("proc.args = \"--port 80\""), of_app);
    assert_eq!(matches("proc.cmdline = \"app --port 80\""), of_app);
    assert_eq!(matches("proc.cmdline = \"sh -c ./start\""), [1, 2, 3]);
    assert_eq!(matches("proc.ppid = 100"), of_app);
    assert_eq!(matches("proc.pname = sh"), of_app);
    assert_eq!(matches("proc.pcmdline contains ./start"), of_app);
    assert_eq!(matches("proc.aname = sh"), of_app);
    assert_eq!(matches("proc.aname[0] = sh"), [1, 2, 3]);
    assert_eq!(matches("proc.aname[1] = sh"), of_app);
    assert_eq!(matches("proc.aname[2] exists"), NONE);
    assert_eq!(matches("proc.apid = 100"), of_app);
    assert_eq!(matches("thread.tid != 200"), [1, 2, 3]);
}

#[test]
fn descriptors() {
    assert_eq!(matches("fd.name = /srv/data.bin"), [6, 7]);
    assert_eq!(matches("fd.name pmatch (/srv, /etc)"), [6, 7]);
    assert_eq!(matches("fd.name pmatch (/sr)"), NONE);
    assert_eq!(matches("fd.name pmatch (/)"), [6, 7, 9]);
    assert_eq!(matches("fd.name glob /s*"), [6, 7, 9]);
    assert_eq!(matches("fd.name iglob *.BIN"), [6, 7]);
    assert_eq!(matches("fd.name regex /s.*t"), [9]);
    assert_eq!(
        matches("fd.name regex data"),
        NONE,
        "the whole text must match"
    );
    assert_eq!(matches("fd.filename = data.bin"), [6, 7]);
    assert_eq!(matches("fd.directory = /"), [9]);
    assert_eq!(matches("fd.num = 3"), [6, 7]);
    assert_eq!(matches("fd.type = file"), [6, 7, 9]);
    assert_eq!(matches("fd.type = pipe"), [8]);
    assert_eq!(matches("fd.type = ipv4"), [10, 11, 12, 13]);
    assert_eq!(matches("fd.typechar = 4"), [10, 11, 12, 13]);
    assert_eq!(matches("fd.stdio = stderr"), [8]);
    assert_eq!(matches("fd.l4proto = udp"), [10, 11, 12, 13]);
    assert_eq!(matches("fd.name = 10.0.0.7:53"), [11, 12, 13]);
    assert_eq!(matches("fd.sip = 10.0.0.7"), [11, 12, 13]);
    assert_eq!(matches("fd.rip != 10.0.0.7"), NONE);
    assert_eq!(matches("fd.snet = 10.0.0.0/8"), [11, 12, 13]);
    assert_eq!(matches("fd.ip in (10.0.0.8, 10.0.0.7)"), [11, 12, 13]);
    assert_eq!(matches("fd.cip exists"), NONE);
    assert_eq!(
        matches("fd.sport = 53 and fd.rport = 53 and fd.port = 53"),
        [11, 12, 13]
    );
    assert_eq!(matches("fs.path.name = /secret"), [9]);
    assert_eq!(matches("fs.path.nameraw exists"), [1, 4, 6, 9]);
}

#[test]
fn who_listens_is_the_server() {
    let mut s = Script::new(&["app"]);
    s.call(INIT, K::SOCKET, 3, [2, 1, 0], "", "")
        .call(INIT, K::BIND, 0, [3, 0, 0], inet([0, 0, 0, 0], 80), "")
        .call(INIT, K::LISTEN, 0, [3, 128, 0], "", "")
        .call(
            INIT,
            K::ACCEPT4,
            5,
            [3, 0, 0],
            inet([10, 1, 1, 1], 40000),
            "",
        )
        .write(INIT, 5, "hello");
    let matches = |filter: &str| matching(filter, &header(), &[s.clone()]);
    assert_eq!(matches("fd.sport = 80"), [4, 5, 6, 7]);
    assert_eq!(matches("fd.cip = 10.1.1.1"), [6, 7]);
    assert_eq!(matches("fd.cport = 40000 and fd.rport = 40000"), [6, 7]);
    assert_eq!(matches("fd.sip exists"), NONE, "bound to every address");
    assert_eq!(matches("fd.num = 5"), [6, 7]);
    assert_eq!(matches("fd.name contains 10.1.1.1:40000->"), [6, 7]);
    assert_eq!(matches("fd.port = 80 and fd.port = 40000"), [6, 7]);
    assert_eq!(matches("fd.port != 80 and fd.port exists"), NONE);
}

#[test]
fn dns() {
    assert_eq!(matches("dns.name = flask"), [12, 13]);
    assert_eq!(matches("dns.rcode = NXDOMAIN"), [13]);
    assert_eq!(matches("dns.response = false"), [12]);
    assert_eq!(matches("dns.type = A and dns.id = 7"), [12, 13]);
    assert_eq!(matches("dns.answer exists"), NONE);
}

#[test]
fn flags_are_several() {
    let mut s = Script::empty();
    let flags = EventFlags::TORN | EventFlags::REDACTED;
    s.push(Event {
        flags,
        ..Event::default()
    })
    .push(Event::default());
    let matches = |filter: &str| matching(filter, &header(), &[s.clone()]);
    assert_eq!(matches("evt.flags = torn and evt.flags = redacted"), [1]);
    assert_eq!(matches("evt.flags in (torn, adopted)"), [1]);
    assert_eq!(matches("evt.flags != torn"), NONE);
    assert_eq!(matches("evt.flags != adopted"), [1]);
    assert_eq!(matches("not evt.flags exists"), [2]);
}

#[test]
fn places() {
    let mut header = header();
    header.container.id = "3ad7b26ded6d8e7b23da7d48fe889434573036c27ae5a74837233de441c3601e".into();
    header.container.image = "nginx:1.29".into();
    header.pod = Some(Pod {
        namespace: "shop".into(),
        name: "web-1".into(),
        uid: "u".into(),
    });
    let all = |filter: &str| matching(filter, &header, &[story(), story()]).len();
    assert_eq!(
        all("container.id = 3ad7b26ded6d and container.full_id endswith 601e"),
        30
    );
    assert_eq!(
        all("container.name = nginx and container.image contains nginx"),
        30
    );
    assert_eq!(
        all("k8s.pod.name = web-1 and k8s.ns.name = shop and k8s.pod.uid = u"),
        30
    );
    assert_eq!(all("evt.hostname = node-1"), 30);
    assert_eq!(all("run.number = 2"), 15);
    assert_eq!(matches("k8s.pod.name exists or container.id exists"), NONE);
}

#[test]
fn the_case_it_is_measured_by() {
    let of_nginx = |filter: &str| matching(filter, &header(), &[nginx()]).len();
    assert_eq!(
        of_nginx("proc.name=nginx and fd.name contains error.log"),
        2
    );
    assert_eq!(
        of_nginx("fd.filename = resolv.conf and evt.is_io_read = true"),
        2
    );
    assert_eq!(of_nginx("dns.rcode = NXDOMAIN and fd.sport = 53"), 8);
    assert_eq!(of_nginx("evt.failed=true"), 1);
}
