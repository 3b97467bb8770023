//! `xtask picture`: docs/session.svg, the terminal session that README shows.
//!
//! lastword runs the demo's nginx at a pseudo terminal. What it prints goes through a terminal emulator, which wraps
//! long lines as any terminal does; its screen becomes an SVG, whose text can be selected. Nothing is edited.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    num::NonZero,
    path::Path,
    process::{Command, Stdio},
};

use anstyle::{AnsiColor, Color, RgbColor};
use anstyle_svg::{Palette, Term, VGA};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use lastword_tests::scene::NGINX;
use nix::{
    errno::Errno,
    pty::{Winsize, openpty},
};

use crate::{
    demo::{self, CAPTURE, EXPECTED, OPTIONS, Stage},
    place, step,
};

/// The picture, below the workspace.
const PICTURE: &str = "docs/session.svg";
/// A page that shows the picture should not become slow by it.
const MOST_BYTES: usize = 20_000;

/// How many columns the terminal has: what a README has room for.
const COLUMNS: NonZero<u16> = NonZero::<u16>::MIN.saturating_add(119);
/// How many lines it has: more than the session.
const ROWS: NonZero<u16> = NonZero::<u16>::MIN.saturating_add(99);

const SIZE: Winsize = Winsize {
    ws_row: ROWS.get(),
    ws_col: COLUMNS.get(),
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// The picture brings its own dark background, so it is readable on light and on dark pages.
const FOREGROUND: Color = Color::Rgb(RgbColor(0xe6, 0xed, 0xf3));
const BACKGROUND: Color = Color::Rgb(RgbColor(0x16, 0x1b, 0x22));
/// A terminal's usual colours, but a red and a green that are bright enough on that background.
const PALETTE: Palette = {
    let mut colours = VGA.0;
    colours[AnsiColor::Red as usize] = RgbColor(0xff, 0x7b, 0x72);
    colours[AnsiColor::Green as usize] = RgbColor(0x3f, 0xb9, 0x50);
    Palette(colours)
};
/// How anstyle-svg writes dimmed text, which is too dark to read, and how it is written instead.
const DIMMED: [&str; 2] = ["opacity: 0.4", "opacity: 0.65"];

/// Records the session and writes the picture.
///
/// # Errors
/// This machine cannot record, the verdict is wrong, or the picture is too large or names this machine.
pub(crate) fn write() -> Result<()> {
    let stage = Stage::get()?.map_err(|why| anyhow!("this machine cannot record: {why}"))?;
    let capture = place::workspace().join(CAPTURE);
    demo::clear(&capture)?;
    step::say("running nginx where its upstream `flask` does not resolve");
    let text = stage.scene.play(|| session(&stage.lastword, &capture))?;
    let words = String::from_utf8_lossy(&text);
    print!("{words}");
    let svg = render(&text);
    if let Some(missing) = EXPECTED.iter().find(|word| !words.contains(**word)) {
        bail!("the verdict is wrong: it does not name {missing}");
    }
    ensure!(
        svg.len() < MOST_BYTES,
        "the picture has {} bytes, and may have {MOST_BYTES}",
        svg.len()
    );
    let host = nix::unistd::gethostname().context("cannot get this machine's name")?;
    for private in [host.to_string_lossy(), place::workspace().to_string_lossy()] {
        ensure!(
            !words.contains(&*private),
            "the session names `{private}`, which is private"
        );
    }
    fs::write(place::workspace().join(PICTURE), svg)
        .with_context(|| format!("cannot write {PICTURE}"))?;
    step::say(format_args!("wrote {PICTURE}: look at it in a browser"));
    Ok(())
}

/// What a person sees who types the commands, in the folder of the capture.
fn session(lastword: &Path, capture: &Path) -> Result<Vec<u8>> {
    let folder = capture.parent().context("the capture is in no folder")?;
    let name = capture.file_name().context("the capture has no name")?;
    let name = name.to_string_lossy();
    let run: Vec<&str> = OPTIONS
        .into_iter()
        .chain(["-o", &name, "--"])
        .chain(NGINX)
        .collect();
    let mut text = Vec::new();
    for arguments in [run, vec!["dns", &name]] {
        let typed = step::line(Command::new("lastword").args(&arguments));
        text.extend(format!("\x1b[1m# {typed}\x1b[0m\r\n").bytes());
        let mut command = Command::new(lastword);
        command
            .args(&arguments)
            .current_dir(folder)
            .env("TERM", "xterm-256color")
            .env("LASTWORD_PAGER", "cat")
            .env_remove("NO_COLOR")
            // Under sudo, nginx would run as the caller, and lastword would say so.
            .env_remove("SUDO_UID");
        step::without_cargo_env(&mut command);
        text.extend(at_a_terminal(command)?);
    }
    Ok(text)
}

/// What a command writes to a terminal. Its exit code is that of the program which it runs, so it says nothing here.
fn at_a_terminal(mut command: Command) -> Result<Vec<u8>> {
    let line = step::line(&command);
    let terminal = openpty(&SIZE, None).context("cannot make a pseudo terminal")?;
    let slave = File::from(terminal.slave);
    command
        .stdin(Stdio::null())
        .stdout(slave.try_clone()?)
        .stderr(slave);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    // The terminal ends when nobody has its other end open any more.
    drop(command);
    let mut text = Vec::new();
    match File::from(terminal.master).read_to_end(&mut text) {
        Err(error) if !is_end(&error) => return Err(error).context("cannot read the terminal"),
        _ => {}
    }
    child
        .wait()
        .with_context(|| format!("cannot wait for `{line}`"))?;
    Ok(text)
}

/// Linux reports the end of a terminal as an error.
fn is_end(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EIO as i32)
}

/// The screen of a terminal on which this was written, as an SVG.
fn render(text: &[u8]) -> String {
    let mut terminal = vt100::Parser::new(ROWS, COLUMNS, 0);
    terminal.process(text);
    let rows: Vec<String> = terminal.screen().rows_formatted(0, COLUMNS.get()).collect();
    let used = rows
        .iter()
        .rposition(|row| !row.is_empty())
        .map_or(0, |last| last + 1);
    let screen = rows[..used].join("\x1b[0m\n");
    let svg = Term::new()
        .palette(PALETTE)
        .fg_color(FOREGROUND)
        .bg_color(BACKGROUND)
        .render_svg(&screen);
    svg.replace(DIMMED[0], DIMMED[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped_and_colours_are_kept() {
        let line = format!(
            "{}\x1b[31mred\x1b[0m <&>\x1b[2mdim\x1b[0m \r\nend",
            "x".repeat(118)
        );
        let svg = render(line.as_bytes());
        let lines: Vec<&str> = svg
            .lines()
            .filter(|line| line.contains("<tspan x="))
            .collect();
        assert_eq!(lines.len(), 3, "{svg}");
        assert!(lines[0].contains("re</tspan>"), "{svg}");
        assert!(
            lines[1].contains("fg-red\">d<") && lines[1].contains("&lt;&amp;&gt;"),
            "{svg}"
        );
        assert!(svg.contains(DIMMED[1]) && !svg.contains('\x1b'), "{svg}");
    }

    #[test]
    fn a_command_is_shown_as_a_terminal_shows_it() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "test -t 1 && test -t 2 && stty size <&1; echo error >&2; exit 3",
        ]);
        let text = at_a_terminal(command).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "100 120\r\nerror\r\n");
    }
}
