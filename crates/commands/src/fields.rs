//! `fields`: lists the fields that a filter can use.

use std::io::Write;

use inspect::filter;

use crate::print_json;

/// The fields of filters.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Fields {
    /// Only fields whose name or meaning has this in it
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
}

impl Fields {
    /// Prints the fields.
    ///
    /// # Errors
    /// If no field contains the text, or if `out` fails.
    pub fn print(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let fields: Vec<_> = filter::fields().filter(|field| self.wants(field)).collect();
        if let (true, Some(text)) = (fields.is_empty(), &self.text) {
            anyhow::bail!("no field has {text:?} in its name or meaning");
        }
        if self.json {
            return print_json(&fields, out);
        }
        for field in fields {
            writeln!(out, "{:<18} {:<9} {}", field.name, field.of, field.meaning)?;
            if !field.words.is_empty() {
                writeln!(out, "{:28} one of {}", "", field.words.join(", "))?;
            }
            writeln!(out, "{:28} {}", "", field.example)?;
        }
        Ok(())
    }

    fn wants(&self, field: &filter::Field) -> bool {
        let Some(text) = &self.text else {
            return true;
        };
        let text = text.to_lowercase();
        let has = |part: &str| part.to_lowercase().contains(&text);
        has(field.name) || has(field.meaning)
    }
}
