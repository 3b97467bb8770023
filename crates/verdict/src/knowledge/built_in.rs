//! The files that lastword comes with.

use std::sync::{Arc, LazyLock};

use super::{Catalogue, parse};

/// Includes files of `crates/verdict/knowledge`, each with its name.
macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../knowledge/", $name, ".toml")))),*]
    };
}

/// All files, in the order in which their entries are asked.
pub(super) const FILES: &[(&str, &str)] = files![
    "dotnet", "glibc", "jvm", "libpq", "musl", "node", "perl", "postgres", "python", "redis",
    "ruby", "shell",
];

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let sheets = FILES
        .iter()
        .filter_map(|(name, text)| parse::checked(name, text));
    Catalogue {
        sheets: sheets.map(Arc::new).collect(),
    }
});

pub(super) fn catalogue() -> &'static Catalogue {
    &CATALOGUE
}
