//! Masks credentials before anything is written.
//!
//! A capture holds what programs read, wrote and sent, so it may hold passwords and tokens. They are overwritten with
//! `*` before the capture reaches a disk.
//!
//! A [`Redactor`] holds the compiled rules of a node. All events of a run go through [`Redactor::run`], in order. The
//! capture's header (the Pod object, Kubernetes events, the command) goes through [`Redactor::header`], and the
//! metadata of each run through [`Redactor::run_metadata`]. All three count what they masked in a [`Manifest`].
//!
//! | rule | masks |
//! |---|---|
//! | `environment` | `/proc/PID/environ`; payloads that hold an environment; values of `env` in the Pod object |
//! | `secret_file` | all of a file that holds secrets by its path: service account tokens, Secret volumes, `/etc/shadow`, key files, … |
//! | `secret_object` | `data` and `stringData` of Kubernetes' Secret objects |
//! | `private_key` | bodies of PEM and OpenPGP private keys, also where a payload starts or ends inside |
//! | `authorization`, `cookie`, `api_key_header` | values of HTTP headers |
//! | `url_password` | `scheme://user:password@host`, and what databases' drivers make of it |
//! | `credential` | values of keys such as `password`, `api_key`, `client-secret`, also where name and value are two fields; passwords in SQL, Redis, PostgreSQL, SMTP, XML, `.pgpass`, `.netrc` |
//! | `jwt`, `token`, `password_hash` | what is known by its shape |
//! | `command_line` | options that take a password |
//! | `annotation` | annotations of the Pod object that repeat it |
//! | `http_header` | headers of probes in the Pod object |
//! | `payload` | all payloads of a run for which none is to be kept |
//! | a pattern's name | what the configured pattern matches |
//!
//! Which prefixes, shapes and words indicate a credential is data: `rules.yaml`. One automaton looks for the keywords
//! of all rules, and only rules whose keyword occurs are tried.
//!
//! A masked byte becomes `*`, except line breaks and NUL, so lengths and offsets stay the same. An event that was
//! changed has the flag [`EventFlags::REDACTED`](capture_format::EventFlags::REDACTED). Redacting twice changes
//! nothing more.
//!
//! **What is not recognised:**
//!
//! - a password that nothing around it identifies, such as a line of a file that is only a password, outside the known
//!   paths;
//! - a passphrase of several words of which one is a word of grammar (`to be or not`), because sentences of error
//!   messages look the same;
//! - tokens of unknown makers;
//! - compressed or encoded payloads;
//! - the rest of a value behind a payload that was recorded in part.
//!
//! The configuration can name further paths that hold secrets, and can switch payloads off.
#![forbid(unsafe_code)]

use bytes::Bytes;

mod arguments;
mod config;
mod environment;
mod error;
mod keys;
mod manifest;
mod mask;
mod metadata;
mod options;
mod pairs;
mod path;
mod private_key;
mod rules;
mod run;
mod scan;
mod secret_object;
mod value;
mod view;

pub use config::{Config, Pattern, Payload};
pub use error::Error;
pub use manifest::Manifest;

use keys::Source;
use scan::{Context, Scanner};

/// The compiled rules.
pub struct Redactor {
    scanner: Scanner,
    secret_paths: Vec<String>,
}

impl Redactor {
    /// Compiles the rules.
    ///
    /// # Errors
    /// If a configured pattern or path cannot be used; the message names it.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let relative = config
            .secret_paths
            .iter()
            .find(|path| !path.starts_with('/'));
        if let Some(path) = relative {
            return Err(Error::Path { path: path.clone() });
        }
        Ok(Self {
            scanner: Scanner::new(config)?,
            secret_paths: config.secret_paths.clone(),
        })
    }

    /// Masks a text that is not a payload: a message, a reason.
    pub fn text(&self, text: &mut String, manifest: &mut Manifest) {
        if !self.scanner.suspects(text.as_bytes()) {
            return;
        }
        let mut bytes = std::mem::take(text).into_bytes();
        self.bytes(&mut bytes, manifest);
        *text = into_text(bytes);
    }

    fn bytes(&self, bytes: &mut [u8], manifest: &mut Manifest) -> bool {
        self.scanner
            .mask(bytes, Context::of(Source::Written), manifest)
            .masked
    }

    /// Masks bytes of an event.
    fn scanned(&self, bytes: &mut Bytes, manifest: &mut Manifest) -> bool {
        self.scanner.suspects(bytes) && self.shared(bytes, manifest, Self::bytes)
    }

    /// Applies a rule to bytes of an event, which other events may share.
    fn shared(
        &self,
        bytes: &mut Bytes,
        manifest: &mut Manifest,
        rule: impl Fn(&Self, &mut [u8], &mut Manifest) -> bool,
    ) -> bool {
        let mut copy = bytes.to_vec();
        let masked = rule(self, &mut copy, manifest);
        if masked {
            *bytes = Bytes::from(copy);
        }
        masked
    }
}

/// Converts bytes to text. A pattern may have masked part of a character.
fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).replace('\u{fffd}', "*"))
}
