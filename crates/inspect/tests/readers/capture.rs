//! Captures, what is in them, and their exports.

use std::collections::HashSet;
use std::fs::{File, create_dir_all, read_dir};
use std::io::{Cursor, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use capture_format::{Class, Event, EventKind as K, Header, Pod, Reader, Run, RunIndex, Writer};
use events::context::Context;
use events::fds::{Fd, Target};
use inspect::export::{otlp, pcapng, perfetto, scap};
use inspect::select::Selection;
use verdict::explain::{Explanation, explain};

/// A capture and its exports.
pub(crate) struct Exported {
    pub(crate) name: String,
    pub(crate) header: Header,
    pub(crate) explanation: Explanation,
    pub(crate) events: Vec<Expected>,
    folder: PathBuf,
}

/// An event, and what earlier ones tell of it.
pub(crate) struct Expected {
    pub(crate) event: Event,
    /// Name of its process, in the kernel's 15 bytes.
    pub(crate) process: String,
    /// Path of its descriptor, or the name of the standard stream; none where that is not known.
    pub(crate) file: Option<String>,
    /// Its path, absolute where that is known.
    pub(crate) path: String,
    /// Its number in the capture.
    pub(crate) number: u64,
}

impl Exported {
    /// A file of this format.
    pub(crate) fn file(&self, format: &str) -> String {
        let path = self.folder.join(format);
        path.to_str().expect("a path in UTF-8").to_owned()
    }
}

/// Every capture of `tests/captures`, and one as it would come from Kubernetes.
pub(crate) fn all() -> &'static [Exported] {
    static ALL: OnceLock<Vec<Exported>> = OnceLock::new();
    ALL.get_or_init(|| {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures");
        let files = read_dir(directory)
            .unwrap()
            .map(|file| file.unwrap().path());
        let captures = files.filter(|path| path.extension().is_some_and(|it| it == "lwcap"));
        let mut all: Vec<Exported> = captures
            .map(|path| {
                let name = path.file_stem().unwrap().to_str().unwrap();
                exported(name, capture_format::open_file(&path).unwrap())
            })
            .collect();
        assert!(!all.is_empty());
        all.push(exported("kubernetes", kubernetes()));
        all
    })
}

/// nginx's capture, as if it came from a pod.
fn kubernetes() -> Reader<Cursor<Vec<u8>>> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures/nginx-upstream.lwcap");
    let mut reader = capture_format::open_file(&path).unwrap();
    let mut header = reader.header().clone();
    header.container.id = "0123456789abcdef".repeat(4);
    header.container.image = "nginx:1.29".to_owned();
    header.pod = Some(Pod {
        namespace: "shop".to_owned(),
        name: "web-5796d5bc7c-2jdr5".to_owned(),
        uid: "6f9c8f9e-1f0d-4b0e-9d1e-000000000001".to_owned(),
    });
    let runs: Vec<Run> = reader.runs().to_vec();
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    for (index, run) in runs.iter().enumerate() {
        writer.begin_run(run).unwrap();
        for event in reader.events(RunIndex(index)) {
            writer.event(&event.unwrap().event).unwrap();
        }
        writer.end_run().unwrap();
    }
    Reader::open(Cursor::new(writer.finish().unwrap().0)).unwrap()
}

fn exported<R: Read + Seek>(name: &str, mut reader: Reader<R>) -> Exported {
    // Not a temporary one: nobody would remove it, since the captures are there until the process ends.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("readers")
        .join(name);
    create_dir_all(&folder).unwrap();
    let exported = Exported {
        name: name.to_owned(),
        header: reader.header().clone(),
        explanation: explain(&mut reader),
        events: expected(&mut reader),
        folder,
    };
    let all = &Selection::default();
    let create = |format: &str| File::create(exported.file(format)).unwrap();
    let (modern, classic) = (scap::Flavour::Modern, scap::Flavour::Classic);
    scap::write(&mut reader, all, modern, &mut create("scap")).unwrap();
    scap::write(&mut reader, all, classic, &mut create("classic.scap")).unwrap();
    pcapng::write(&mut reader, all, &mut create("pcapng")).unwrap();
    perfetto::write(&mut reader, all, &mut create("pftrace")).unwrap();
    otlp::write(&mut reader, all, &mut create("otlp.jsonl")).unwrap();
    exported
}

fn expected<R: Read + Seek>(reader: &mut Reader<R>) -> Vec<Expected> {
    let mut all = Vec::new();
    for index in reader.indexes() {
        let mut context = Context::default();
        // Of others the reader is not told what their standard streams are.
        let mut of_application = HashSet::from([reader.runs()[index.0].init_pid]);
        for event in reader.events(index) {
            let event = event.unwrap();
            if event.event.kind == K::FORK && of_application.contains(&event.event.pid) {
                of_application.insert(event.event.ret as u32);
            }
            let seen = context.observe(event.number, &event.event);
            let name = &seen.program.name;
            let name = name[..name.len().min(15)].to_vec();
            all.push(Expected {
                process: String::from_utf8(name).unwrap(),
                file: seen.fd.as_ref().and_then(|fd| {
                    let is_told = fd.stdio.is_none() || of_application.contains(&event.event.pid);
                    file(fd).filter(|_| is_told)
                }),
                path: String::from_utf8_lossy(&seen.path).into_owned(),
                number: event.number,
                event: event.event,
            });
        }
    }
    all
}

fn file(fd: &Fd) -> Option<String> {
    match (&fd.target, fd.stdio) {
        (Target::Path(path), _) if path.starts_with(b"/") => {
            Some(without_dots(&String::from_utf8_lossy(path)))
        }
        (Target::Inherited(_), Some(stdio)) => Some(stdio.to_string()),
        _ => None,
    }
}

/// As sysdig and Stratoshark show a descriptor's path: without `..`.
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." if parts.len() > 1 => drop(parts.pop()),
            ".." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whether a call moves bytes by a descriptor of any kind.
pub(crate) fn is_transfer(kind: K) -> bool {
    kind.class() == Class::Reads || kind.class() == Class::Writes
}
