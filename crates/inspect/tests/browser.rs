//! Reports in a real browser: Chromium, driven by Playwright (`tests/browser/report.py`).
//!
//! `cargo xtask browser` sets both up and runs these tests; it is a part of `cargo xtask test`.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use capture_format::Reader;

mod hostile;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn write_report<R: std::io::Read + std::io::Seek>(reader: &mut Reader<R>, page: &Path) {
    let mut out = Vec::new();
    inspect::report::write(reader, &mut out).unwrap();
    std::fs::write(page, out).unwrap();
}

/// A report of every capture, and of a hostile one.
fn write_reports(folder: &Path) {
    for file in workspace().join("tests/captures").read_dir().unwrap() {
        let path = file.unwrap().path();
        if path.extension() == Some(OsStr::new("lwcap")) {
            let mut reader: Reader<File> = capture_format::open_file(&path).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap();
            write_report(&mut reader, &folder.join(format!("{name}.html")));
        }
    }
    write_report(&mut hostile::capture(), &folder.join("hostile.html"));
}

#[test]
#[ignore = "needs Chromium and Playwright: cargo xtask browser"]
fn reports_work_in_a_browser() {
    let folder = match std::env::var_os("LASTWORD_REPORTS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("reports"),
    };
    std::fs::create_dir_all(&folder).unwrap();
    write_reports(&folder);
    let status = Command::new("python3")
        .arg(workspace().join("tests/browser/report.py"))
        .arg(&folder)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}
