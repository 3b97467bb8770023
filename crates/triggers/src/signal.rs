//! Signals by name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::closest;

/// Names by number, from 1 (signal(7), x86-64 and arm64).
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The highest number: that of the last real-time signal.
const LAST: u8 = 64;

/// A signal, given by its name (`SIGSEGV`, `SEGV`, in either case) or its number (1 to 64).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signal(u8);

impl Signal {
    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The signal with this number, if there is one.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        (1..=LAST).contains(&number).then_some(Self(number))
    }
}

impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse::<u8>() {
            return Self::from_number(number)
                .ok_or_else(|| format!("there is no signal {number}; they go from 1 to {LAST}"));
        }
        let mut name = text.to_ascii_uppercase();
        if !name.starts_with("SIG") {
            name.insert_str(0, "SIG");
        }
        match NAMES.iter().position(|known| *known == name) {
            Some(index) => Ok(Self(index as u8 + 1)),
            None => Err(match closest(&name, NAMES) {
                Some(meant) => format!("there is no signal `{text}`; did you mean `{meant}`?"),
                None => {
                    format!("there is no signal `{text}`; give a name such as SIGSEGV, or a number")
                }
            }),
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => serializer.serialize_str(name),
            None => serializer.serialize_u8(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Signal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name or number of a signal")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Signal, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Signal, E> {
                number.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for text in ["SIGSEGV", "segv", "11"] {
            assert_eq!(text.parse::<Signal>().unwrap().number(), 11);
        }
        assert_eq!("SIGSYS".parse::<Signal>().unwrap().number(), 31);
        assert_eq!(Signal(9).to_string(), "SIGKILL");
        assert_eq!("34".parse::<Signal>().unwrap().to_string(), "signal 34");
        assert!("SEGF".parse::<Signal>().unwrap_err().contains("SIGSEGV"));
        for text in ["0", "65", "300", "", "word"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
    }
}
