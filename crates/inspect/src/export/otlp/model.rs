//! The logs data model of OTLP in its JSON encoding: `opentelemetry/proto/logs/v1/logs.proto` and the rules of
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>. Names are in lowerCamelCase, 64-bit integers
//! are strings, enumerations are numbers.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Serialize, Serializer};

/// `LogsData`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogsData {
    pub(super) resource_logs: [ResourceLogs; 1],
}

/// `ResourceLogs`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceLogs {
    pub(super) resource: Resource,
    pub(super) scope_logs: [ScopeLogs; 1],
}

/// `Resource`: what the records are about.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Resource {
    pub(super) attributes: Vec<Attribute>,
}

/// `ScopeLogs`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScopeLogs {
    pub(super) scope: Scope,
    pub(super) log_records: Vec<LogRecord>,
}

/// `InstrumentationScope`: the program that made the records.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Scope {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
}

/// `LogRecord`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogRecord {
    #[serde(serialize_with = "as_text")]
    pub(super) time_unix_nano: u64,
    #[serde(serialize_with = "as_text")]
    pub(super) observed_time_unix_nano: u64,
    #[serde(serialize_with = "as_number")]
    pub(super) severity_number: Severity,
    pub(super) severity_text: &'static str,
    pub(super) event_name: String,
    pub(super) body: Value,
    pub(super) attributes: Vec<Attribute>,
}

/// `SeverityNumber`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// `SEVERITY_NUMBER_INFO`.
    Info = 9,
    /// `SEVERITY_NUMBER_WARN`.
    Warn = 13,
    /// `SEVERITY_NUMBER_ERROR`.
    Error = 17,
}

impl Severity {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// `KeyValue`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Attribute {
    pub(super) key: &'static str,
    pub(super) value: Value,
}

/// `AnyValue`.
#[derive(Clone, Debug, Serialize)]
pub(super) enum Value {
    #[serde(rename = "stringValue")]
    Text(String),
    #[serde(rename = "intValue", serialize_with = "as_text")]
    Int(i64),
    #[serde(rename = "bytesValue", serialize_with = "as_base64")]
    Bytes(Vec<u8>),
}

impl Value {
    /// A count or another number; a number that is too large for the format becomes the largest one.
    pub(super) fn int(value: impl TryInto<i64>) -> Self {
        Self::Int(value.try_into().unwrap_or(i64::MAX))
    }
}

fn as_text<S: Serializer>(value: &impl std::fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

fn as_number<S: Serializer>(severity: &Severity, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i32(*severity as i32)
}

fn as_base64<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&BASE64_STANDARD.encode(bytes))
}
