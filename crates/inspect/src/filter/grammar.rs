//! From the text of an expression to a checked expression.
//!
//! ```text
//! or    = and ("or" and)*
//! and   = not ("and" not)*
//! not   = "not" not | "(" or ")" | check
//! check = field ["[" argument "]"] ( "exists"
//!                                  | ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=") value
//!                                  | ("contains" | "icontains" | "startswith" | "endswith" | "glob" | "iglob" | "regex") value
//!                                  | ("in" | "pmatch") "(" value ("," value)* ")" )
//! ```

use std::ops::Range;

use super::ast::{Argument, Check, Comparison, Expr, Part, Test};
use super::error::{Fault, quoted, suggestion};
use super::fields::{self, Field, Takes};
use super::lexer::{Lexer, Word};
use super::literal::{Literal, Type};
use super::pattern::{Pattern, Syntax};
use super::{MAX_DEPTH, MAX_LENGTH, MAX_PATTERNS};

/// Words that join comparisons. To use one as a value, it must be quoted.
pub(super) const KEYWORDS: [&str; 3] = ["and", "or", "not"];

const OPERATORS: [&str; 17] = [
    "=",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "contains",
    "icontains",
    "startswith",
    "endswith",
    "glob",
    "iglob",
    "regex",
    "in",
    "pmatch",
    "exists",
];

const EXAMPLE: &str = "such as proc.name = nginx and evt.failed = true";

pub(super) fn parse(text: &str) -> Result<Expr, Fault> {
    if text.len() > MAX_LENGTH {
        let message = format!(
            "the filter has {} bytes; {MAX_LENGTH} are the most it may have",
            text.len()
        );
        return Err(Fault::new(MAX_LENGTH..MAX_LENGTH, message));
    }
    let mut parser = Parser {
        lexer: Lexer::new(text),
        depth: 0,
        patterns: 0,
    };
    if parser.lexer.is_done() {
        return Err(Fault::new(0..0, "the filter is empty").help(EXAMPLE.to_owned()));
    }
    let expression = parser.or()?;
    if !parser.lexer.is_done() {
        let fault = parser.lexer.expected("`and`, `or` or the end");
        let (word, _) = parser.lexer.name();
        return Err(fault.help(conjunction(&parser.lexer, word)));
    }
    Ok(expression)
}

/// What a person probably meant who wrote a word of another language.
fn conjunction(lexer: &Lexer<'_>, word: &str) -> Option<String> {
    let mut lexer = *lexer;
    let meant = match word.to_ascii_lowercase().as_str() {
        "and" => "and",
        "or" => "or",
        _ if fields::find(word).is_some() => {
            return Some("write `and` or `or` before the next comparison".to_owned());
        }
        _ if lexer.eat(')') => return Some("no parenthesis is open here".to_owned()),
        _ if ['=', '"', '\'', '['].into_iter().any(|c| lexer.eat(c)) => {
            return Some("a value with such a sign in it stands in quotes".to_owned());
        }
        _ if lexer.eat('&') => "and",
        _ if lexer.eat('|') => "or",
        _ => return None,
    };
    Some(format!("did you mean `{meant}`?"))
}

struct Parser<'e> {
    lexer: Lexer<'e>,
    /// How many parentheses and `not` are open.
    depth: usize,
    /// How many globs and regular expressions there were so far.
    patterns: usize,
}

impl Parser<'_> {
    fn or(&mut self) -> Result<Expr, Fault> {
        let first = self.and()?;
        let mut parts = vec![first];
        while self.lexer.keyword("or") {
            parts.push(self.and()?);
        }
        Ok(joined(parts, Expr::Or))
    }

    fn and(&mut self) -> Result<Expr, Fault> {
        let first = self.not()?;
        let mut parts = vec![first];
        while self.lexer.keyword("and") {
            parts.push(self.not()?);
        }
        Ok(joined(parts, Expr::And))
    }

    fn not(&mut self) -> Result<Expr, Fault> {
        let start = self.lexer.at();
        if self.lexer.keyword("not") {
            return self.deeper(start, |parser| Ok(Expr::Not(Box::new(parser.not()?))));
        }
        if !self.lexer.eat('(') {
            return self.check();
        }
        self.deeper(start, |parser| {
            let inside = parser.or()?;
            if parser.lexer.eat(')') {
                return Ok(inside);
            }
            let fault = parser.lexer.expected("`and`, `or` or `)`");
            let open = parser.lexer.column(start);
            Err(fault.help(format!("the parenthesis at column {open} is open")))
        })
    }

    fn deeper(
        &mut self,
        start: usize,
        parse: impl FnOnce(&mut Self) -> Result<Expr, Fault>,
    ) -> Result<Expr, Fault> {
        if self.depth == MAX_DEPTH {
            let message = format!("parentheses and `not` are nested deeper than {MAX_DEPTH}");
            return Err(Fault::new(start..start + 1, message));
        }
        self.depth += 1;
        let expression = parse(self)?;
        self.depth -= 1;
        Ok(expression)
    }

    fn check(&mut self) -> Result<Expr, Fault> {
        let mut before = self.lexer;
        let (name, at) = self.lexer.name();
        if name.is_empty() || KEYWORDS.contains(&name) {
            return Err(before.expected("a field").help(EXAMPLE.to_owned()));
        }
        let (field, argument) = self.field(name, &at)?;
        let test = self.test(field).map_err(|fault| match fault.help {
            Some(_) => fault,
            None => fault.help(format!("such as {}", field.example)),
        })?;
        Ok(Expr::Check(Check {
            field,
            argument,
            test,
        }))
    }

    fn field(
        &mut self,
        name: &str,
        at: &Range<usize>,
    ) -> Result<(&'static Field, Argument), Fault> {
        let argument = self.lexer.argument()?;
        let Some((field, suffix)) = fields::find(name) else {
            let names = fields::fields().map(|field| field.name);
            let meant = suggestion(name, names).unwrap_or_default();
            let help = format!("{meant} `lastword fields` lists all fields");
            let message = format!("there is no field {}", quoted(name));
            return Err(Fault::new(at.clone(), message).help(help.trim_start().to_owned()));
        };
        let argument = match suffix {
            Some(suffix) => Some((suffix, at.clone())),
            None => argument,
        };
        let argument = match (field.takes, argument) {
            (Takes::Nothing | Takes::Generation, None) => Argument::None,
            (Takes::Generation, Some((text, at))) => {
                Argument::Generation(text.parse().map_err(|_| {
                    let message = format!("{} is no number of generations", quoted(text));
                    Fault::new(at, message).help("1 is the parent".to_owned())
                })?)
            }
            (Takes::Name(names), Some((text, at))) => {
                match names().iter().find(|it| **it == text) {
                    Some(name) => Argument::Name((*name).to_owned()),
                    None => {
                        let message = format!("no event has an argument {}", quoted(text));
                        let help = suggestion(text, names().iter().copied());
                        return Err(Fault::new(at, message).help(help));
                    }
                }
            }
            (Takes::Name(_), None) => {
                let message = format!("{} needs the name of an argument", quoted(name));
                let help = format!("such as {}", field.example);
                return Err(Fault::new(at.clone(), message).help(help));
            }
            (Takes::Nothing, Some((_, at))) => {
                let message = format!("{} takes nothing in brackets", quoted(name));
                return Err(Fault::new(at, message));
            }
        };
        Ok((field, argument))
    }

    fn test(&mut self, field: &'static Field) -> Result<Test, Fault> {
        let mut before = self.lexer;
        let (operator, at) = self.lexer.operator();
        let test = match operator {
            "exists" => Test::Exists,
            "=" | "==" => self.comparison(field, Comparison::Equal)?,
            "!=" => self.comparison(field, Comparison::NotEqual)?,
            "<" | "<=" | ">" | ">=" => {
                if !field.of.is_ordered() {
                    return Err(unfit(field, operator, at));
                }
                self.comparison(field, ordering(operator))?
            }
            "in" => Test::In(self.list(|word| Literal::parse(field.of, field.words, word))?),
            "contains" | "icontains" | "startswith" | "endswith" | "glob" | "iglob" | "regex"
            | "pmatch"
                if !field.of.is_textual() =>
            {
                return Err(unfit(field, operator, at));
            }
            "contains" => self.part(Part::Anywhere)?,
            "icontains" => self.part(Part::AnywhereInAnyCase)?,
            "startswith" => self.part(Part::Start)?,
            "endswith" => self.part(Part::End)?,
            "glob" => self.pattern(Syntax::Glob)?,
            "iglob" => self.pattern(Syntax::IGlob)?,
            "regex" => self.pattern(Syntax::Regex)?,
            "pmatch" => Test::Under(self.list(|word| word.bytes())?),
            word => {
                let fault = before.expected("an operator");
                let help = suggestion(word, OPERATORS).unwrap_or_else(|| {
                    format!(
                        "such as {}; operators are {}",
                        field.example,
                        OPERATORS.join(" ")
                    )
                });
                return Err(fault.help(help));
            }
        };
        Ok(test)
    }

    /// A value. An unquoted keyword is not a value: the value was probably forgotten.
    fn value(&mut self) -> Result<Word<'_>, Fault> {
        let mut before = self.lexer;
        let word = self.lexer.value()?;
        if word.quote.is_none() && KEYWORDS.contains(&word.raw) {
            let help = format!("write \"{}\" if that is the value", word.raw);
            return Err(before.expected("a value").help(help));
        }
        Ok(word)
    }

    fn comparison(&mut self, field: &Field, comparison: Comparison) -> Result<Test, Fault> {
        let word = self.value()?;
        let literal = Literal::parse(field.of, field.words, &word)?;
        Ok(Test::Is(comparison, literal))
    }

    fn part(&mut self, part: Part) -> Result<Test, Fault> {
        Ok(Test::Has(part, self.value()?.bytes()?))
    }

    fn pattern(&mut self, syntax: Syntax) -> Result<Test, Fault> {
        let at = self.lexer.at();
        if self.patterns == MAX_PATTERNS {
            let message =
                format!("there are more than {MAX_PATTERNS} globs and regular expressions");
            return Err(Fault::new(at..at + 1, message)
                .help("contains, startswith, endswith and pmatch do not count".to_owned()));
        }
        self.patterns += 1;
        let word = self.value()?;
        let pattern = Pattern::new(syntax, word.pattern());
        pattern
            .map(Test::Like)
            .map_err(|reason| Fault::new(word.at, reason))
    }

    fn list<T>(&mut self, read: impl Fn(&Word<'_>) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
        if !self.lexer.eat('(') {
            let fault = self.lexer.expected("values in parentheses");
            return Err(fault.help("such as proc.pid in (1, 7)".to_owned()));
        }
        let mut members = Vec::new();
        loop {
            members.push(read(&self.value()?)?);
            if self.lexer.eat(')') {
                return Ok(members);
            }
            if !self.lexer.eat(',') {
                return Err(self.lexer.expected("`,` or `)`"));
            }
        }
    }
}

fn joined(mut parts: Vec<Expr>, join: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            join(parts)
        }
    }
}

fn ordering(operator: &str) -> Comparison {
    match operator {
        "<" => Comparison::Less,
        "<=" => Comparison::AtMost,
        ">" => Comparison::Greater,
        _ => Comparison::AtLeast,
    }
}

fn unfit(field: &Field, operator: &str, at: Range<usize>) -> Fault {
    let message = format!(
        "`{operator}` does not go with {}, whose type is {}",
        quoted(field.name),
        field.of
    );
    let more = match field.of {
        Type::Address => " and = with a network such as 10.0.0.0/8",
        of if of.is_ordered() => " < <= > >=",
        of if of.is_textual() => " contains icontains startswith endswith glob iglob regex pmatch",
        _ => "",
    };
    Fault::new(at, message).help(format!("what does: = != in exists{more}"))
}
