//! Files whose content is never stored, recognised by their path.

/// How paths of secret files end, from a slash on.
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
/// Directories in which Docker and Kubernetes mount secrets by default.
const DIRECTORIES: &[&str] = &["/run/secrets", "/var/run/secrets"];
/// Files in these directories that are public.
const PUBLIC: &[&str] = &[
    "/kubernetes.io/serviceaccount/ca.crt",
    "/kubernetes.io/serviceaccount/namespace",
];

/// Whether a path is a secret path or below one. Such paths come from the configuration or from the container's Secret
/// volumes.
pub(crate) fn is_below(path: &[u8], secret_paths: &[String]) -> bool {
    secret_paths.iter().any(|secret| {
        let secret = secret.trim_end_matches('/').as_bytes();
        let rest = path.strip_prefix(secret);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    })
}

/// Whether a file holds secrets, judged by its path, of which only the last component may be known.
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

/// Whether a path is the environment of a process in procfs. The last component is enough.
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
