//! Which store is used, and its credentials.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, Certificate, ClientConfigKey, ClientOptions, ObjectStore, ObjectStoreScheme,
    RetryConfig,
};
use reqwest::Url;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

use super::{Store, StoreError};
use crate::files;

/// A store, and how to access it.
///
/// Credentials need not be given here. What the provider puts into a pod's environment is used (`AWS_…`, `AZURE_…`,
/// `GOOGLE_…`, web identity, workload identity, the machine's metadata service), and a Secret may be mounted.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StoreConfig {
    /// `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX` or `file:///FOLDER`. Clusters that share a
    /// bucket each need their own prefix. A folder that does not exist is made, closed to others; files in it have the
    /// permissions that the process's umask allows.
    pub url: String,
    /// Options of the `object_store` crate, such as `region`, `endpoint` or `virtual_hosted_style_request`. Plain HTTP
    /// needs `allow_http: "true"`.
    pub options: BTreeMap<String, String>,
    /// A directory whose files are options, too (`access_key_id`, `secret_access_key`); a mounted Secret is such a
    /// directory. It is read when the store is opened.
    pub credentials: Option<PathBuf>,
    /// A file of certificates (PEM) to trust in addition to those of the system.
    pub ca_certificates: Option<PathBuf>,
}

/// Shows which options there are, but not their values: some are secret.
impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url,
            options,
            credentials,
            ca_certificates,
        } = self;
        f.debug_struct("StoreConfig")
            .field("url", url)
            .field("options", &options.keys())
            .field("credentials", credentials)
            .field("ca_certificates", ca_certificates)
            .finish()
    }
}

impl StoreConfig {
    /// The store and the key of a capture, from its [`location`](crate::Uploaded::location), with the credentials from
    /// the environment; `None` if the text is not a location.
    #[must_use]
    pub fn of_location(location: &str) -> Option<(Self, String)> {
        let (url, key) = location.rsplit_once('/')?;
        let url = url.to_owned();
        (!key.is_empty()).then(|| {
            (
                Self {
                    url,
                    ..Self::default()
                },
                key.to_owned(),
            )
        })
    }

    /// All options: first those of the environment, then the mounted ones, then those of the configuration.
    fn options(&self, variables: &str) -> Result<Vec<Setting>, StoreError> {
        let environment = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(key, _)| key.starts_with(variables))
            .map(|(key, value)| Setting {
                key: key.to_ascii_lowercase(),
                value,
                asked: false,
            });
        let mut options: Vec<_> = environment.collect();
        let mounted = self
            .credentials
            .as_deref()
            .map_or(Ok(Vec::new()), mounted)?;
        let written = self
            .options
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()));
        options.extend(mounted.into_iter().chain(written).map(|(key, value)| {
            let key = key.to_ascii_lowercase();
            Setting {
                key,
                value,
                asked: true,
            }
        }));
        Ok(options)
    }

    fn client(&self) -> Result<ClientOptions, StoreError> {
        let mut client = ClientOptions::new()
            .with_connect_timeout(Duration::from_secs(5))
            .with_timeout(Duration::from_secs(120));
        if let Some(path) = &self.ca_certificates {
            let unusable = |error: String| StoreError::Certificates {
                path: path.clone(),
                error,
            };
            let pem = fs::read(path).map_err(|error| unusable(error.to_string()))?;
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
                let trusted = Certificate::from_der(&certificate);
                let trusted = trusted.map_err(|error| unusable(error.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|error| unusable(error.to_string()))?;
                client = client.with_root_certificate(trusted);
            }
            if roots.is_empty() {
                return Err(unusable("it holds no PEM certificate".into()));
            }
        }
        Ok(client)
    }
}

struct Setting {
    key: String,
    value: String,
    /// Whether the option was configured. The environment also has variables for other programs.
    asked: bool,
}

/// The files of a directory, by name. Hidden files are left out: Kubernetes has some of its own there.
fn mounted(directory: &Path) -> Result<Vec<(String, String)>, StoreError> {
    const LARGEST: u64 = 64 * 1024;
    let read = || -> io::Result<Vec<_>> {
        let mut options = Vec::new();
        for child in fs::read_dir(directory)? {
            let path = child?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if !name.starts_with('.') && path.is_file() && fs::metadata(&path)?.len() <= LARGEST {
                options.push((
                    name.to_owned(),
                    fs::read_to_string(&path)?.trim().to_owned(),
                ));
            }
        }
        Ok(options)
    };
    read().map_err(StoreError::file("reading the credentials in", directory))
}

/// The retries of one request. A whole upload is retried by the [`Uploader`](crate::Uploader).
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 2,
        retry_timeout: Duration::from_secs(30),
    }
}

/// Opens a store with one of the builders, which have the same methods but no common trait.
macro_rules! build {
    ($builder:ty, $key:ident, $endpoints:expr, $variables:literal, $config:expr) => {{
        let config: &StoreConfig = $config;
        let mut builder = <$builder>::new()
            .with_url(&config.url)
            .with_client_options(config.client()?)
            .with_retry(retries());
        for Setting { key, value, asked } in config.options($variables)? {
            match key.parse::<$key>() {
                Ok(known) => builder = builder.with_config(known, value),
                Err(_) if asked => return Err(StoreError::Option { key }),
                Err(_) => {}
            }
        }
        let http = builder.get_config_value(&$key::Client(ClientConfigKey::AllowHttp));
        let endpoints: &[$key] = $endpoints;
        if !http.is_some_and(|allowed| allowed == "true" || allowed == "1")
            && let Some(endpoint) = endpoints
                .iter()
                .filter_map(|key| builder.get_config_value(key))
                .find(|endpoint| endpoint.starts_with("http://"))
        {
            return Err(StoreError::PlainHttp { endpoint });
        }
        let store = builder
            .build()
            .map_err(|error| StoreError::setup(&config.url, &error))?;
        Box::new(store) as Box<dyn ObjectStore>
    }};
}

impl Store {
    /// Opens the store. Nothing is sent: whether it answers shows when it is used.
    ///
    /// This installs ring as the process's TLS provider if there is none.
    ///
    /// # Errors
    /// If the URL, an option or a certificate cannot be used.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        // An error means that there is a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let unusable = |reason: String| StoreError::Url {
            url: config.url.clone(),
            reason,
        };
        let url = Url::parse(&config.url).map_err(|error| unusable(error.to_string()))?;
        if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(unusable(
                "it may hold neither a password, nor a query, nor a fragment".into(),
            ));
        }
        let (scheme, path) = ObjectStoreScheme::parse(&url)
            .map_err(|_| unusable("it names no kind of store that is known".into()))?;
        let (objects, prefix) = match scheme {
            ObjectStoreScheme::AmazonS3 => {
                let endpoints = &[AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
                (
                    build!(
                        AmazonS3Builder,
                        AmazonS3ConfigKey,
                        endpoints,
                        "AWS_",
                        config
                    ),
                    path,
                )
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                let endpoints = &[GoogleConfigKey::BaseUrl];
                (
                    build!(
                        GoogleCloudStorageBuilder,
                        GoogleConfigKey,
                        endpoints,
                        "GOOGLE_",
                        config
                    ),
                    path,
                )
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let endpoints = &[AzureConfigKey::Endpoint];
                (
                    build!(
                        MicrosoftAzureBuilder,
                        AzureConfigKey,
                        endpoints,
                        "AZURE_",
                        config
                    ),
                    path,
                )
            }
            ObjectStoreScheme::Local => {
                if let Some(key) = config.options.keys().next() {
                    return Err(StoreError::Option { key: key.clone() });
                }
                let folder = url
                    .to_file_path()
                    .map_err(|()| unusable("it names no folder".into()))?;
                files::create_private_unless_there(&folder)
                    .map_err(StoreError::file("creating", &folder))?;
                let store = LocalFileSystem::new_with_prefix(&folder);
                let store = store.map_err(|error| StoreError::setup(&config.url, &error))?;
                (
                    Box::new(store.with_fsync(true)) as Box<dyn ObjectStore>,
                    Key::default(),
                )
            }
            _ => return Err(unusable("it names no kind of store that is known".into())),
        };
        Ok(Self {
            objects,
            prefix,
            url: config.url.trim_end_matches('/').to_owned(),
            metadata: scheme != ObjectStoreScheme::Local,
        })
    }
}
