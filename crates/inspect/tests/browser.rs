//! Reports in a real browser: Chromium, driven by Playwright (`tests/browser/report.py`).
//!
//! `cargo xtask browser` sets both up and runs these tests; it is a part of `cargo xtask test`.

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

/// Captures whose reports are opened, each for what its page has that the others have not. What has to hold of every report
/// without a browser is in `report.rs`.
const CAPTURES: [&str; 12] = [
    "cluster-cpu-starved",    // the longest page: rows that are left out
    "cluster-liveness-kill",  // a pod, probes, executions beside the application
    "command-not-executable", // no process
    "differing-runs",         // three runs, two of them alike
    "disk-full-dd",           // bytes that are not text
    "dns-silent-python",      // names that nobody answered for
    "exit-zero",              // nothing that failed
    "library-missing",        // the longest list of files for one process
    "nginx-upstream",         // filters, keys and links are tried here
    "oom-killed",             // several processes in the chart; colours are tried here
    "refused-retries",        // connections
    "silent",                 // no cause that is known
];

/// A report of each of them, and of a hostile capture.
fn write_reports(folder: &Path) {
    for name in CAPTURES {
        let capture = workspace().join(format!("tests/captures/{name}.lwcap"));
        let mut reader: Reader<File> = capture_format::open_file(&capture).unwrap();
        write_report(&mut reader, &folder.join(format!("{name}.html")));
    }
    write_report(&mut hostile::capture(), &folder.join("hostile.html"));
}

#[test]
#[ignore = "needs Chromium and Playwright: cargo xtask browser"]
fn reports_work_in_a_browser() {
    let folder = match std::env::var_os("LASTWORD_REPORTS") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reports");
            // It may hold reports of other captures, from an earlier run.
            let _ = std::fs::remove_dir_all(&folder);
            folder
        }
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
