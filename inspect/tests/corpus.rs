//! Every real capture of `tests/captures` through every reading command, as text and as JSON: a capture that is
//! dropped in there gets its cases by itself (`cargo insta review` then shows what it says).

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use capture_format::Reader;
use inspect::explain::explain;
use inspect::info::Info;
use inspect::show::{Options, show};

fn captures() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures");
    let files = directory
        .read_dir()
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut captures: Vec<PathBuf> = files
        .filter(|path| path.extension() == Some(OsStr::new("lwcap")))
        .collect();
    captures.sort();
    captures
}

/// What `command` writes of each capture, as a snapshot of the capture's and the command's name.
fn each(command: &str, write: impl Fn(&mut Reader<File>, &mut Vec<u8>)) {
    let captures = captures();
    assert!(!captures.is_empty());
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for path in captures {
            let mut out = Vec::new();
            write(&mut capture_format::open_file(&path).unwrap(), &mut out);
            let name = path.file_stem().unwrap().to_str().unwrap();
            insta::assert_snapshot!(format!("{name}.{command}"), String::from_utf8(out).unwrap());
        }
    });
}

#[test]
fn explained() {
    each("explain", |reader, out| {
        explain(reader).write_text(out).unwrap()
    });
}

#[test]
fn explained_as_json() {
    each("explain-json", |reader, out| {
        serde_json::to_writer_pretty(out, &explain(reader)).unwrap()
    });
}

#[test]
fn told_about() {
    each("info", |reader, out| {
        Info::of(reader).write_text(out).unwrap()
    });
}

#[test]
fn told_about_as_json() {
    each("info-json", |reader, out| {
        serde_json::to_writer_pretty(out, &Info::of(reader)).unwrap()
    });
}

#[test]
fn shown() {
    each("show", |reader, out| {
        show(reader, out, Options::default()).unwrap()
    });
}

#[test]
fn shown_as_json() {
    each("show-json", |reader, out| {
        show(
            reader,
            out,
            Options {
                json: true,
                ..Options::default()
            },
        )
        .unwrap()
    });
}
