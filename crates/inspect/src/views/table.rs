//! Tables: columns are as wide as their widest cell, and are cut where the terminal ends.
//!
//! comfy-table and tabled were considered: both wrap cells into several lines, where one line must stay one row, and
//! neither cuts a path at its front.

use std::fmt::Display;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Look;
use events::escape::{escaped, is_harmful};

/// How many blanks are between two columns.
const GAP: usize = 2;
/// A column is not cut to less than this width.
const MIN_WIDTH: usize = 8;

/// The meaning that a text's colour expresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Paint {
    #[default]
    Plain,
    /// Less important: numbers of events, times.
    Dim,
    /// A failure.
    Bad,
    /// A success worth seeing.
    Good,
    /// A title, or what matters most.
    Strong,
}

impl Paint {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Dim => Style::new().dimmed(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Strong => Style::new().bold(),
        }
    }
}

/// The text with its colour, if the terminal wants any.
pub(crate) fn painted(text: &str, paint: Paint, look: Look) -> String {
    if !look.colours || paint == Paint::Plain || text.is_empty() {
        return text.to_owned();
    }
    let style = paint.style();
    format!("{style}{text}{style:#}")
}

/// At which end a long cell is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Never,
    AtEnd,
    AtStart,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
    cut: Cut,
}

impl Column {
    /// Words: never cut.
    pub(crate) const fn left(title: &'static str) -> Self {
        Self {
            title,
            right: false,
            cut: Cut::Never,
        }
    }

    /// Numbers: never cut.
    pub(crate) const fn right(title: &'static str) -> Self {
        Self {
            right: true,
            ..Self::left(title)
        }
    }

    /// Text whose beginning says most.
    pub(crate) const fn text(title: &'static str) -> Self {
        Self {
            cut: Cut::AtEnd,
            ..Self::left(title)
        }
    }

    /// Paths, whose end says most.
    pub(crate) const fn path(title: &'static str) -> Self {
        Self {
            cut: Cut::AtStart,
            ..Self::left(title)
        }
    }
}

/// A cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// A cell. Its text should already be escaped; if that was forgotten, it is escaped here.
    pub(crate) fn new(text: impl Display, paint: Paint) -> Self {
        let mut text = text.to_string();
        if text.contains(is_harmful) {
            text = escaped(text.as_bytes()).to_string();
        }
        Self { text, paint }
    }
}

impl<T: Display> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Paint::Plain)
    }
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(columns: [Column; N]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// Writes the table; nothing if it has no rows. A column without any text is left out.
    pub(crate) fn write(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let widths = self.widths(look);
        let titles = self
            .columns
            .map(|column| Cell::new(column.title, Paint::Strong));
        for row in std::iter::once(&titles).chain(&self.rows) {
            self.write_row(row, &widths, look, out)?;
        }
        Ok(())
    }

    fn write_row(
        &self,
        row: &[Cell; N],
        widths: &[usize; N],
        look: Look,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        // Blanks are written only if more text follows, so no line ends in blanks.
        let mut blanks = 0;
        for ((cell, column), &width) in row.iter().zip(&self.columns).zip(widths) {
            if width == 0 {
                continue;
            }
            let text = cut(&cell.text, width, column.cut);
            let room = width - text.width().min(width);
            let (before, after) = if column.right { (room, 0) } else { (0, room) };
            blanks += before;
            if !text.is_empty() {
                write!(out, "{:blanks$}{}", "", painted(&text, cell.paint, look))?;
                blanks = 0;
            }
            blanks += after + GAP;
        }
        writeln!(out)
    }

    fn widths(&self, look: Look) -> [usize; N] {
        let mut widths = [0; N];
        for (at, width) in widths.iter_mut().enumerate() {
            let cells = self.rows.iter().map(|row| row[at].text.width());
            let widest = cells.max().unwrap_or_default();
            *width = if widest == 0 {
                0
            } else {
                widest.max(self.columns[at].title.width())
            };
        }
        let Some(limit) = look.width else {
            return widths;
        };
        let shown = widths.iter().filter(|&&width| width > 0).count();
        let limit = limit.saturating_sub(GAP * shown.saturating_sub(1));
        let mut over = widths.iter().sum::<usize>().saturating_sub(limit);
        // Of the columns that may be cut, the widest one is narrowed to the width of the next widest one, until the
        // table fits.
        while over > 0 {
            let flexible =
                |at: &usize| self.columns[*at].cut != Cut::Never && widths[*at] > MIN_WIDTH;
            let Some(widest) = (0..N).filter(flexible).max_by_key(|&at| widths[at]) else {
                break;
            };
            let others = (0..N).filter(|at| *at != widest).filter(flexible);
            let next = others.map(|at| widths[at]).max().unwrap_or(MIN_WIDTH);
            let give = (widths[widest] - next).clamp(1, over);
            widths[widest] -= give;
            over -= give;
        }
        widths
    }
}

/// The text in at most `width` columns, with `…` where it is cut.
fn cut(text: &str, width: usize, cut: Cut) -> String {
    if cut == Cut::Never || text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or_default();
        used <= room
    };
    match cut {
        Cut::AtStart => {
            let mut kept: Vec<char> = text.chars().rev().take_while(fits).collect();
            kept.push('…');
            kept.into_iter().rev().collect()
        }
        _ => text.chars().take_while(fits).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(table: &Table<3>, look: Look) -> String {
        let mut out = Vec::new();
        table.write(look, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn table() -> Table<3> {
        let mut table = Table::new([
            Column::right("N"),
            Column::path("FILE"),
            Column::text("WHY"),
        ]);
        table.row([
            "7".into(),
            "/etc/nginx/nginx.conf".into(),
            "起動失敗".into(),
        ]);
        table.row(["1234".into(), "/x".into(), "".into()]);
        table
    }

    #[test]
    fn numbers_stand_right_and_lines_do_not_end_in_blanks() {
        let expected =
            "   N  FILE                   WHY\n   7  /etc/nginx/nginx.conf  起動失敗\n1234  /x\n";
        assert_eq!(written(&table(), Look::default()), expected);
    }

    #[test]
    fn what_is_too_wide_is_cut_by_width_and_paths_at_their_front() {
        let look = Look {
            width: Some(26),
            colours: false,
        };
        let text = written(&table(), look);
        assert_eq!(
            text,
            "   N  FILE        WHY\n   7  …ginx.conf  起動失敗\n1234  /x\n"
        );
        assert!(text.lines().all(|line| line.width() <= 26), "{text}");
    }

    #[test]
    fn a_narrow_terminal_gets_no_empty_columns() {
        let look = Look {
            width: Some(1),
            colours: false,
        };
        assert!(written(&table(), look).contains("…nx.conf"));
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        let mut table = Table::new([Column::left("A"), Column::left("B"), Column::left("C")]);
        table.row([Cell::new("x", Paint::Bad), "".into(), "y".into()]);
        assert!(!written(&table, Look::default()).contains('\x1b'));
        let look = Look {
            width: None,
            colours: true,
        };
        assert!(written(&table, look).contains("\x1b[31mx\x1b[0m"));
    }

    #[test]
    fn a_cell_that_nobody_escaped_is_escaped() {
        let mut table = Table::new([Column::left("A"), Column::left("B"), Column::left("C")]);
        table.row(["a\nb\x1b[2J".into(), "\u{202e}".into(), "".into()]);
        assert_eq!(
            written(&table, Look::default()).lines().nth(1).unwrap(),
            "a\\nb\\x1b[2J  \\u{202e}"
        );
    }
}
