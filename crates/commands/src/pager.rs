//! The pager: it is started when there is something to show, and waited for when everything is written.

use std::env;
use std::io::{self, BufWriter, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

/// The pager that is used if no other is named. `LESS` makes it quit if the text fits on one screen, show colours, and
/// leave the screen as it is.
const DEFAULT: &str = "less";
const LESS: &str = "FRX";

/// The pager's command line. `None` if no pager shall be used: its name is empty or `cat`.
pub(crate) fn command() -> Option<Vec<String>> {
    let named = ["LASTWORD_PAGER", "PAGER"];
    let named = named.into_iter().find_map(|name| env::var(name).ok());
    words(named.as_deref().unwrap_or(DEFAULT))
}

fn words(command: &str) -> Option<Vec<String>> {
    let words = shlex::split(command)?;
    (!words.is_empty() && words != ["cat"]).then_some(words)
}

/// Output to a pager, if there is one and something is written.
pub(crate) struct Paged<'o> {
    command: Option<Vec<String>>,
    pager: Option<(Child, BufWriter<ChildStdin>)>,
    out: &'o mut dyn Write,
}

impl<'o> Paged<'o> {
    pub(crate) fn new(command: Option<Vec<String>>, out: &'o mut dyn Write) -> Self {
        Self {
            command,
            pager: None,
            out,
        }
    }

    fn start(&mut self) {
        let Some(words) = self.command.take() else {
            return;
        };
        match spawn(&words) {
            Ok(pager) => self.pager = pager,
            // If less is missing on this machine, that is not worth a message each time.
            Err(error) if error.kind() == io::ErrorKind::NotFound && words == [DEFAULT] => {}
            Err(error) => {
                let name = &words[0];
                crate::note(format_args!(
                    "cannot run the pager {name}: {error}; LASTWORD_PAGER names another, --no-pager goes without"
                ));
            }
        }
    }

    /// Waits until the person has left the pager.
    ///
    /// # Errors
    /// If the output failed. If the person left the pager before everything was written, that is not an error.
    pub(crate) fn end(mut self) -> io::Result<()> {
        let Some((mut child, mut stdin)) = self.pager.take() else {
            return self.out.flush();
        };
        let flushed = stdin.flush();
        // A writer that is dropped flushes once more; it does not block.
        drop(stdin);
        child.wait()?;
        match flushed {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

impl Write for Paged<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.start();
        match &mut self.pager {
            Some((_, stdin)) => stdin.write(bytes),
            None => self.out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.pager {
            Some((_, stdin)) => stdin.flush(),
            None => self.out.flush(),
        }
    }
}

fn spawn(words: &[String]) -> io::Result<Option<(Child, BufWriter<ChildStdin>)>> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(None);
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped());
    if env::var_os("LESS").is_none() {
        command.env("LESS", LESS);
    }
    let mut child = command.spawn()?;
    ignore_interrupts()?;
    let stdin = child.stdin.take();
    Ok(stdin.map(|stdin| (child, BufWriter::new(stdin))))
}

/// Ignores Ctrl-C: it is meant for the pager, which goes on. We end when the pager ends.
fn ignore_interrupts() -> io::Result<()> {
    #[cfg(unix)]
    signal_hook::flag::register(signal_hook::consts::SIGINT, std::sync::Arc::default())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pager_may_have_arguments_and_may_be_none() {
        let expected = ["less", "-S", "a b"].map(str::to_owned).to_vec();
        assert_eq!(words("less -S 'a b'"), Some(expected));
        for none in ["", "  ", "cat", "'"] {
            assert_eq!(words(none), None, "{none}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn the_pager_gets_what_is_written_and_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paged");
        let script = format!("cat > {}", path.display());
        let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let mut out = Vec::new();
        let mut paged = Paged::new(Some(command), &mut out);
        paged.write_all(b"text\n").unwrap();
        paged.end().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"text\n");
        assert!(out.is_empty());
    }

    #[test]
    #[cfg(unix)]
    fn a_pager_that_is_left_early_is_no_error() {
        let mut out = Vec::new();
        let mut paged = Paged::new(Some(vec!["true".to_owned()]), &mut out);
        let written = paged.write_all(&[b'x'; 1 << 20]);
        assert!(written.is_ok_and(|()| true) || out_is_broken(&mut paged));
        paged.end().unwrap();
    }

    #[cfg(unix)]
    fn out_is_broken(paged: &mut Paged<'_>) -> bool {
        let again = paged.write_all(&[b'x'; 1 << 20]);
        again.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    #[test]
    fn without_a_pager_it_goes_to_the_output() {
        for command in [None, Some(vec!["/no/such/pager".to_owned()])] {
            let mut out = Vec::new();
            let mut paged = Paged::new(command, &mut out);
            paged.write_all(b"text").unwrap();
            paged.end().unwrap();
            assert_eq!(out, b"text");
        }
    }
}
