//! What can go wrong with an API server, and what to do about it.

use std::{fmt, future::Future, time::Duration};

use kube::core::response::Status;

/// A request that takes longer than this has failed. Watches and files have limits of their own.
const PATIENCE: Duration = Duration::from_secs(20);

/// One rule of RBAC, which a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Access {
    /// The verb, such as `list`.
    pub verb: &'static str,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural name, with a subresource after a slash.
    pub resource: &'static str,
    /// Who makes the call.
    pub who: Who,
}

/// Who calls the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// The agent, by its service account.
    Agent,
    /// A person, by the kubectl plugin.
    User,
}

macro_rules! accesses {
    ($($(#[$doc:meta])* $list:ident, $who:ident = [$($name:ident = $verb:literal $group:literal $resource:literal;)*])*) => {
        $(
            $(pub(crate) const $name: Access = Access { verb: $verb, group: $group, resource: $resource, who: Who::$who };)*
            $(#[$doc])*
            pub const $list: &[Access] = &[$($name),*];
        )*
    };
}

accesses! {
    /// Everything that the agent needs in every namespace: the rules of the ClusterRole `lastword-agent`.
    AGENT, Agent = [
        GET_POD = "get" "" "pods";
        LIST_PODS = "list" "" "pods";
        WATCH_PODS = "watch" "" "pods";
        LIST_NAMESPACES = "list" "" "namespaces";
        WATCH_NAMESPACES = "watch" "" "namespaces";
        LIST_EVENTS = "list" "" "events";
        CREATE_EVENTS = "create" "" "events";
        PATCH_EVENTS = "patch" "" "events";
        GET_CAPTURE_READ = "get" "lastword.dev" "capturereads";
        LIST_CAPTURES = "list" "lastword.dev" "captures";
        WATCH_CAPTURES = "watch" "lastword.dev" "captures";
        CREATE_CAPTURES = "create" "lastword.dev" "captures";
        PATCH_CAPTURES = "patch" "lastword.dev" "captures";
        DELETE_CAPTURES = "delete" "lastword.dev" "captures";
        PATCH_CAPTURE_STATUS = "patch" "lastword.dev" "captures/status";
    ]
    /// What the agent needs in its own namespace: the rules of the Role `lastword-agent`.
    AGENT_AT_HOME, Agent = [
        GET_LEASE = "get" "coordination.k8s.io" "leases";
        CREATE_LEASE = "create" "coordination.k8s.io" "leases";
        DELETE_LEASE = "delete" "coordination.k8s.io" "leases";
    ]
    /// What a person needs to ask for captures and to read them: the rights of lastword.dev in the pod's namespace,
    /// the other rights in the agent's namespace. A port-forward through a WebSocket is a GET; Kubernetes 1.35 also
    /// requires `create`.
    USER, User = [
        USER_LIST_CAPTURES = "list" "lastword.dev" "captures";
        USER_GET_CAPTURE = "get" "lastword.dev" "captures";
        USER_CREATE_CAPTURES = "create" "lastword.dev" "captures";
        USER_CREATE_CAPTURE_READ = "create" "lastword.dev" "capturereads";
        USER_DELETE_CAPTURE_READ = "delete" "lastword.dev" "capturereads";
        USER_LIST_PODS = "list" "" "pods";
        USER_FORWARD = "get" "" "pods/portforward";
        USER_FORWARD_CREATE = "create" "" "pods/portforward";
    ]
    /// What a person needs to ask why a pod was never started, in the pod's namespace. Kubernetes' own ClusterRole
    /// `view` has it.
    VIEW, User = [
        USER_GET_POD = "get" "" "pods";
        USER_LIST_EVENTS = "list" "" "events";
    ]
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = if self.group.is_empty() {
            "\"\""
        } else {
            self.group
        };
        write!(f, "{} {} (API group {group})", self.verb, self.resource)
    }
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no answer, or the answer says to try again later.
    #[error("the API server is away: {0}")]
    Away(String),
    /// The credentials are not accepted.
    #[error(
        "the API server does not accept these credentials: {0}; is the token or certificate expired?"
    )]
    Unauthorized(String),
    /// RBAC has no rule that allows the call.
    #[error("not allowed to {access}: {message}; {}", remedy(*.access, .message))]
    Forbidden {
        /// The call.
        access: Access,
        /// The API server's message.
        message: String,
    },
    /// RBAC allows the call, but something else does not: a quota, a policy, an admission webhook.
    #[error("refused to {access}: {message}")]
    Refused {
        /// The call.
        access: Access,
        /// The API server's message.
        message: String,
    },
    /// The custom resource is not installed, or is being uninstalled.
    #[error(
        "the cluster does not know the resources of lastword.dev, or not all of them; run `kubectl apply -f deploy/crds`"
    )]
    CrdMissing,
    /// The namespace does not exist, or is being deleted.
    #[error("the namespace is gone: {0}")]
    NamespaceGone(String),
    /// The object does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// Somebody else changed the object first.
    #[error("changed by somebody else meanwhile: {0}")]
    Conflict(String),
    /// The API server refuses the object as invalid.
    #[error("the API server refuses it: {0}")]
    Invalid(String),
    /// There is no usable configuration.
    #[error("no way to reach a cluster: {0}")]
    Config(String),
    /// No agent gives the file.
    #[error("{0}")]
    Fetch(String),
    /// The reader was asked to stop.
    #[error("stopped before the file was read")]
    Stopped,
    /// The caller's writer failed.
    #[error("cannot write the capture")]
    Output(#[source] std::io::Error),
}

/// Whether and when it makes sense to try again; earlier variants mean sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retry {
    /// Try again when the API server is back.
    Soon,
    /// Try again when somebody has repaired the cluster, after minutes.
    Later,
    /// Try again a few times, at longer and longer intervals: somebody may make room, or never will.
    Seldom,
    /// Do not try again: the object of the call is gone, or the call is wrong.
    Never,
}

impl Error {
    /// Whether and when it makes sense to try again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Away(_) | Self::Conflict(_) => Retry::Soon,
            Self::Unauthorized(_) | Self::Forbidden { .. } | Self::CrdMissing => Retry::Later,
            Self::Refused { .. } => Retry::Seldom,
            Self::NamespaceGone(_)
            | Self::NotFound(_)
            | Self::Invalid(_)
            | Self::Config(_)
            | Self::Fetch(_)
            | Self::Stopped
            | Self::Output(_) => Retry::Never,
        }
    }

    /// Converts `error` from a call that needs `access`.
    pub(crate) fn of(error: kube::Error, access: Access) -> Self {
        match error {
            kube::Error::Api(status) => Self::answered(&status, access),
            kube::Error::Auth(error) => Self::Unauthorized(chain(&error)),
            kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) => {
                Self::Invalid(chain(&error))
            }
            _ => Self::Away(chain(&error)),
        }
    }

    /// Converts an answer of the API server.
    pub(crate) fn answered(status: &Status, access: Access) -> Self {
        let details = status.details.as_ref();
        let kind = details.map_or("", |details| details.kind.as_str());
        let name = details.map_or("", |details| details.name.as_str());
        let message = status.message.clone();
        match status.code {
            401 => Self::Unauthorized(message),
            403 if terminates_namespace(status) => Self::NamespaceGone(message),
            403 if lacks_rbac(status) => Self::Forbidden { access, message },
            403 => Self::Refused { access, message },
            404 if kind == "namespaces" => Self::NamespaceGone(message),
            // If the resource is not served, no object is named.
            404 if access.group == "lastword.dev" && name.is_empty() => Self::CrdMissing,
            // No object can be created if the definition of its resource is being deleted (apiextensions-apiserver,
            // customresource_handler.go).
            405 if access.group == "lastword.dev" => Self::CrdMissing,
            404 => Self::NotFound(message),
            409 => Self::Conflict(message),
            // 0: something between us and the API server answers without a code.
            0 | 408 | 410 | 429 | 500.. => Self::Away(message),
            _ => Self::Invalid(message),
        }
    }
}

/// Whether the error says that the namespace is being deleted. Since Kubernetes 1.19 it has a cause for that. Before
/// 1.19, and in lists, only the message says it.
fn terminates_namespace(status: &Status) -> bool {
    let cause = |causes: &[kube::core::response::StatusCause]| {
        causes
            .iter()
            .any(|cause| cause.reason == "NamespaceTerminating")
    };
    status
        .details
        .as_ref()
        .is_some_and(|details| cause(&details.causes))
        || status.message.contains("because it is being terminated")
}

/// Whether the authorizer forbids the call, before any admission. Only the authorizer says which user cannot do what
/// (apiserver/pkg/endpoints/handlers/responsewriters/errors.go, `forbiddenMessage`). Proxies that forbid a call do not.
fn lacks_rbac(status: &Status) -> bool {
    let after = status.message.split_once("User \"").map(|(_, after)| after);
    after.is_some_and(|after| after.contains("\" cannot "))
}

/// How to get the right to `access`. The API server's message names the person and the namespace.
fn remedy(access: Access, message: &str) -> String {
    let role = match access.who {
        Who::Agent => {
            let kind = match AGENT_AT_HOME.contains(&access) {
                true => "Role",
                false => "ClusterRole",
            };
            return format!("add this rule to {kind} lastword-agent, or apply deploy/ again");
        }
        Who::User => match (access.resource, access.verb) {
            ("capturereads", _) => "clusterrole=lastword-file-reader",
            ("captures", "get" | "list" | "watch") => "clusterrole=lastword-reader",
            ("captures", _) => "clusterrole=lastword-requester",
            _ => "role=lastword-reader",
        },
    };
    let quoted = |before: &str| Some(message.split_once(before)?.1.split_once('"')?.0);
    let namespace = quoted("in the namespace \"").unwrap_or("NAMESPACE");
    let user = quoted("User \"").unwrap_or("USER");
    let subject = match user.strip_prefix("system:serviceaccount:") {
        Some(account) => format!("serviceaccount={account}"),
        None => format!("user={user}"),
    };
    let name = role.split_once('=').map_or(role, |(_, name)| name);
    let who = user.rsplit(':').next().unwrap_or(user);
    format!(
        "whoever may give rights there can run `kubectl -n {namespace} create rolebinding {name}-{who} --{role} --{subject}`"
    )
}

/// `error` and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Makes one request that needs `access`.
pub(crate) async fn call<T>(
    access: Access,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(|error| Error::of(error, access)),
        Err(_) => Err(Error::Away(format!(
            "no answer within {} s to {access}",
            PATIENCE.as_secs()
        ))),
    }
}
