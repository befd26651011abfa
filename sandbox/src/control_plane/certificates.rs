//! The keys of one control plane: a CA for serving and another for clients, so that neither can stand in for the other.
//!
//! Output: files for the API server, a kubeconfig for the administrator, and a client that is the administrator.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

pub(super) const SERVING_CERTIFICATE: &str = "serving.crt";
pub(super) const SERVING_KEY: &str = "serving.key";
pub(super) const CLIENT_CA: &str = "client-ca.crt";
pub(super) const SERVICE_ACCOUNT_KEY: &str = "service-account.key";
pub(super) const SERVICE_ACCOUNT_PUBLIC_KEY: &str = "service-account.pub";

/// Everything in PEM; the CAs' own keys are forgotten once these are issued.
pub(super) struct Certificates {
    serving_ca: String,
    client_ca: String,
    serving: Pair,
    admin: Pair,
    service_accounts: KeyPair,
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Certificates {
    pub(super) fn issue() -> Result<Self, rcgen::Error> {
        let serving_ca = authority("mfa-sandbox serving CA")?;
        let client_ca = authority("mfa-sandbox client CA")?;

        let mut serving = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        serving.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        serving.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];

        let mut admin = CertificateParams::default();
        admin.distinguished_name.push(DnType::CommonName, "admin");
        admin.distinguished_name.push(DnType::OrganizationName, "system:masters");
        admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];

        Ok(Self {
            serving: Pair::issue(&serving, &serving_ca)?,
            admin: Pair::issue(&admin, &client_ca)?,
            serving_ca: serving_ca.pem(),
            client_ca: client_ca.pem(),
            service_accounts: KeyPair::generate()?,
        })
    }

    /// Writes what the API server reads.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        for (name, content) in [
            (SERVING_CERTIFICATE, &self.serving.certificate),
            (SERVING_KEY, &self.serving.key),
            (CLIENT_CA, &self.client_ca),
            (SERVICE_ACCOUNT_KEY, &self.service_accounts.serialize_pem()),
            (SERVICE_ACCOUNT_PUBLIC_KEY, &self.service_accounts.public_key_pem()),
        ] {
            write_private(&folder.join(name), content)?;
        }
        Ok(())
    }

    /// Writes the administrator's kubeconfig, as JSON, which is YAML.
    pub(super) fn write_kubeconfig(&self, path: &Path, url: &str) -> io::Result<()> {
        let kubeconfig = kubeconfig("mfa-sandbox", url, &self.serving_ca, &self.admin);
        write_private(path, &format!("{kubeconfig:#}\n"))
    }

    /// A client that trusts the API server, only it, and is the administrator.
    pub(super) fn client(&self) -> Result<reqwest::Client, reqwest::Error> {
        // reqwest is built without a TLS provider of its own. Refused when there is one already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let identity = format!("{}{}", self.admin.certificate, self.admin.key);
        reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(self.serving_ca.as_bytes())?])
            .identity(reqwest::Identity::from_pem(identity.as_bytes())?)
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
    }
}

impl Pair {
    pub(crate) fn issue(
        parameters: &CertificateParams,
        authority: &CertifiedIssuer<'_, KeyPair>,
    ) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, authority)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// A kubeconfig for one user of one cluster, both of that name.
pub(crate) fn kubeconfig(name: &str, url: &str, authority: &str, user: &Pair) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {
            "server": url,
            "certificate-authority-data": STANDARD.encode(authority),
        }}],
        "users": [{"name": name, "user": {
            "client-certificate-data": STANDARD.encode(&user.certificate),
            "client-key-data": STANDARD.encode(&user.key),
        }}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
    })
}

/// A CA whose key is forgotten with it.
pub(crate) fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)
}

/// A new file that only its owner can read.
pub(crate) fn write_private(path: &Path, content: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content.as_bytes())
}
