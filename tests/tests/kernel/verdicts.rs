//! `lastword explain` on recordings of crashes that really happen.

use libtest_mimic::Failed;

use crate::{
    Case,
    support::{Recorded, dns_server, record, record_victim},
};

pub(crate) const CASES: &[Case] = &[
    ("explains_nxdomain", || {
        dns("127.0.2.1:53", Some(3), "NXDOMAIN")
    }),
    ("explains_servfail", || {
        dns("127.0.2.2:53", Some(2), "SERVFAIL")
    }),
    ("explains_dns_silence", || {
        dns("127.0.2.3:53", None, "no DNS answer")
    }),
    ("explains_connection_refused", || {
        expect(
            &record_victim(&["connect", "127.0.0.1:9"]),
            "connection_refused",
            "127.0.0.1:9",
        )
    }),
    ("explains_refused_later", || {
        expect(
            &record_victim(&["connect-nonblocking", "127.0.0.1:9"]),
            "connection_refused",
            "127.0.0.1:9",
        )
    }),
    ("explains_missing_file", || {
        expect(
            &record_victim(&["open", "/etc/app/config.yaml"]),
            "missing_file",
            "/etc/app/config.yaml",
        )
    }),
    ("explains_missing_command", || {
        expect(
            &record(&["/no/such/command"]),
            "command_not_found",
            "/no/such/command",
        )
    }),
    ("explains_command_not_executable", not_executable),
    ("explains_exit_with_last_words", || {
        expect(
            &record(&["/bin/sh", "-c", "echo 'fatal: bad licence key' >&2; exit 4"]),
            "exited_non_zero",
            "bad licence key",
        )
    }),
    ("explains_own_signal", || {
        expect(
            &record_victim(&["signal", "15"]),
            "killed_itself",
            "SIGTERM",
        )
    }),
    ("explains_abort", || {
        expect(&record_victim(&["abort"]), "aborted", "SIGABRT")
    }),
    ("explains_segmentation_fault", || {
        expect(&record_victim(&["segv"]), "segmentation_fault", "SIGSEGV")
    }),
    ("explains_exit_0", || {
        expect(&record_victim(&["exit", "0"]), "exited_zero", "0")
    }),
];

fn expect(recorded: &Recorded, cause: &str, says: &str) -> Result<(), Failed> {
    let (found, sentence) = recorded.verdict();
    if found != cause || !sentence.contains(says) {
        return Err(format!("expected {cause} with {says:?}, got {found}: {sentence}").into());
    }
    Ok(())
}

fn not_executable() -> Result<(), Failed> {
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_str().ok_or("path")?;
    expect(&record(&[path]), "not_executable", path)
}

fn dns(server: &str, code: Option<u8>, says: &str) -> Result<(), Failed> {
    dns_server(server, code);
    let recorded = record_victim(&["dns", "send", server]);
    let (cause, sentence) = recorded.verdict();
    if !cause.starts_with("dns") || !sentence.contains(says) || !sentence.contains("flask") {
        return Err(format!("expected {says}, got {cause}: {sentence}").into());
    }
    Ok(())
}
