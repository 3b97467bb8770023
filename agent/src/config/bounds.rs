//! Configuration values that must lie within bounds.

use std::{fmt::Display, net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, de::Error};

/// A number of bytes, or text such as `256MiB`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a size, such as 256MiB or 4096")]
enum Size {
    Bytes(u64),
    Text(String),
}

pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    match Size::deserialize(deserializer)? {
        Size::Bytes(bytes) => Ok(ByteSize(bytes)),
        Size::Text(text) => text.parse().map_err(|_| {
            D::Error::custom(format!(
                "`{text}` is no size; write it as in 256MiB or 4096"
            ))
        }),
    }
}

pub(super) fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    at_least(size(deserializer)?, ByteSize::mib(16))
}

pub(super) fn spool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    at_least(size(deserializer)?, ByteSize::mib(1))
}

pub(super) fn payload<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    at_most(size(deserializer)?.as_u64(), 4096).map(ByteSize)
}

pub(super) fn keep<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    at_most(at_least(usize::deserialize(deserializer)?, 1)?, 20)
}

pub(super) fn per_pod<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    at_least(usize::deserialize(deserializer)?, 1)
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration: Duration = humantime_serde::deserialize(deserializer)?;
    if duration < Duration::from_secs(60) {
        return Err(D::Error::custom(format!(
            "{} is too short; the least is 1m",
            humantime::format_duration(duration)
        )));
    }
    Ok(duration)
}

pub(super) fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(D::Error::custom(format!(
            "`{}` is no absolute path",
            path.display()
        )))
    }
}

pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "`{text}` is no address with a port; write it as in 0.0.0.0:9440"
        ))
    })
}

pub(super) fn loopback<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let address = listen(deserializer)?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(D::Error::custom(format!(
            "`{address}` is no loopback address, and files must not be served on a network; write it as in 127.0.0.1:9441"
        )))
    }
}

pub(super) fn redaction<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<redact::Config, D::Error> {
    let config = redact::Config::deserialize(deserializer)?;
    redact::Redactor::new(&config).map_err(D::Error::custom)?;
    Ok(config)
}

fn at_least<T: PartialOrd + Display, E: Error>(value: T, least: T) -> Result<T, E> {
    if value < least {
        return Err(E::custom(format!(
            "{value} is too little; the least is {least}"
        )));
    }
    Ok(value)
}

fn at_most<T: PartialOrd + Display, E: Error>(value: T, most: T) -> Result<T, E> {
    if value > most {
        return Err(E::custom(format!(
            "{value} is too much; the most is {most}"
        )));
    }
    Ok(value)
}
