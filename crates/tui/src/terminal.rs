//! The terminal: taken over, given back whatever happens; and its keys.

use std::io::{self, IsTerminal as _, Read, Seek};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use capture_format::Reader;
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste, Event, read};
use crossterm::execute;
use ratatui::DefaultTerminal;

use crate::Error;
use crate::app::{App, Message};
use crate::draw::{Theme, draw};
use crate::threads::Threads;

/// Shows a capture until the person quits.
pub(crate) fn run<R: Read + Seek + Send + 'static>(
    name: &str,
    reader: Reader<R>,
    theme: Theme,
) -> Result<(), Error> {
    if !io::stdout().is_terminal() || !has_keys() {
        return Err(Error::NoTerminal);
    }
    let (to, messages) = channel();
    #[cfg(unix)]
    signals(&to)?;
    let size = crossterm::terminal::size()?;
    let app = App::new(name, &reader, size);
    let threads = Threads::start(reader, &to);
    // This also restores the terminal if anything panics.
    let terminal = ratatui::try_init()?;
    let _restored = Restore;
    execute!(io::stdout(), EnableBracketedPaste)?;
    thread::spawn(move || keys(&to));
    turn(app, terminal, theme, &threads, &messages)
}

/// Whether keys can be read: from standard input, or from the terminal itself if the capture came from standard input.
fn has_keys() -> bool {
    io::stdin().is_terminal() || cfg!(unix) && std::fs::File::open("/dev/tty").is_ok()
}

/// Restores the terminal when it is dropped.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = execute!(io::stdout(), DisableBracketedPaste);
        ratatui::restore();
    }
}

fn turn(
    mut app: App,
    mut terminal: DefaultTerminal,
    theme: Theme,
    threads: &Threads,
    messages: &std::sync::mpsc::Receiver<Message>,
) -> Result<(), Error> {
    loop {
        app.asks.drain(..).for_each(|ask| threads.ask(ask));
        terminal.draw(|frame| draw(&app, theme, frame))?;
        let Ok(message) = messages.recv() else {
            return Ok(());
        };
        app.update(message);
        // Further messages that have already arrived do not need their own redraw.
        while let Ok(message) = messages.try_recv() {
            app.update(message);
        }
        if app.died {
            return Err(Error::Died);
        }
        if app.quit {
            return Ok(());
        }
    }
}

/// Passes keys on until the terminal is gone.
fn keys(to: &Sender<Message>) {
    loop {
        let message = match read() {
            Ok(Event::Key(key)) => Message::Key(key),
            Ok(Event::Paste(text)) => Message::Paste(text),
            Ok(Event::Resize(columns, rows)) => Message::Size(columns, rows),
            Ok(_) => continue,
            Err(_) => Message::Quit,
        };
        let is_last = matches!(message, Message::Quit);
        if to.send(message).is_err() || is_last {
            return;
        }
    }
}

/// Passes signals on, so that the program quits in order.
#[cfg(unix)]
fn signals(to: &Sender<Message>) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let to = to.clone();
    thread::spawn(move || {
        for _ in signals.forever() {
            let _ = to.send(Message::Quit);
        }
    });
    Ok(())
}
