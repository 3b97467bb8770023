//! Reads a configuration file, and reports everything that is wrong with it at once.

use std::{fs::File, io::Read, path::Path};

use serde::Deserialize;

use super::{
    Config, ConfigError,
    error::Problem,
    tree::{Node, Value},
};

/// Bytes of the largest configuration file.
const LIMIT: u64 = 1 << 20;

/// Reads a configuration file.
///
/// # Errors
/// If the file cannot be read, or if something in it is wrong; then the error lists everything that is wrong.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LIMIT + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > LIMIT {
        return Err(ConfigError::TooLarge {
            path: path.to_owned(),
            limit: LIMIT,
        });
    }
    parse(&text).map_err(|problems| ConfigError::Invalid {
        path: path.to_owned(),
        problems,
    })
}

/// Parses a configuration.
pub(super) fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    let root = Node::parse(text).map_err(|problem| vec![problem])?;
    // Reading stops at the first error. Because every key has a default, each value can also be read alone, and so each
    // error is found.
    let problems: Vec<Problem> = alone(&root)
        .iter()
        .filter_map(|(key, node)| Some(Config::deserialize(node).err()?.below(key)))
        .collect();
    if problems.is_empty() {
        Config::deserialize(&root).map_err(|problem| vec![problem])
    } else {
        Err(problems)
    }
}

/// Returns for each value, below keys and in lists, a document that contains only this value, together with its key.
fn alone(node: &Node) -> Vec<(String, Node)> {
    match &node.value {
        Value::Map(entries) => {
            let mut documents = Vec::new();
            for (key, value) in entries {
                for (below, alone) in alone(value) {
                    let path = match below.as_str() {
                        "" => key.name.clone(),
                        below => format!("{}.{below}", key.name),
                    };
                    let only = Value::Map(vec![(key.clone(), alone)]);
                    documents.push((
                        path,
                        Node {
                            at: node.at,
                            value: only,
                        },
                    ));
                }
            }
            if documents.is_empty() {
                documents.push((String::new(), node.clone()));
            }
            documents
        }
        Value::List(items) if !items.is_empty() => items
            .iter()
            .map(|item| {
                let only = Value::List(vec![item.clone()]);
                (
                    String::new(),
                    Node {
                        at: node.at,
                        value: only,
                    },
                )
            })
            .collect(),
        _ => vec![(String::new(), node.clone())],
    }
}
