//! The keys of the node's control plane: who its parts are, and how they know the API server.

use std::{io, path::Path, time::Duration};

use rcgen::{CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, KeyPair};

use crate::control_plane::certificates::{Pair, authority, kubeconfig, write_private};

pub(super) const SERVING_CERTIFICATE: &str = "serving.crt";
pub(super) const SERVING_KEY: &str = "serving.key";
pub(super) const SERVING_CA: &str = "serving-ca.crt";
pub(super) const CLIENT_CA: &str = "client-ca.crt";
pub(super) const KUBELET_CLIENT_CERTIFICATE: &str = "kubelet-client.crt";
pub(super) const KUBELET_CLIENT_KEY: &str = "kubelet-client.key";
pub(super) const SERVICE_ACCOUNT_KEY: &str = "service-account.key";
pub(super) const SERVICE_ACCOUNT_PUBLIC_KEY: &str = "service-account.pub";

/// Whom the API server knows: the name of the kubeconfig, the user, the group.
const USERS: [(&str, &str, Option<&str>); 5] = [
    ("admin", "admin", Some("system:masters")),
    ("kube-controller-manager", "system:kube-controller-manager", None),
    ("kube-scheduler", "system:kube-scheduler", None),
    ("kube-proxy", "system:kube-proxy", None),
    ("kubelet", "system:node:e2e", Some("system:nodes")),
];

/// A client that is the administrator.
pub(super) fn write(folder: &Path, url: &str, names: &[&str]) -> io::Result<reqwest::Client> {
    issue(folder, url, names).map_err(io::Error::other)
}

fn issue(
    folder: &Path,
    url: &str,
    names: &[&str],
) -> Result<reqwest::Client, Box<dyn std::error::Error + Send + Sync>> {
    let serving_ca = authority("mfa-e2e serving CA")?;
    let client_ca = authority("mfa-e2e client CA")?;

    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut serving = CertificateParams::new(names)?;
    serving.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    serving.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let serving = Pair::issue(&serving, &serving_ca)?;
    let kubelet_client = user("kube-apiserver", Some("system:masters"), &client_ca)?;
    let service_accounts = KeyPair::generate()?;

    for (name, content) in [
        (SERVING_CERTIFICATE, &serving.certificate),
        (SERVING_KEY, &serving.key),
        (SERVING_CA, &serving_ca.pem()),
        (CLIENT_CA, &client_ca.pem()),
        (KUBELET_CLIENT_CERTIFICATE, &kubelet_client.certificate),
        (KUBELET_CLIENT_KEY, &kubelet_client.key),
        (SERVICE_ACCOUNT_KEY, &service_accounts.serialize_pem()),
        (SERVICE_ACCOUNT_PUBLIC_KEY, &service_accounts.public_key_pem()),
    ] {
        write_private(&folder.join(name), content)?;
    }
    let mut identity = String::new();
    for (name, common_name, group) in USERS {
        let pair = user(common_name, group, &client_ca)?;
        let content = kubeconfig("mfa-e2e", url, &serving_ca.pem(), &pair);
        write_private(&folder.join(format!("{name}.kubeconfig")), &format!("{content:#}\n"))?;
        if name == "admin" {
            identity = format!("{}{}", pair.certificate, pair.key);
        }
    }

    // reqwest is built without a TLS provider of its own. Refused when there is one already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(serving_ca.pem().as_bytes())?])
        .identity(reqwest::Identity::from_pem(identity.as_bytes())?)
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()?)
}

fn user(name: &str, group: Option<&str>, authority: &CertifiedIssuer<'_, KeyPair>) -> Result<Pair, rcgen::Error> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        parameters.distinguished_name.push(DnType::OrganizationName, group);
    }
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Pair::issue(&parameters, authority)
}
