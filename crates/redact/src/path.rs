//! Files whose content is never stored, recognised by their path.

/// Endings of the path, from a slash on.
const FILES: &[&str] = &[
    "/.aws/credentials",
    "/.docker/config.json",
    "/.dockercfg",
    "/.dockerconfigjson",
    "/.git-credentials",
    "/.htpasswd",
    "/.kube/config",
    "/.netrc",
    "/.pgpass",
    "/.vault-token",
    "/gshadow",
    "/gshadow-",
    "/id_dsa",
    "/id_ecdsa",
    "/id_ed25519",
    "/id_rsa",
    "/shadow",
    "/shadow-",
    "/token",
];
const EXTENSIONS: &[&str] = &[".jks", ".kdbx", ".key", ".keystore", ".p12", ".pfx", ".ppk"];
/// Where Docker and Kubernetes mount secrets by default.
const DIRECTORIES: &[&str] = &["/run/secrets", "/var/run/secrets"];
/// What stands there and is public.
const PUBLIC: &[&str] = &[
    "/kubernetes.io/serviceaccount/ca.crt",
    "/kubernetes.io/serviceaccount/namespace",
];

/// Paths of secrets beyond those that always are: of the configuration, or of the container's Secret volumes.
pub(crate) fn is_below(path: &[u8], secret_paths: &[String]) -> bool {
    secret_paths.iter().any(|secret| {
        let secret = secret.trim_end_matches('/').as_bytes();
        let rest = path.strip_prefix(secret);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    })
}

/// Whether a file holds secrets as far as its path tells, which may be its last component alone.
pub(crate) fn is_secret(path: &[u8]) -> bool {
    let ends = |ending: &&str| {
        path.ends_with(ending.as_bytes()) || path == ending.trim_start_matches('/').as_bytes()
    };
    if PUBLIC.iter().any(ends) {
        return false;
    }
    let below = |directory: &&str| {
        path.strip_prefix(directory.as_bytes())
            .is_some_and(|rest| rest.starts_with(b"/"))
    };
    FILES.iter().any(ends)
        || DIRECTORIES.iter().any(below)
        || EXTENSIONS
            .iter()
            .any(|extension| path.ends_with(extension.as_bytes()))
}

/// Whether it is the environment of a process, in procfs; its last component alone is enough.
pub(crate) fn is_environment(path: &[u8]) -> bool {
    path == b"environ" || path.ends_with(b"/environ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_files_are_known_by_path_or_name() {
        for path in [
            "/var/run/secrets/kubernetes.io/serviceaccount/token",
            "token",
            "/run/secrets/db_password",
            "/etc/shadow",
            "shadow",
            "/root/.docker/config.json",
            "/home/app/.ssh/id_ed25519",
            "/etc/tls/tls.key",
        ] {
            assert!(is_secret(path.as_bytes()), "{path}");
        }
        for path in [
            "/var/run/secrets/kubernetes.io/serviceaccount/namespace",
            "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
            "/etc/nginx/nginx.conf",
            "/app/config.json",
            "config.json",
            "/etc/resolv.conf",
            "/app/tokens.py",
            "/run/secretservice",
            "",
        ] {
            assert!(!is_secret(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_directory_covers_what_is_below_it() {
        let mounts = ["/etc/db/".to_owned(), "/etc/one-file".to_owned()];
        assert!(is_below(b"/etc/db/password", &mounts));
        assert!(is_below(b"/etc/db/..data/password", &mounts));
        assert!(is_below(b"/etc/one-file", &mounts));
        assert!(!is_below(b"/etc/dbase", &mounts));
        assert!(!is_below(b"db/password", &mounts));
    }

    #[test]
    fn environments_are_those_of_procfs() {
        assert!(is_environment(b"/proc/self/environ"));
        assert!(is_environment(b"environ"));
        assert!(!is_environment(b"/etc/environment"));
    }
}
