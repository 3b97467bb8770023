//! Stores: a real S3 server, and a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use spool::{Entry, Store, StoreConfig, StoreError};

use crate::captures::{files, header, noise, open, sha256sum, tree, write};
use crate::server::{BUCKET, Server};

/// A capture of about this size, and its file.
fn capture(directory: &Path, size: usize) -> (Entry, std::path::PathBuf) {
    let spool = open(directory);
    let entry = write(&spool, &header("web-0", 0), size).entry;
    let path = spool.path(&entry.id).unwrap();
    (entry, path)
}

/// Whether there is a checksum to compare, and the bytes.
async fn get(
    store: &Store,
    key: &str,
    sha256: Option<&str>,
) -> Result<(bool, Vec<u8>), StoreError> {
    let mut download = store.get(key, sha256).await?;
    let (verified, size) = (download.is_verified(), download.bytes());
    let mut bytes = Vec::new();
    while let Some(chunk) = download.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes.len() as u64, size);
    Ok((verified, bytes))
}

#[tokio::test]
async fn what_is_put_can_be_got_by_its_location() {
    let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let (entry, path) = capture(directory.path(), 50_000);
    let uploaded = server.store().put(&entry, &path).await.unwrap();
    assert_eq!(
        uploaded.location,
        format!("s3://{BUCKET}/cluster-1/{}.lwcap", entry.id)
    );
    assert_eq!(
        (uploaded.bytes, uploaded.verified),
        (entry.info.bytes, true)
    );
    let written = fs::read(&path).unwrap();
    assert_eq!(fs::read(server.object(&entry.key())).unwrap(), written);
    let description = fs::read(server.object(&format!("{}.json", entry.id))).unwrap();
    assert_eq!(
        serde_json::from_slice::<spool::Info>(&description).unwrap(),
        entry.info
    );

    let (config, key) = StoreConfig::of_location(&uploaded.location).unwrap();
    let store = Store::open(&StoreConfig {
        url: config.url,
        ..server.config()
    })
    .unwrap();
    let (verified, bytes) = get(&store, &key, None).await.unwrap();
    assert!(verified, "by the checksum that is stored with it");
    assert_eq!(bytes, written);
}

#[tokio::test]
async fn large_captures_go_in_parts() {
    let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    // Exactly two parts, and slightly more than two.
    for size in [16 << 20, (16 << 20) + 5] {
        let path = directory.path().join("large");
        let bytes = noise(size);
        fs::write(&path, &bytes).unwrap();
        let mut entry = Entry {
            id: format!("shop/web-0/app/{size}"),
            ..Entry::default()
        };
        entry.info.sha256 = sha256sum(&path);
        let uploaded = server.store().put(&entry, &path).await.unwrap();
        assert_eq!(uploaded.bytes, size as u64);
        assert!(fs::read(server.object(&entry.key())).unwrap() == bytes);
        let (verified, got) = get(&server.store(), &entry.key(), None).await.unwrap();
        assert!(verified && got == bytes);

        entry.info.sha256 = "0".repeat(64);
        entry.id += "-changed";
        let error = server.store().put(&entry, &path).await.unwrap_err();
        assert!(matches!(error, StoreError::Changed { .. }), "{error}");
        assert!(!server.object(&entry.key()).exists());
    }
}

#[tokio::test]
async fn a_capture_that_changed_on_the_disk_is_not_uploaded() {
    let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let (entry, path) = capture(directory.path(), 50_000);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = server.store().put(&entry, &path).await.unwrap_err();
    assert!(matches!(error, StoreError::Changed { .. }), "{error}");
    assert_eq!(server.behaviour().writes.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_object_that_changed_in_the_store_is_told() {
    let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let (entry, path) = capture(directory.path(), 50_000);
    let store = server.store();
    store.put(&entry, &path).await.unwrap();
    let object = server.object(&entry.key());
    let mut bytes = fs::read(&object).unwrap();
    bytes[20_000] ^= 1;
    fs::write(&object, bytes).unwrap();
    for expected in [None, Some(&*entry.info.sha256)] {
        let error = get(&store, &entry.key(), expected).await.unwrap_err();
        assert!(matches!(error, StoreError::Mismatch { .. }), "{error}");
        assert!(error.to_string().contains(&entry.info.sha256), "{error}");
    }
}

#[tokio::test]
async fn a_store_that_lies_is_not_believed() {
    let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let (entry, path) = capture(directory.path(), 50_000);
    server.behaviour().lies.store(true, Ordering::Relaxed);
    let error = server.store().put(&entry, &path).await.unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");

    let object = server.object(&entry.key());
    fs::create_dir_all(object.parent().unwrap()).unwrap();
    fs::write(&object, "shorter").unwrap();
    let error = server.store().put(&entry, &path).await.unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { .. }), "{error}");
    assert!(error.to_string().contains("has 7 bytes"), "{error}");

    server.behaviour().lies.store(false, Ordering::Relaxed);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let another = directory.path().join("of the same size");
    fs::write(&another, bytes).unwrap();
    let mut changed = entry.clone();
    changed.info.sha256 = sha256sum(&another);
    server.store().put(&changed, &another).await.unwrap();
    server.behaviour().lies.store(true, Ordering::Relaxed);
    let error = server.store().put(&entry, &path).await.unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { .. }), "{error}");
    assert!(error.to_string().contains(&changed.info.sha256), "{error}");
}

#[tokio::test]
async fn credentials_that_may_only_write_are_enough() {
    let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let (entry, path) = capture(directory.path(), 1_000);
    server.behaviour().write_only.store(true, Ordering::Relaxed);
    assert!(!server.store().put(&entry, &path).await.unwrap().verified);
    assert!(server.object(&entry.key()).is_file());
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let (mut server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let (entry, path) = capture(directory.path(), 1_000);
    let put = async |config: StoreConfig| {
        Store::open(&config)
            .unwrap()
            .put(&entry, &path)
            .await
            .unwrap_err()
    };
    let with = |key: &str, value: &str| {
        let mut config = server.config();
        config.options.insert(key.into(), value.into());
        config
    };

    for wrong in [
        with("secret_access_key", "wrong"),
        with("access_key_id", "wrong"),
    ] {
        let error = put(wrong).await;
        assert!(matches!(error, StoreError::Denied { .. }), "{error}");
        let error = error.to_string();
        assert!(
            error.contains("check the credentials") && !error.contains('<'),
            "{error}"
        );
    }

    let error = put(StoreConfig {
        url: "s3://nowhere/x".into(),
        ..server.config()
    })
    .await;
    assert!(matches!(error, StoreError::NoBucket { .. }), "{error}");
    assert!(
        error.to_string().contains("NoSuchBucket") && error.to_string().contains("create it"),
        "{error}"
    );

    let error = get(&server.store(), "shop/none.lwcap", None)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");

    let config = server.config();
    server.stop().await;
    let error = put(config).await;
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
    assert!(!error.is_of_capture());
}

#[tokio::test]
async fn a_certificate_is_trusted_if_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let Some((server, certificate)) = Server::start_with_tls(directory.path()).await else {
        return;
    };
    let (entry, path) = capture(directory.path(), 1_000);
    let error = server.store().put(&entry, &path).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    let config = StoreConfig {
        ca_certificates: Some(certificate),
        ..server.config()
    };
    Store::open(&config)
        .unwrap()
        .put(&entry, &path)
        .await
        .unwrap();
}

#[tokio::test]
async fn credentials_may_be_mounted() {
    let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let (entry, path) = capture(directory.path(), 1_000);
    let mounted = directory.path().join("secret");
    fs::create_dir_all(mounted.join("..data")).unwrap();
    let mut config = server.config();
    for key in ["access_key_id", "secret_access_key"] {
        let value = config.options.remove(key).unwrap();
        fs::write(mounted.join(key), value + "\n").unwrap();
    }
    config.credentials = Some(mounted.clone());
    Store::open(&config)
        .unwrap()
        .put(&entry, &path)
        .await
        .unwrap();

    fs::write(mounted.join("secret_acess_key"), "typo").unwrap();
    let error = Store::open(&config).unwrap_err().to_string();
    assert!(
        error.starts_with("\"secret_acess_key\" is no option"),
        "{error}"
    );
}

#[tokio::test]
async fn a_folder_is_a_store_too() {
    let directory = tempfile::tempdir().unwrap();
    let (entry, path) = capture(directory.path(), 50_000);
    let folder = directory.path().join("a/folder of mine");
    let url = format!("file://{}", folder.to_str().unwrap().replace(' ', "%20"));
    let store = Store::open(&StoreConfig {
        url: url.clone() + "/",
        ..StoreConfig::default()
    })
    .unwrap();
    let uploaded = store.put(&entry, &path).await.unwrap();
    assert_eq!(uploaded.location, format!("{url}/{}.lwcap", entry.id));
    assert_eq!(files(&folder).len(), 2);
    assert_eq!(tree(&directory.path().join("a")).first().unwrap().1, 0o700);

    let (config, key) = StoreConfig::of_location(&uploaded.location).unwrap();
    let store = Store::open(&config).unwrap();
    let (verified, bytes) = get(&store, &key, Some(&entry.info.sha256)).await.unwrap();
    assert!(verified);
    assert_eq!(bytes, fs::read(&path).unwrap());
    assert!(!get(&store, &key, None).await.unwrap().0);
    let error = get(&store, "none", None).await.unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
}

#[test]
fn what_is_no_store_is_refused() {
    let open = |url: &str, options: &[(&str, &str)]| {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let config = StoreConfig {
            url: url.into(),
            options: options.collect(),
            ..StoreConfig::default()
        };
        Store::open(&config).unwrap_err().to_string()
    };
    for url in [
        "",
        "bucket",
        "ftp://x/y",
        "https://example.org/x",
        "memory:///",
        "s3://u:p@b/x",
        "s3://b/x?y",
        "s3://",
    ] {
        let error = open(url, &[]);
        assert!(error.contains("use s3://BUCKET/PREFIX"), "{url}: {error}");
    }
    assert!(open("s3://b/x", &[("endpiont", "https://x")]).contains("\"endpiont\" is no option"));
    assert!(open("file:///x", &[("region", "x")]).contains("\"region\" is no option"));
    for (url, option) in [
        ("s3://b/x", "endpoint"),
        ("gs://b/x", "base_url"),
        ("az://b/x", "endpoint"),
    ] {
        let error = open(url, &[(option, "http://10.0.0.1")]);
        assert!(
            error.contains("is not encrypted; use https"),
            "{url}: {error}"
        );
    }
    let error = open("s3://b/x", &[("access_key_id", "x")]);
    assert!(
        error.contains("SecretAccessKey") && error.contains("check its options"),
        "{error}"
    );
}

#[test]
fn secrets_are_not_printed() {
    let options = [("access_key_id", "AKIA"), ("secret_access_key", "hunter2")];
    let config = StoreConfig {
        url: "s3://b/x".into(),
        options: options
            .map(|(key, value)| (key.into(), value.into()))
            .into(),
        ..StoreConfig::default()
    };
    let printed = format!("{config:?} {:?}", Store::open(&config).unwrap());
    assert!(
        printed.contains("secret_access_key") && !printed.contains("hunter2"),
        "{printed}"
    );
}

#[test]
fn certificates_that_are_none_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    let config = StoreConfig {
        url: "s3://b/x".into(),
        ca_certificates: Some(path.clone()),
        options: BTreeMap::new(),
        credentials: None,
    };
    for content in [
        None,
        Some(""),
        Some("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"),
    ] {
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let error = Store::open(&config).unwrap_err();
        assert!(
            matches!(error, StoreError::Certificates { .. }),
            "{content:?}: {error}"
        );
    }
}
