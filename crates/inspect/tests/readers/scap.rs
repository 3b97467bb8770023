//! scap, opened by sysdig and Stratoshark.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use capture_format::{Class, Event, EventKind as K};
use libtest_mimic::Failed;

use crate::capture::{Expected, Exported, is_transfer};
use crate::program::Program;
use crate::{Case, same};

pub(crate) const CASES: &[Case] = &[
    (
        "sysdig_shows_processes_files_and_payloads",
        Some(new),
        |it| transfers(it, &new(), "scap"),
    ),
    (
        "sysdig_of_2022_shows_processes_files_and_payloads",
        Some(old),
        |it| transfers(it, &old(), "classic.scap"),
    ),
    ("sysdig_shows_opens_and_programs", Some(new), |it| {
        opens_and_programs(it, &new(), "scap")
    }),
    ("sysdig_of_2022_shows_opens_and_programs", Some(old), |it| {
        opens_and_programs(it, &old(), "classic.scap")
    }),
    ("sysdig_shows_sockets", Some(new), |it| {
        sockets(it, &new(), "scap")
    }),
    ("sysdig_of_2022_shows_sockets", Some(old), |it| {
        sockets(it, &old(), "classic.scap")
    }),
    ("sysdig_shows_cgroups_and_verdict", Some(new), |it| {
        cgroups(it, &new())?;
        verdicts(it, &new(), "scap")
    }),
    (
        "sysdig_of_2022_shows_container_pod_and_verdict",
        Some(old),
        |it| {
            container(it, &old())?;
            verdicts(it, &old(), "classic.scap")
        },
    ),
    (
        "stratoshark_shows_processes_and_files",
        Some(strato),
        |it| stratoshark(it),
    ),
    (
        "capinfos_shows_the_verdict_as_comment",
        Some(capinfos),
        |it| {
            let said = capinfos().run(["-k", &it.file("scap")])?;
            let sentence = &it.explanation.sentence;
            same("comment", said.contains(sentence), true)
        },
    ),
];

fn new() -> Program {
    Program::named("sysdig")
}

fn old() -> Program {
    Program::named("sysdig-classic")
}

fn strato() -> Program {
    Program::named("strato")
}

fn capinfos() -> Program {
    Program::named("capinfos")
}

/// Lines of fields, of the exit events that the filter lets through; `<NA>` for what an event does not have.
fn lines(
    sysdig: &Program,
    file: &str,
    fields: &str,
    filter: &str,
) -> Result<Vec<Vec<String>>, Failed> {
    let format = format!("*{fields}");
    let said = sysdig.run(["-r", file, "-b", "-p", &format, filter])?;
    // The last one may hold what parts the fields.
    let count = fields.matches('|').count() + 1;
    let lines = said
        .lines()
        .map(|line| line.splitn(count, '|').map(str::to_owned));
    Ok(lines.map(Iterator::collect).collect())
}

/// Payloads that newer sysdigs print whole: of larger ones they print that of an earlier event.
const PRINTED: usize = 512;
/// What newer sysdigs print of an empty one, before the rest of an earlier one: `NULL` in Base64.
const EMPTY: &str = "TlVMT";

/// What sysdig prints of a payload: in Base64, which newer ones do twice.
fn payload(bytes: &[u8], format: &str) -> String {
    let once = BASE64_STANDARD.encode(bytes);
    match format {
        "scap" => BASE64_STANDARD.encode(once),
        _ => once,
    }
}

/// Process, descriptor, file and payload of everything read and written.
fn transfers(capture: &Exported, sysdig: &Program, format: &str) -> Result<(), Failed> {
    let fields = "%proc.pid|%thread.tid|%proc.name|%fd.num|%fd.name|%evt.rawres|%evt.buffer";
    let filter = "evt.dir = < and evt.type in (read, write, readv, writev)";
    let found = lines(sysdig, &capture.file(format), fields, filter)?;
    let expected = capture
        .events
        .iter()
        .filter(|it| is_transfer(it.event.kind));
    let expected: Vec<&Expected> = expected.collect();
    same("number of reads and writes", found.len(), expected.len())?;
    for (found, it) in found.iter().zip(expected) {
        let Expected { event, .. } = it;
        let mut line = vec![event.pid.to_string(), event.tid.to_string()];
        line.extend([it.process.clone(), event.args[0].to_string()]);
        line.push(it.file.clone().unwrap_or_else(|| found[4].clone()));
        let is_printed = (1..=PRINTED).contains(&event.data.len());
        let data = if is_printed || format != "scap" {
            payload(&event.data, format)
        } else {
            found[6].clone()
        };
        line.extend([event.ret.to_string(), data]);
        same(&format!("event {}", it.number), found, &line)?;
    }
    Ok(())
}

fn is_open(event: &Event) -> bool {
    event.kind.class() == Class::Opens
}

fn opens_and_programs(capture: &Exported, sysdig: &Program, format: &str) -> Result<(), Failed> {
    let fields = "%proc.pid|%proc.name|%evt.rawres|%evt.arg.name";
    let filter = "evt.dir = < and evt.type = openat";
    let mut opens = lines(sysdig, &capture.file(format), fields, filter)?;
    let line = |it: &Expected, what: String| {
        let Expected { event, process, .. } = it;
        vec![
            event.pid.to_string(),
            process.clone(),
            event.ret.to_string(),
            what,
        ]
    };
    let expected = capture.events.iter().filter(|it| is_open(&it.event));
    let expected: Vec<Vec<String>> = expected.map(|it| line(it, it.path.clone())).collect();
    // The reader makes up a working directory where none is known.
    for (found, expected) in opens.iter_mut().zip(&expected) {
        if !expected[3].starts_with('/') {
            found[3].clone_from(&expected[3]);
        }
    }
    same("opens", opens, expected)?;

    let fields = "%proc.pid|%proc.name|%evt.arg.exe|%proc.args";
    let filter = "evt.dir = < and evt.type = execve and evt.rawres = 0";
    let programs = lines(sysdig, &capture.file(format), fields, filter)?;
    let executed = capture.events.iter().filter(|it| it.event.kind == K::EXEC);
    let expected = executed.map(|it| {
        let args = String::from_utf8_lossy(&it.event.data).into_owned();
        let args: Vec<&str> = args.split_terminator('\0').collect();
        let (exe, args) = args.split_first().unwrap();
        vec![
            it.event.pid.to_string(),
            it.process.clone(),
            (*exe).to_owned(),
            args.join(" "),
        ]
    });
    same("programs", programs, as_printed(expected.collect()))
}

/// The same as [`lines`] reads it: an argument may hold line ends.
fn as_printed(lines: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let parts = |text: &str, count| text.splitn(count, '|').map(str::to_owned).collect();
    let of_line = lines.iter().flat_map(|fields| {
        let text = fields.join("|") + "\n";
        let lines: Vec<Vec<String>> = text.lines().map(|line| parts(line, fields.len())).collect();
        lines
    });
    of_line.collect()
}

/// Addresses of what was connected, and the DNS messages that went over it.
fn sockets(capture: &Exported, sysdig: &Program, format: &str) -> Result<(), Failed> {
    let fields = "%proc.pid|%fd.num|%evt.arg.tuple";
    let filter = "evt.dir = < and evt.type = connect and fd.type in (ipv4, ipv6)";
    let found = lines(sysdig, &capture.file(format), fields, filter)?;
    let connects = capture.events.iter();
    let connects = connects.filter(|it| it.event.kind == K::CONNECT);
    let expected = connects.filter_map(|it| {
        let address = events::decode::SockAddr::parse(&it.event.name)?.inet()?;
        let (pid, fd) = (it.event.pid.to_string(), it.event.args[0].to_string());
        Some(vec![pid, fd, format!("0.0.0.0:0->{address}")])
    });
    same("connects", found, expected.collect())?;

    let filter =
        "evt.dir = < and evt.type in (sendto, sendmsg, recvfrom, recvmsg) and evt.buflen > 0";
    let found = lines(
        sysdig,
        &capture.file(format),
        "%proc.pid|%evt.buffer",
        filter,
    )?;
    let messages = capture.events.iter().filter(|it| {
        matches!(it.event.kind.class(), Class::Sends | Class::Receives) && !it.event.data.is_empty()
    });
    let expected =
        messages.map(|it| vec![it.event.pid.to_string(), payload(&it.event.data, format)]);
    let found = found
        .into_iter()
        .filter(|line| !line[1].is_empty() && !line[1].starts_with(EMPTY));
    same("messages", found.collect(), expected.collect::<Vec<_>>())
}

/// The cgroups, from which readers with their container plugin tell the container; Debian's come without it.
fn cgroups(capture: &Exported, sysdig: &Program) -> Result<(), Failed> {
    let filter = "evt.dir = < and evt.type = openat";
    let found = lines(sysdig, &capture.file("scap"), "%thread.cgroups", filter)?;
    let id = &capture.header.container.id;
    let expected = match id.as_str() {
        "" => "<NA>".to_owned(),
        id => format!("cpuset=/kubepods.slice/cri-containerd-{id}.scope"),
    };
    let mut lines = found.into_iter();
    lines.try_for_each(|line| same("cgroups", line, vec![expected.clone()]))
}

fn container(capture: &Exported, sysdig: &Program) -> Result<(), Failed> {
    let fields = "%container.id|%container.name|%container.image|%k8s.ns.name|%k8s.pod.name";
    let filter = "evt.dir = < and evt.type = openat";
    let found = lines(sysdig, &capture.file("classic.scap"), fields, filter)?;
    let container = &capture.header.container;
    let told = |text: &str| match text {
        "" => "<NA>".to_owned(),
        text => text.to_owned(),
    };
    let expected = match (container.id.get(..12), &capture.header.pod) {
        (Some(id), pod) => {
            let (namespace, name) = pod
                .as_ref()
                .map_or(("", ""), |pod| (&pod.namespace, &pod.name));
            [
                id,
                &told(&container.name),
                &told(&container.image),
                &told(namespace),
                &told(name),
            ]
            .map(str::to_owned)
        }
        _ => ["host", "host", "<NA>", "<NA>", "<NA>"].map(str::to_owned),
    };
    let mut lines = found.into_iter();
    lines.try_for_each(|line| same("container", line, expected.to_vec()))
}

fn verdicts(capture: &Exported, sysdig: &Program, format: &str) -> Result<(), Failed> {
    let filter = "evt.type = notification and evt.arg.id = verdict";
    let found = lines(sysdig, &capture.file(format), "%evt.arg.desc", filter)?;
    let found: Vec<String> = found.iter().map(|line| line.join("|")).collect();
    let runs = capture.explanation.runs.iter();
    let expected = runs.map(|run| run.verdict.sentence.clone()).collect();
    same("verdicts", found, expected)
}

/// Stratoshark shows the same processes and files; its command line prints payloads without NULs.
fn stratoshark(capture: &Exported) -> Result<(), Failed> {
    let file = capture.file("scap");
    let fields = ["proc.pid", "proc.name", "fd.name"].map(|field| ["-e", field]);
    let mut arguments = vec!["-r", &file, "-T", "fields", "-E", "separator=|"];
    arguments.extend(fields.iter().flatten());
    let filter = r#"evt.type in {"read", "write", "readv", "writev"}"#;
    arguments.extend(["-Y", filter]);
    let said = strato().run(arguments)?;
    let transfers = capture
        .events
        .iter()
        .filter(|it| is_transfer(it.event.kind));
    let transfers: Vec<&Expected> = transfers.collect();
    let found: Vec<Vec<&str>> = said.lines().map(|line| line.split('|').collect()).collect();
    same("number of reads and writes", found.len(), transfers.len())?;
    for (found, it) in found.into_iter().zip(transfers) {
        let file = it.file.as_deref().unwrap_or(found[2]);
        let pid = it.event.pid.to_string();
        let expected = vec![pid.as_str(), it.process.as_str(), file];
        same(&format!("event {}", it.number), found, expected)?;
    }
    Ok(())
}
