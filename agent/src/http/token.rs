//! Bearer tokens. Who may send alerts: a client that sends the right token.

use std::{fs::File, io::Read, path::Path};

use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;

/// How many bytes of the token file are read.
const MAX_BYTES: u64 = 4096;

/// Why a request is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// The file does not exist: nobody has made a token.
    NotEnabled,
    /// The file has no usable token; the text says why.
    Unusable(String),
    /// The request has no token.
    Missing,
    /// The request has another token.
    Wrong,
}

/// Compares the request's bearer token with that of the file. The time that it takes does not depend on where they
/// differ.
pub(super) fn check(headers: &HeaderMap, file: &Path) -> Result<(), Denied> {
    if !file.exists() {
        return Err(Denied::NotEnabled);
    }
    let expected = read(file).map_err(Denied::Unusable)?;
    let presented = bearer(headers).ok_or(Denied::Missing)?;
    let same = presented.as_bytes().ct_eq(expected.as_bytes());
    if same.into() {
        Ok(())
    } else {
        Err(Denied::Wrong)
    }
}

/// The request's bearer token.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    is_bearer.then(|| token.trim())
}

fn read(file: &Path) -> Result<String, String> {
    let mut token = String::new();
    File::open(file)
        .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut token))
        .map_err(|error| format!("cannot read the token in {}: {error}", file.display()))?;
    match token.trim() {
        "" => Err(format!("the token in {} is empty", file.display())),
        token => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn bearing(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[test]
    fn only_the_token_is_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "s3cret\n").unwrap();
        assert_eq!(check(&bearing("Bearer s3cret"), &file), Ok(()));
        assert_eq!(check(&bearing("bearer s3cret"), &file), Ok(()));
        for wrong in ["Bearer s3cre", "Bearer s3cret2", "Bearer S3CRET", "Bearer "] {
            assert_eq!(check(&bearing(wrong), &file), Err(Denied::Wrong), "{wrong}");
        }
        for missing in ["Basic s3cret", "s3cret", ""] {
            assert_eq!(
                check(&bearing(missing), &file),
                Err(Denied::Missing),
                "{missing}"
            );
        }
        assert_eq!(check(&HeaderMap::new(), &file), Err(Denied::Missing));
    }

    #[test]
    fn a_token_that_is_changed_holds_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "old").unwrap();
        assert_eq!(check(&bearing("Bearer old"), &file), Ok(()));
        fs::write(&file, "new").unwrap();
        assert_eq!(check(&bearing("Bearer old"), &file), Err(Denied::Wrong));
        assert_eq!(check(&bearing("Bearer new"), &file), Ok(()));
    }

    #[test]
    fn an_empty_or_missing_file_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        assert_eq!(check(&bearing("Bearer "), &file), Err(Denied::NotEnabled));
        fs::write(&file, " \n").unwrap();
        let denied = check(&bearing("Bearer "), &file).unwrap_err();
        assert!(matches!(denied, Denied::Unusable(why) if why.contains("empty")));
    }
}
