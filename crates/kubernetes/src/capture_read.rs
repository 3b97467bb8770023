//! The custom resource `CaptureRead`: the right to read one file, proved by making an object.
//!
//! Whoever may create a CaptureRead in a namespace may read the files of that namespace's Captures. The object holds
//! the SHA-256 of a secret. The reader shows an agent the [`Proof`], which is the object's name and the secret; the
//! agent looks the object up. So the API server decides who reads, whatever kind of credentials the reader has, and no
//! agent ever sees them.

use std::{fmt, time::Duration};

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Error, name::hex};

/// For how long a CaptureRead is good, by the API server's clock.
pub const LIFETIME: Duration = Duration::from_secs(300);

/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// Random bytes of an object's name.
const NAME_BYTES: usize = 8;
/// The longest name of an object in the API server.
const LONGEST_NAME: usize = 253;

/// Which Capture's file is to be read, and the hash of the secret that its reader has.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "lastword.dev",
    version = "v1alpha1",
    kind = "CaptureRead",
    plural = "capturereads",
    namespaced,
    derive = "PartialEq",
    doc = "Proves the right to read the file of one Capture of this namespace, for five minutes. `kubectl lastword` makes and deletes it.",
    printcolumn(name = "Capture", type_ = "string", json_path = ".spec.captureName"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct CaptureReadSpec {
    /// Name of the Capture, in the namespace of this object.
    #[schemars(length(min = 1, max = 253))]
    pub capture_name: String,
    /// SHA-256 of the secret, in lower-case hexadecimal digits.
    #[schemars(length(equal = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub secret_sha256: String,
}

/// What a reader shows to an agent: the name of a CaptureRead, and the secret whose hash the object holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    name: String,
    secret: String,
}

/// The secret is not shown.
impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Proof {
    /// A proof that nobody else has; its object does not exist yet.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new() -> Result<Self, Error> {
        let mut random = [0; NAME_BYTES + SECRET_BYTES];
        getrandom::fill(&mut random).map_err(|error| {
            Error::Fetch(format!("the system gives no random numbers: {error}"))
        })?;
        let (name, secret) = random.split_at(NAME_BYTES);
        Ok(Self {
            name: format!("read-{}", hex(name)),
            secret: hex(secret),
        })
    }

    /// The proof of a text that [`Self::text`] made. The name is one that an object can have.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // A name may have dots, a secret has none.
        let (name, secret) = text.rsplit_once('.')?;
        let digits = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        let is_secret = secret.len() == 2 * SECRET_BYTES && secret.bytes().all(digits);
        (is_object_name(name) && is_secret).then(|| Self {
            name: name.to_owned(),
            secret: secret.to_owned(),
        })
    }

    /// The text that the reader sends. It is as good as a password until the object is deleted or too old.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}.{}", self.name, self.secret)
    }

    /// Name of the CaptureRead.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the secret, in lower-case hexadecimal digits.
    #[must_use]
    pub fn secret_sha256(&self) -> String {
        hex(&Sha256::digest(&self.secret))
    }
}

/// Whether an object can have this name (RFC 1123, a DNS subdomain). Such a name is safe in a path.
pub(crate) fn is_object_name(name: &str) -> bool {
    let is_end = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_label = |label: &str| {
        let mut bytes = label.bytes();
        let dashed = |c: u8| c == b'-' || is_end(Some(c));
        is_end(bytes.clone().next()) && is_end(bytes.clone().next_back()) && bytes.all(dashed)
    };
    name.len() <= LONGEST_NAME && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_survives_its_way_and_no_two_are_alike() {
        let (proof, other) = (Proof::new().unwrap(), Proof::new().unwrap());
        assert_eq!(Proof::parse(&proof.text()).as_ref(), Some(&proof));
        assert!(is_object_name(proof.name()), "{}", proof.name());
        assert_ne!(proof.name(), other.name());
        assert_ne!(proof.secret_sha256(), other.secret_sha256());
        assert_eq!(proof.secret_sha256().len(), 64);
        let named = format!("a.b-c.{}", proof.secret);
        assert_eq!(Proof::parse(&named).unwrap().name(), "a.b-c");
    }

    #[test]
    fn a_proof_does_not_show_its_secret() {
        let proof = Proof::new().unwrap();
        let shown = format!("{proof:?}");
        assert!(shown.contains(proof.name()) && !shown.contains(&proof.secret));
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        let secret = "0".repeat(64);
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "-a",
            "a-",
            "a..b",
            "A",
            "a_b",
            "a?x=1",
            "a%2fb",
            "ä",
            "a b",
            "a\n",
            &"a".repeat(254),
        ] {
            assert_eq!(Proof::parse(&format!("{name}.{secret}")), None, "{name:?}");
        }
        for secret in ["", "0", &"0".repeat(63), &"0".repeat(65), &"F".repeat(64)] {
            assert_eq!(Proof::parse(&format!("a.{secret}")), None, "{secret:?}");
        }
        assert_eq!(Proof::parse(&secret), None);
    }
}
