//! The files that a run opened, read, wrote, or failed on, with numbers of bytes.

use maud::{Markup, html};

use super::bounded::first;
use super::gather::Gathered;
use super::page::{left_out, none, table};
use super::shown::Shown;
use crate::views::Subject;
use crate::views::files::FileUse;
use events::decode::time::size;

/// Bytes of a path.
const MAX_PATH: usize = 300;

pub(super) fn files(run: &Gathered) -> Markup {
    let view = &run.views.files;
    let mut files: Vec<&FileUse> = view.files.iter().collect();
    if files.is_empty() {
        return none("No file was opened, read or written, as far as was recorded.");
    }
    files.sort_by_key(|file| (rank(file), file.first.event));
    let rows = first(files.iter(), run.room.table, |file| row(run, file));
    html! {
        p.note { "Configuration and data first, then libraries and what the system offers." }
        (table("files", &["First", "Path", "Read", "Written", "Opened", "Failed", "Process"], &html! { (rows) }))
        (left_out(rows.left_out + view.left_out as usize, "files", "files"))
    }
}

/// Order of the files: files that were read, written or could not be opened come before those that were only opened.
fn rank(file: &FileUse) -> u8 {
    let (Subject::Path(path) | Subject::Name(path)) = &file.file else {
        return 3;
    };
    let path = path.as_bytes();
    let library = path.windows(3).any(|part| part == b".so");
    let system = [&b"/proc/"[..], b"/sys/", b"/dev/"];
    let system = system.iter().any(|start| path.starts_with(start));
    let used = file.reads > 0 || file.writes > 0 || file.failures > 0;
    u8::from(library || system) * 2 + u8::from(!used)
}

fn row(run: &Gathered, file: &FileUse) -> Markup {
    let FileUse {
        file: path,
        opens,
        reads,
        bytes_read,
        writes,
        bytes_written,
        failures,
        errno,
        processes,
        first,
        last: _,
    } = file;
    let processes = Shown::said(&processes.to_string(), MAX_PATH);
    let times = |count: u64| html! { span.soft { @if count > 1 { " in " (count) " calls" } } };
    html! {
        tr.row.failed[*failures > 0] data-kind="file" data-process=(processes) {
            td.number { (run.link(first.event)) }
            td.what { (Shown::said(&path.to_string(), MAX_PATH)) }
            td.count { @if *reads > 0 { (size(*bytes_read)) (times(*reads)) } }
            td.count { @if *writes > 0 { (size(*bytes_written)) (times(*writes)) } }
            td.count { @if *opens > 0 { (opens) } }
            td.count { @if *failures > 0 { (failures) " " (errno.as_deref().unwrap_or_default()) } }
            td.who { (processes) }
        }
    }
}
