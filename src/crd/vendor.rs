//! The vendors: one struct each, with the API's field names in camelCase.
//!
//! A secret is never a value here, only a reference: `Debug` of a spec is safe to log.
#![allow(clippy::doc_markdown, reason = "the doc comments are shown to users as they stand")]
#![allow(clippy::struct_field_names, reason = "the names are the API's")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// The vendor of the MFA service: exactly one member is set.
///
/// Atomic for server-side apply: where one manager applies another vendor than the manager before it, the old one goes
/// as a whole. Otherwise its fields would stay with their manager, and there would be two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::exactly_one_vendor())]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct MfaVendorType {
    /// Okta Adaptive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub okta_adaptive_v1: Option<OktaAdaptiveV1>,

    /// Duo Security.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duo_security_v2: Option<DuoSecurityV2>,

    /// Ping Identity (PingID).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping_identity_v1: Option<PingIdentityV1>,

    /// RSA SecurID Access.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rsa_securid_access_v1: Option<RsaSecuridAccessV1>,
}

/// How to reach Okta Adaptive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OktaAdaptiveV1 {
    /// Host name of the organization's Okta API, or host:port, at least 10 characters.
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::min_length("oktaApiHost", 10), validation = rules::host("oktaApiHost"))]
    pub okta_api_host: String,

    /// Path of the API on that host. It begins with a slash.
    #[serde(default = "OktaAdaptiveV1::default_baseuri")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::min_length("oktaBaseuri", 2), validation = rules::base_uri("oktaBaseuri"))]
    pub okta_baseuri: String,

    /// Name of the organization in Okta.
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::min_length("oktaOrg", 1), validation = rules::printable("oktaOrg"))]
    pub okta_org: String,

    /// How long to wait for an answer, in seconds, 5 to 600.
    #[serde(default = "default_timeout")]
    #[x_kube(validation = rules::seconds("oktaTimeout"))]
    pub okta_timeout: i32,

    /// Where to find the API token of Okta, at least 8 characters.
    pub okta_token: SecretValue,
}

impl OktaAdaptiveV1 {
    fn default_baseuri() -> String {
        "/api/v1".to_owned()
    }
}

/// How to reach Duo Security.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DuoSecurityV2 {
    /// Host name of the Duo API, or host:port, at least 16 characters.
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::min_length("duoApiHost", 16), validation = rules::host("duoApiHost"))]
    pub duo_api_host: String,

    /// Path of the API on that host. It begins with a slash.
    #[serde(default = "DuoSecurityV2::default_baseuri")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::min_length("duoBaseuri", 2), validation = rules::base_uri("duoBaseuri"))]
    pub duo_baseuri: String,

    /// Integration key of the application in Duo, at least 16 characters. It is not a secret.
    #[schemars(length(max = 255))]
    #[x_kube(
        validation = rules::min_length("duoIntegrationKey", 16),
        validation = rules::printable("duoIntegrationKey")
    )]
    pub duo_integration_key: String,

    /// Where to find the secret key of the application in Duo, at least 16 characters.
    pub duo_secret_key: SecretValue,

    /// How long to wait for an answer, in seconds, 5 to 600.
    #[serde(default = "default_timeout")]
    #[x_kube(validation = rules::seconds("duoTimeout"))]
    pub duo_timeout: i32,
}

impl DuoSecurityV2 {
    fn default_baseuri() -> String {
        "/auth/v2".to_owned()
    }
}

/// How to reach Ping Identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PingIdentityV1 {
    /// Host name of the PingID API, or host:port, at least 16 characters.
    #[serde(default = "PingIdentityV1::default_api_host")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::min_length("pingApiHost", 16), validation = rules::host("pingApiHost"))]
    pub ping_api_host: String,

    /// Path of the API on that host. It begins with a slash.
    #[serde(default = "PingIdentityV1::default_baseuri")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::min_length("pingBaseuri", 2), validation = rules::base_uri("pingBaseuri"))]
    pub ping_baseuri: String,

    /// Id of the organization in Ping Identity.
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::min_length("pingOrg", 1), validation = rules::printable("pingOrg"))]
    pub ping_org: String,

    /// Alias of the organization in Ping Identity, at least 8 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::min_length("pingOrgAlias", 8), validation = rules::printable("pingOrgAlias"))]
    pub ping_org_alias: Option<String>,

    /// How long to wait for an answer, in seconds, 5 to 600.
    #[serde(default = "default_timeout")]
    #[x_kube(validation = rules::seconds("pingTimeout"))]
    pub ping_timeout: i32,

    /// Where to find the token of Ping Identity, at least 8 characters.
    pub ping_token: SecretValue,

    /// Where to find the base64 key of Ping Identity (`use_base64_key` in its properties file), at least 8 characters.
    pub ping_use_base64_key: SecretValue,
}

impl PingIdentityV1 {
    fn default_api_host() -> String {
        "idpxny3lm.pingidentity.com".to_owned()
    }

    fn default_baseuri() -> String {
        "/pingid/rest/4".to_owned()
    }
}

/// How to reach RSA SecurID Access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RsaSecuridAccessV1 {
    /// Access id of the REST API client in RSA SecurID, at least 8 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::min_length("rsaAccessid", 8), validation = rules::printable("rsaAccessid"))]
    pub rsa_accessid: Option<String>,

    /// Where to find the access key of the REST API client in RSA SecurID, at least 8 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rsa_accesskey: Option<SecretValue>,

    /// Host name of the RSA SecurID API, or host:port, at least 10 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::min_length("rsaApiHost", 10), validation = rules::host("rsaApiHost"))]
    pub rsa_api_host: Option<String>,

    /// Id of the assurance policy (the level of trust that is asked for), at least 3 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(
        validation = rules::min_length("rsaAssurancepolicyid", 3),
        validation = rules::printable("rsaAssurancepolicyid")
    )]
    pub rsa_assurancepolicyid: Option<String>,

    /// Path of the API on that host. It begins with a slash.
    #[serde(default = "RsaSecuridAccessV1::default_baseuri")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::min_length("rsaBaseuri", 2), validation = rules::base_uri("rsaBaseuri"))]
    pub rsa_baseuri: String,

    /// How long to wait for an answer, in seconds, 5 to 600.
    #[serde(default = "default_timeout")]
    #[x_kube(validation = rules::seconds("rsaTimeout"))]
    pub rsa_timeout: i32,
}

impl RsaSecuridAccessV1 {
    fn default_baseuri() -> String {
        "/mfa/v1_1".to_owned()
    }
}

const fn default_timeout() -> i32 {
    30
}

/// A value that stands in a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretValue {
    /// The Secret, in the namespace of this resource, and the key in it whose value is taken.
    pub secret_key_ref: SecretKeyRef,
}

/// A key of a Secret of the resource's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::min_length("name", 1), validation = rules::secret_name("name"))]
    pub name: String,

    /// Key in the Secret's data.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::min_length("key", 1), validation = rules::secret_key("key"))]
    pub key: String,
}

/// A secret that a spec refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VendorSecret<'a> {
    /// The spec's name of the field, for example `oktaToken`.
    pub field: &'static str,
    /// Where its value stands.
    pub reference: &'a SecretKeyRef,
    /// The least length of the value, in characters. The API server cannot see it, so the operator has to hold it.
    pub min_length: usize,
}

impl MfaVendorType {
    /// The spec's name of the member that is set, for example `oktaAdaptiveV1`.
    #[must_use]
    pub const fn member(&self) -> Option<&'static str> {
        if self.okta_adaptive_v1.is_some() {
            Some("oktaAdaptiveV1")
        } else if self.duo_security_v2.is_some() {
            Some("duoSecurityV2")
        } else if self.ping_identity_v1.is_some() {
            Some("pingIdentityV1")
        } else if self.rsa_securid_access_v1.is_some() {
            Some("rsaSecuridAccessV1")
        } else {
            None
        }
    }

    /// The secrets of the member that is set, in the order of its fields.
    #[must_use]
    pub fn secrets(&self) -> Vec<VendorSecret<'_>> {
        let mut secrets = Vec::new();
        if let Some(okta) = &self.okta_adaptive_v1 {
            secrets.push(okta.okta_token.as_secret("oktaToken", 8));
        }
        if let Some(duo) = &self.duo_security_v2 {
            secrets.push(duo.duo_secret_key.as_secret("duoSecretKey", 16));
        }
        if let Some(ping) = &self.ping_identity_v1 {
            secrets.push(ping.ping_token.as_secret("pingToken", 8));
            secrets.push(ping.ping_use_base64_key.as_secret("pingUseBase64Key", 8));
        }
        if let Some(key) = self.rsa_securid_access_v1.as_ref().and_then(|rsa| rsa.rsa_accesskey.as_ref()) {
            secrets.push(key.as_secret("rsaAccesskey", 8));
        }
        secrets
    }
}

impl SecretValue {
    const fn as_secret(&self, field: &'static str, min_length: usize) -> VendorSecret<'_> {
        VendorSecret { field, reference: &self.secret_key_ref, min_length }
    }
}
