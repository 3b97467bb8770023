//! What precedes the events in a `.scap` file: comment, machine, processes with their descriptors, and the container.

use std::io::{self, Read, Seek, Write};

use capture_format::{BootTime, Event, EventKind, FdType, Header, Reader, Run, RunIndex};
use serde_json::json;

use super::Flavour;
use super::block::{Body, DESCRIPTORS, MACHINE, MAX_LIST, PROCESSES, SECTION, write_block};
use super::lives::comm;
use super::tables::{FD_FILE, FD_PIPE, FD_UNIX};
use crate::export::time_of_day;
use crate::select::Selection;
use events::basename;
use events::context::Context;
use events::escape::escaped;
use verdict::explain::Explanation;

/// Longest comment, in bytes.
const MAX_COMMENT: usize = 4096;
/// In how many events of a run the name of its first process and its descriptors 0 to 2 are looked for.
const MAX_LOOK: usize = 256;
/// `opt_comment` of pcapng.
const COMMENT: u16 = 1;

/// Writes everything before the first event.
pub(super) fn write<R: Read + Seek>(
    reader: &mut Reader<R>,
    select: &Selection,
    flavour: Flavour,
    explanation: &Explanation,
    cgroups: &[u8],
    out: &mut impl Write,
) -> io::Result<()> {
    let header = reader.header().clone();
    let comment = (flavour == Flavour::Modern).then(|| comment(&header, &explanation.sentence));
    write_block(out, SECTION, &section(comment.as_deref()))?;
    write_block(out, MACHINE, &machine(&header))?;
    let runs = reader.runs().to_vec();
    let first = |run: &Run| run.init_pid != 0 && select.takes_run(run);
    let mut processes = Vec::new();
    let mut streams = Vec::new();
    for (index, run) in reader.indexes().zip(&runs).filter(|(_, run)| first(run)) {
        let begin = begin(reader, index, run.init_pid);
        processes.entry(&process(run, &header, &begin, cgroups));
        streams.extend(begin.stdio);
    }
    write_block(out, PROCESSES, &processes)?;
    for stdio in &streams {
        write_block(out, DESCRIPTORS, &descriptors(stdio))?;
    }
    Ok(())
}

/// What the first events of a run say about its first process.
#[derive(Default)]
struct Begin {
    /// The name; empty if the process has no event among them.
    name: Vec<u8>,
    /// Descriptors 0 to 2 of the process.
    stdio: Option<Event>,
}

fn begin<R: Read + Seek>(reader: &mut Reader<R>, index: RunIndex, init: u32) -> Begin {
    let mut begin = Begin::default();
    let mut context = Context::default();
    for it in reader.events(index).take(MAX_LOOK).flatten() {
        let seen = context.observe(it.number, &it.event);
        if it.event.pid != init {
            continue;
        }
        if begin.name.is_empty() {
            begin.name = seen.program.name.to_vec();
        }
        if it.event.kind == EventKind::STDIO {
            begin.stdio = Some(it.event);
            break;
        }
    }
    begin
}

/// Magic number, version 1.2, no length; then the comment.
fn section(comment: Option<&str>) -> Vec<u8> {
    let mut body = Vec::new();
    body.u32(0x1a2b_3c4d).u16(1).u16(2).u64(u64::MAX);
    if let Some(comment) = comment {
        let padding = comment.len().next_multiple_of(4) - comment.len();
        body.u16(COMMENT).s16(comment.as_bytes(), MAX_COMMENT);
        body.extend_from_slice(&[0; 3][..padding]);
        body.u32(0);
    }
    body
}

fn comment(header: &Header, sentence: &str) -> String {
    let mut comment = sentence.to_owned();
    let container = escaped(header.container.name.as_bytes());
    comment.push_str(&match &header.pod {
        Some(pod) => {
            let (namespace, name) = (pod.namespace.as_bytes(), pod.name.as_bytes());
            let (namespace, name) = (escaped(namespace), escaped(name));
            format!("\nPod {namespace}/{name}, container {container}")
        }
        None => format!("\nContainer {container}"),
    });
    let mut end = comment.len().min(MAX_COMMENT);
    while !comment.is_char_boundary(end) {
        end -= 1;
    }
    comment.truncate(end);
    comment
}

/// The machine. What is not recorded is 0, except one processor, because the reader makes a queue for each.
fn machine(header: &Header) -> Vec<u8> {
    let mut name = [0; 128];
    let host = header.host.name.as_bytes();
    let length = host.len().min(name.len() - 1);
    name[..length].copy_from_slice(&host[..length]);
    let mut body = Vec::new();
    body.u32(1).u64(0).u64(0).extend_from_slice(&name);
    let booted = time_of_day(BootTime(0), &header.host).0;
    body.u64(booted).u64(0).u64(0).u64(0);
    body
}

/// The first process of a run, before it executes its command. Other processes of the machine do not
/// concern the reader, and environments are not exported.
fn process(run: &Run, header: &Header, begin: &Begin, cgroups: &[u8]) -> Vec<u8> {
    let pid = u64::from(run.init_pid);
    let command = &header.container.command;
    let exe = command.first().map_or(&b""[..], |exe| exe.as_bytes());
    let args: Vec<u8> = command
        .iter()
        .skip(1)
        .flat_map(|arg| arg.bytes().chain([0]))
        .collect();
    let name = match (&begin.name[..], exe) {
        ([], []) => header.container.name.as_bytes(),
        ([], exe) => basename(exe),
        (name, _) => name,
    };
    let mut body = Vec::new();
    body.u64(pid).u64(pid).u64(0).u64(pid).u64(pid);
    body.string(comm(name)).string(exe).string(exe);
    body.s16(&args, MAX_LIST).string(b"");
    // Limit of descriptors; flags, user, group, memory; page faults; environment.
    body.u64(0).u32(0).u32(0).u32(0).u32(0).u32(0).u32(0);
    body.u64(0).u64(0).s16(b"", MAX_LIST);
    // The process is the first one in its pid namespace.
    body.u64(1).u64(1).s16(cgroups, MAX_LIST).string(b"/");
    // Start of the namespace; terminal, login user; executable, capabilities; upper layer; inode; memfd, lower layer;
    // group.
    body.u64(0).u32(0).u32(u32::MAX).u8(0).u64(0).u64(0).u64(0);
    body.u8(0).u64(0).u64(0).u64(0).u8(0).u8(0).u64(pid);
    body
}

/// Descriptors 0 to 2 with the names of the standard streams. What they refer to is not recorded.
fn descriptors(stdio: &Event) -> Vec<u8> {
    let mut body = Vec::new();
    body.u64(stdio.pid.into());
    let names = ["stdin", "stdout", "stderr"];
    for ((number, name), entry) in (0u64..).zip(names).zip(stdio.data.chunks_exact(16)) {
        let word = |at: usize| {
            entry[at..]
                .first_chunk()
                .map_or(0, |it| u64::from_le_bytes(*it))
        };
        let (inode, mode) = (word(0), word(8));
        if mode == 0 {
            continue;
        }
        let mut fd = Vec::new();
        fd.u64(number).u64(inode);
        match FdType((mode >> 12 & 0xf) as u8) {
            FdType::FIFO => fd.u8(FD_PIPE).string(name.as_bytes()),
            FdType::SOCKET => fd.u8(FD_UNIX).u64(0).u64(0).string(name.as_bytes()),
            _ => fd.u8(FD_FILE).u32(0).string(name.as_bytes()).u32(0),
        };
        body.entry(&fd);
    }
    body
}

/// The cgroups of a thread, by which the reader finds its container; empty outside of a container.
pub(super) fn cgroups(header: &Header) -> Vec<u8> {
    match header.container.id.as_str() {
        "" => Vec::new(),
        id => {
            let mut text = format!("cpuset=/kubepods.slice/cri-containerd-{id}.scope");
            text.retain(|c| c != '\0');
            text.push('\0');
            text.into_bytes()
        }
    }
}

/// The description of the container for the reader; `None` for what `lastword run` recorded.
pub(super) fn container(header: &Header) -> Option<String> {
    /// The runtime is not recorded. Readers only display it.
    const CONTAINERD: u8 = 7;
    let container = &header.container;
    let id = container.id.as_str();
    if id.is_empty() {
        return None;
    }
    let short: String = id.chars().take(12).collect();
    let mut labels = json!({ "io.kubernetes.container.name": container.name });
    let pod = header.pod.as_ref();
    for (key, value) in [
        ("name", pod.map(|pod| &pod.name)),
        ("namespace", pod.map(|pod| &pod.namespace)),
        ("uid", pod.map(|pod| &pod.uid)),
    ] {
        if let Some(value) = value {
            labels[format!("io.kubernetes.pod.{key}")] = json!(value);
        }
    }
    let document = json!({ "container": {
        "id": short, "full_id": id, "type": CONTAINERD, "name": container.name, "image": container.image,
        "imagedigest": container.image_id, "labels": labels, "lookup_state": 1, "is_pod_sandbox": false, "privileged": false,
        "Mounts": [], "port_mappings": [], "env": [], "ip": "0.0.0.0", "created_time": 0,
    }});
    Some(document.to_string())
}
