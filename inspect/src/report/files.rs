//! The files a run opened, read and wrote, with how many bytes.

use maud::{Markup, html};

use super::bounded::first;
use super::gather::{File, Gathered};
use super::page::{left_out, none, table};
use super::shown::Shown;
use crate::decode::time::size;

/// Bytes of a path.
const MAX_PATH: usize = 300;

pub(super) fn files(run: &Gathered) -> Markup {
    let mut files: Vec<(&Vec<u8>, &File)> = run.files.iter().collect();
    // What was read or written comes before what was merely opened; configuration before libraries.
    files.sort_by_key(|(path, file)| (rank(path, file), file.first));
    if files.is_empty() {
        return none("No file was opened, read or written, as far as was recorded.");
    }
    let rows = first(files.iter(), run.room.table, |(path, file)| {
        row(run, path, file)
    });
    html! {
        (table("files", &["Event", "Path", "Read", "Written", "Opened", "Process"], &html! { (rows) }))
        (left_out(rows.left_out, "files", "show"))
        @if run.more_files { p.note { "There were more files than are told apart here." } }
    }
}

fn rank(path: &[u8], file: &File) -> u8 {
    let library = path.windows(3).any(|part| part == b".so");
    let system = [&b"/proc/"[..], b"/sys/", b"/dev/"];
    let moved = file.read > 0 || file.written > 0;
    match (
        moved,
        library,
        system.iter().any(|start| path.starts_with(start)),
    ) {
        (true, false, false) => 0,
        (true, ..) => 1,
        (false, false, false) => 2,
        (false, ..) => 3,
    }
}

fn row(run: &Gathered, path: &[u8], file: &File) -> Markup {
    html! {
        tr.row data-kind="file" data-process=(file.process) {
            td.number { (run.link(file.first)) }
            td.what { (Shown::raw(path, MAX_PATH)) @if file.masked { " " span.mark { "masked" } } }
            td.count { @if file.read > 0 {
                (size(file.read))
                @if file.held == 0 { span.soft { ", content not recorded" } }
                @else if file.held < file.read { span.soft { ", " (size(file.held)) " of it recorded" } }
            } }
            td.count { @if file.written > 0 { (size(file.written)) } }
            td.count { @if file.opens > 0 { (file.opens) "×" } @else { span.soft { "before" } } }
            td.who { (file.process) }
        }
    }
}
