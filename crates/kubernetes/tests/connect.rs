//! Which cluster the client connects to, and that nothing waits for it for long.

use std::path::{Path, PathBuf};

use kubernetes::{
    Error, Who,
    connect::{Options, connect},
    fetch,
};

fn options(file: &str, context: Option<&str>) -> Options {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    Options {
        kubeconfig: Some(folder.join(file)),
        context: context.map(str::to_owned),
    }
}

#[tokio::test]
async fn the_kubeconfig_s_context_says_server_and_namespace() {
    let current = connect(&options("kubeconfig.yaml", None), Who::Agent)
        .await
        .unwrap();
    assert_eq!(
        (current.server.as_str(), current.namespace.as_str()),
        ("https://127.0.0.1:1/", "default")
    );
    let other = connect(&options("kubeconfig.yaml", Some("second")), Who::User)
        .await
        .unwrap();
    assert_eq!(
        (other.server.as_str(), other.namespace.as_str()),
        ("http://127.0.0.1:1/", "shop")
    );

    let error = fetch::list(&other.client, None).await.unwrap_err();
    assert!(matches!(error, Error::Away(_)), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_kubeconfig_that_is_no_good_is_said_so() {
    for (file, context, says) in [
        ("nothing.yaml", None, "nothing.yaml"),
        ("kubeconfig.yaml", Some("third"), "third"),
        ("connect.rs", None, "no way to reach a cluster"),
    ] {
        let outcome = connect(&options(file, context), Who::User).await;
        let error = outcome.map(|cluster| cluster.server).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    }
}
