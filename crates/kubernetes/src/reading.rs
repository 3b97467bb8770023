//! May this file be read? An agent asks the API server, for a reader who has shown a [`Proof`].

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use kube::{Api, Client, api::ListParams};
use subtle::ConstantTimeEq as _;
use tokio::sync::Mutex;

use crate::{
    Error,
    capture::{Capture, Phase},
    capture_read::{CaptureRead, LIFETIME, Proof, is_object_name},
    clock::ServerClock,
    error::{GET_CAPTURE_READ, LIST_CAPTURES, call},
};

/// How far the clocks of two API servers may differ.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// Decides who may read which file.
pub struct Reading {
    client: Client,
    clock: Mutex<ServerClock>,
}

/// Namespace and name of a Capture, or of a file. Both are names that an object of the API server can have, so they are
/// safe in paths and in logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureId {
    namespace: String,
    name: String,
}

impl CaptureId {
    /// `None` if no Capture can have these names.
    #[must_use]
    pub fn new(namespace: String, name: String) -> Option<Self> {
        let can_be = is_object_name(&namespace) && is_object_name(&name);
        can_be.then_some(Self { namespace, name })
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for CaptureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The file of this Capture may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Name of the file on the node and in object storage, without its suffix.
    pub file: CaptureId,
    /// Whether the file is in object storage.
    pub uploaded: bool,
    /// The file's SHA-256, in lower-case hexadecimal digits.
    pub sha256: Option<String>,
}

/// Why a file may not be read.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The CaptureRead does not exist in this namespace, or its secret is another one. Strangers do not learn which.
    #[error(
        "there is no CaptureRead of this name and secret in this namespace: make one in the namespace of the Capture"
    )]
    Unknown,
    /// The CaptureRead is no right to read this file.
    #[error("this CaptureRead {0}: make a new one for this Capture")]
    Unfit(&'static str),
    /// The Capture does not exist.
    #[error("there is no Capture of this name in this namespace: see `kubectl get captures`")]
    NoCapture,
    /// The Capture has no file, or not yet.
    #[error("the Capture is {0:?}, so it has no file: wait until it is Complete")]
    NotComplete(Phase),
    /// The API server does not answer, so nobody knows.
    #[error("the agent cannot ask the API server who may read")]
    Unanswered(#[from] Error),
    /// The API server does not say what time it is, so nobody knows how old a CaptureRead is.
    #[error("the API server does not say what time it is; try again")]
    NoTime,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}

impl Reading {
    /// Asks the API server through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            clock: Mutex::default(),
        }
    }

    /// Whether the file of this Capture may be read by somebody with this proof.
    ///
    /// # Errors
    /// If it may not, or if nobody knows.
    pub async fn check(&self, capture: &CaptureId, proof: &Proof) -> Result<Allowed, Refused> {
        let CaptureId { namespace, name } = capture;
        let reads: Api<CaptureRead> = Api::namespaced(self.client.clone(), namespace);
        let read = match call(GET_CAPTURE_READ, reads.get(proof.name())).await {
            Err(Error::NotFound(_) | Error::NamespaceGone(_)) => return Err(Refused::Unknown),
            read => read?,
        };
        let now = self.clock.lock().await.now(&self.client).await;
        judge(&read, name, proof, now)?;
        // A Capture that is gone must not leave its uploaded file to whoever has a namespace of that name later. An
        // agent may list Captures, so it needs no further right to look for one.
        let captures: Api<Capture> = Api::namespaced(self.client.clone(), namespace);
        let params = ListParams::default().fields(&format!("metadata.name={name}"));
        let listed = call(LIST_CAPTURES, captures.list(&params)).await?;
        let mut found = listed.items.into_iter();
        let found = found.find(|found| found.metadata.name.as_deref() == Some(name));
        let status = found.ok_or(Refused::NoCapture)?.status.unwrap_or_default();
        if status.phase != Phase::Complete {
            return Err(Refused::NotComplete(status.phase));
        }
        let file = status.file.unwrap_or_else(|| name.clone());
        Ok(Allowed {
            file: CaptureId::new(namespace.clone(), file).ok_or(Refused::NoCapture)?,
            uploaded: status.location.is_some_and(|it| it.object_url.is_some()),
            sha256: status.sha256,
        })
    }
}

/// Whether this object and the secret of `proof` are the right to read the file of `capture` now.
fn judge(
    read: &CaptureRead,
    capture: &str,
    proof: &Proof,
    now: Option<Timestamp>,
) -> Result<(), Refused> {
    let (expected, shown) = (&read.spec.secret_sha256, proof.secret_sha256());
    // Nothing else is said to somebody without the secret.
    if !bool::from(expected.as_bytes().ct_eq(shown.as_bytes())) {
        return Err(Refused::Unknown);
    }
    if read.spec.capture_name != capture {
        return Err(Refused::Unfit("is for another Capture"));
    }
    if read.metadata.deletion_timestamp.is_some() {
        return Err(Refused::Unfit("is being deleted"));
    }
    // Whoever may change an object but not create one must not read. CEL could forbid changes, but the schema would
    // then be refused by `kubectl apply` before Kubernetes 1.23.
    if read.metadata.generation.is_some_and(|it| it != 1) {
        return Err(Refused::Unfit("was changed after it was made"));
    }
    let made = read.metadata.creation_timestamp.as_ref();
    let age =
        now.ok_or(Refused::NoTime)? - made.ok_or(Refused::Unfit("has no time of creation"))?.0;
    let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
    let lifetime = SignedDuration::try_from(LIFETIME).unwrap_or(SignedDuration::ZERO);
    if age >= lifetime || age < -SKEW {
        return Err(Refused::Unfit("is older than five minutes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::capture_read::CaptureReadSpec;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn read(proof: &Proof) -> CaptureRead {
        let spec = CaptureReadSpec {
            capture_name: "web-1".to_owned(),
            secret_sha256: proof.secret_sha256(),
        };
        let mut read = CaptureRead::new(proof.name(), spec);
        read.metadata.generation = Some(1);
        read.metadata.creation_timestamp = Some(Time(now()));
        read
    }

    /// What is said about a read that differs from a good one by `change`, after `seconds`.
    fn after(seconds: i64, change: impl FnOnce(&mut CaptureRead)) -> Result<(), String> {
        let proof = Proof::new().unwrap();
        let mut read = read(&proof);
        change(&mut read);
        let then = now() + SignedDuration::from_secs(seconds);
        judge(&read, "web-1", &proof, Some(then)).map_err(|refused| refused.to_string())
    }

    #[test]
    fn a_young_object_with_the_hash_of_the_secret_is_a_right() {
        for seconds in [-59, 0, 299] {
            assert_eq!(after(seconds, |_| ()), Ok(()), "{seconds}");
        }
    }

    #[test]
    fn whatever_does_not_fit_is_refused() {
        let refused = |seconds, change: fn(&mut CaptureRead), says: &str| {
            let said = after(seconds, change).unwrap_err();
            assert!(said.contains(says), "{said}");
        };
        refused(300, |_| (), "older than five minutes");
        refused(-61, |_| (), "older than five minutes");
        refused(0, |it| it.spec.capture_name.push('0'), "another Capture");
        refused(
            0,
            |it| it.spec.secret_sha256 = "0".repeat(64),
            "no CaptureRead of this name",
        );
        refused(
            0,
            |it| it.spec.secret_sha256.clear(),
            "no CaptureRead of this name",
        );
        refused(0, |it| it.metadata.generation = Some(2), "was changed");
        refused(
            0,
            |it| it.metadata.deletion_timestamp = Some(Time(now())),
            "being deleted",
        );
        refused(
            0,
            |it| it.metadata.creation_timestamp = None,
            "time of creation",
        );
    }

    #[test]
    fn nobody_without_the_secret_learns_what_is_wrong_with_an_object() {
        let (proof, other) = (Proof::new().unwrap(), Proof::new().unwrap());
        let refused = judge(&read(&proof), "else", &other, None).unwrap_err();
        assert!(matches!(refused, Refused::Unknown), "{refused}");
        let refused = judge(&read(&proof), "web-1", &proof, None).unwrap_err();
        assert!(matches!(refused, Refused::NoTime), "{refused}");
    }
}
