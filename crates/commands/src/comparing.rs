//! `diff`: compares two captures, or two runs of one capture.

use anyhow::{Context as _, bail, ensure};
use capture_format::RunIndex;
use inspect::diff::{Side, diff};
use inspect::views;

use crate::looking::write;
use crate::{Capture, Captures, Screen, Shown, View};

/// Two runs side by side.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(skip)]
pub struct Diff {
    /// Numbers of the runs [default: the last run of each capture; of one capture its last two]
    #[arg(long, visible_alias = "run", value_name = "N[,M]", value_parser = runs)]
    runs: Option<(u32, Option<u32>)>,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// Parses `3` or `3,4`.
fn runs(text: &str) -> Result<(u32, Option<u32>), String> {
    let number = |text: &str| text.trim().parse::<u32>();
    let parsed = match text.split_once(',') {
        Some((first, second)) => number(first).and_then(|first| Ok((first, Some(number(second)?)))),
        None => number(text).map(|first| (first, None)),
    };
    parsed.map_err(|_| "expected a number of a run or two, as in 1,2".to_owned())
}

impl View for Diff {
    /// Two runs of one capture.
    fn print(&self, capture: &mut Capture, out: &mut Screen<'_>) -> anyhow::Result<()> {
        let there = capture.reader.runs();
        let (first, second) = match self.runs {
            Some((first, second)) => (
                views::find_run(there, Some(first))?,
                views::find_run(there, second)?,
            ),
            None => {
                let last = views::find_run(there, None)?;
                let before = last.0.checked_sub(1).map(RunIndex).context(
                    "the capture holds one run; name a second capture to compare it with",
                )?;
                (before, last)
            }
        };
        let sides =
            [first, second].map(|index| Side::of(&capture.name, &mut capture.reader, index));
        write(&diff(&sides[0], &sides[1]), self.json, out)
    }

    fn is_text(&self) -> bool {
        !self.json
    }

    fn print_all(
        &self,
        captures: &mut Captures<'_>,
        out: &mut Screen<'_>,
    ) -> anyhow::Result<Shown> {
        ensure!(
            captures.len() <= 2,
            "diff compares two captures, or two runs of one"
        );
        let mut first = captures.next().context("no capture")??;
        let Some(second) = captures.next() else {
            return self.print_only(&mut first, out);
        };
        out.watch(first.progress.as_ref());
        let (wanted, wanted_second) = match self.runs {
            Some((both, None)) => (Some(both), Some(both)),
            Some((first, second)) => (Some(first), second),
            None => (None, None),
        };
        let one = side(&mut first, wanted)?;
        let mut second = second?;
        out.watch(second.progress.as_ref());
        let other = side(&mut second, wanted_second)?;
        write(&diff(&one, &other), self.json, out)?;
        let mut shown = Shown::default();
        shown.damage_of(&first);
        shown.damage_of(&second);
        Ok(shown)
    }
}

fn side(capture: &mut Capture, run: Option<u32>) -> anyhow::Result<Side> {
    let index = match views::find_run(capture.reader.runs(), run) {
        Ok(index) => index,
        Err(error) => bail!("{}: {error}", capture.name),
    };
    Ok(Side::of(&capture.name, &mut capture.reader, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_or_two_are_named() {
        assert_eq!(runs("3"), Ok((3, None)));
        assert_eq!(runs("1, 2"), Ok((1, Some(2))));
        for bad in ["", "a", "1,", "1,2,3", "-1"] {
            assert!(runs(bad).is_err(), "{bad}");
        }
    }
}
