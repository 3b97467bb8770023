//! Options of a command that say which events are shown.

use anyhow::bail;
use clap::builder::{StringValueParser, TypedValueParser, ValueParserFactory};
use clap::error::ErrorKind;
use inspect::filter::Filter;
use inspect::select::Selection;

use crate::Capture;

/// Which events.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Select {
    /// Only events that match, such as "proc.name=nginx and evt.failed=true"; `fields` lists what can be asked, docs/filters.md teaches the language
    #[arg(short, long, value_name = "EXPRESSION")]
    filter: Option<Expression>,
    /// Only the run with this number
    #[arg(short, long, value_name = "NUMBER")]
    run: Option<u32>,
    /// Only events of this process (its pid on the node) and of all that descend from it
    #[arg(long, value_name = "PID")]
    follow_process: Option<u32>,
    /// Only the first so many events of those that are left
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
}

impl Select {
    /// The selection for this capture.
    ///
    /// # Errors
    /// If the capture does not have the run.
    pub(crate) fn of(&self, capture: &Capture) -> anyhow::Result<Selection> {
        self.check_run(capture)?;
        Ok(Selection {
            filter: self.filter.clone().map(|it| it.0),
            run: self.run,
            follow: self.follow_process,
            limit: self.limit,
            ..Selection::default()
        })
    }

    fn check_run(&self, capture: &Capture) -> anyhow::Result<()> {
        let Some(asked) = self.run else {
            return Ok(());
        };
        let mut numbers = capture.reader.runs().iter().map(|run| run.number);
        if numbers.clone().any(|number| number == asked) {
            return Ok(());
        }
        match (numbers.next(), numbers.next_back()) {
            (None, _) => bail!("there is no run {asked}: the capture has no runs"),
            (Some(only), None) => bail!("there is no run {asked}: the only one is {only}"),
            (Some(first), Some(last)) => {
                bail!("there is no run {asked}: they are numbered {first} to {last}")
            }
        }
    }
}

/// A filter on the command line.
#[derive(Clone, Debug)]
struct Expression(Filter);

impl ValueParserFactory for Expression {
    type Parser = ExpressionParser;

    fn value_parser() -> Self::Parser {
        ExpressionParser
    }
}

/// Like clap's own parser, except that it does not repeat the expression before the error: the error already shows it.
#[derive(Clone, Debug)]
struct ExpressionParser;

impl TypedValueParser for ExpressionParser {
    type Value = Expression;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Expression, clap::Error> {
        let text = StringValueParser::new().parse_ref(command, arg, value)?;
        Filter::parse(&text).map(Expression).map_err(|error| {
            let message = format!("the filter is wrong at {error}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}
