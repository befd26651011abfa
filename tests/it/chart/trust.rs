//! `caBundle`: the environment that the chart sets makes the real operator trust a CA of one's own.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{of_kind, render};
use crate::{
    harness::LIMIT,
    operator::{Stage, okta},
};

/// A token endpoint that refuses everybody, with a certificate of a CA that nobody knows. Sends a line for each
/// connection: what was asked for, or why TLS did not come about.
fn token_endpoint() -> (String, String, mpsc::UnboundedReceiver<String>) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "a CA of one's own");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/token", listener.local_addr().unwrap().port());
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream.unwrap());
            let mut request = [0; 1024];
            let said = match stream.read(&mut request) {
                Ok(length) => String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned(),
                Err(error) => format!("no TLS: {error}"),
            };
            let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
            if sender.send(said).is_err() {
                return;
            }
        }
    });
    (url, authority.pem(), receiver)
}

/// A folder as kubelet makes it of a `ConfigMap`: links to links.
fn mounted(name: &str, pem: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("..2026")).unwrap();
    fs::write(folder.join("..2026/ca.crt"), pem).unwrap();
    symlink("..2026", folder.join("..data")).unwrap();
    symlink("..data/ca.crt", folder.join("ca.crt")).unwrap();
    folder
}

/// The variables of a case, with this folder in the place of the pod's.
async fn environment(case: &str, folder: &Path) -> Vec<(String, String)> {
    let deployment = of_kind(&render(case, "mfa-system", &[]).await, "Deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let mount = container["volumeMounts"][0]["mountPath"].as_str().unwrap();
    let variables = container["env"].as_array().unwrap().iter();
    let variables = variables.map(|variable: &Value| {
        let (name, value) = (variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
        (name.to_owned(), value.replace(mount, folder.to_str().unwrap()))
    });
    variables.filter(|(name, _)| name.starts_with("SSL_CERT_")).collect()
}

#[tokio::test]
async fn the_operator_trusts_the_bundle_and_only_with_it() {
    let stage = Stage::new().await;
    stage.secret("account", &[("client_id", "a"), ("client_secret", "b"), ("tsg_id", "1")]).await;
    let (url, pem, mut said) = token_endpoint();
    let folder = mounted(&stage.namespace.name, &pem);
    let mut server = okta("corp");
    server["spec"]["credentialsSecretRef"] = serde_json::json!({ "name": "account" });
    stage.apply(&server).await;

    for case in [None, Some("closed-network"), Some("closed-network-secrets")] {
        let mut launch = stage.operator().flag("--auth-url", &url);
        if let Some(case) = case {
            let variables = environment(case, &folder).await;
            assert_eq!(variables.len(), 1, "{case}: {variables:?}");
            for (name, value) in variables {
                launch = launch.env(&name, &value);
            }
        }
        let operator = launch.start();
        let first = tokio::time::timeout(LIMIT, said.recv()).await;
        let first = first.unwrap_or_else(|_| panic!("{case:?}: no connection:\n{}", operator.log().end())).unwrap();
        match case {
            None => assert!(first.starts_with("no TLS:"), "without a bundle: {first}"),
            Some(case) => assert_eq!(first, "POST /token HTTP/1.1", "{case}"),
        }
        operator.kill().await;
        while said.try_recv().is_ok() {}
    }
    fs::remove_dir_all(folder).unwrap();
}
