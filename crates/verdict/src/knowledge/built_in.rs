//! The files that lastword comes with.

use std::sync::{Arc, LazyLock};

use super::{Catalogue, parse};

/// Includes files of `crates/verdict/knowledge`, each with its name.
macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../knowledge/", $name, ".toml")))),*]
    };
}

/// All files, in the order in which their entries are asked: programs before the runtimes that they are made with.
pub(super) const FILES: &[(&str, &str)] = files![
    "alertmanager",
    "apache",
    "bind",
    "borg",
    "composer",
    "etcd",
    "git",
    "gunicorn",
    "haproxy",
    "hitch",
    "memcached",
    "mosquitto",
    "mysql",
    "nginx",
    "openssh",
    "php_fpm",
    "postgres",
    "prometheus",
    "redis",
    "sidekiq",
    "squid",
    "stunnel",
    "supervisor",
    "tor",
    "unbound",
    "uwsgi",
    "varnish",
    "dotnet",
    "erlang",
    "go",
    "jvm",
    "node",
    "perl",
    "php",
    "python",
    "ruby",
    "rust",
    "shell",
    "glibc",
    "musl",
    "libpq",
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
