//! What the definition accepts and refuses, and with which words: one table for the rules' own test and for the real API
//! server.

use serde_json::{Value, json};

/// Where a case starts from: a valid resource of each vendor, and one without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Plain,
    Okta,
    Duo,
    Ping,
    Rsa,
}

impl Base {
    pub(crate) const ALL: [Self; 5] = [Self::Plain, Self::Okta, Self::Duo, Self::Ping, Self::Rsa];

    /// The member of `mfaVendorType`.
    pub(crate) fn vendor(self) -> Value {
        let secret = |key: &str| json!({ "secretKeyRef": { "name": "vendor", "key": key } });
        match self {
            Self::Plain => Value::Null,
            Self::Okta => json!({ "oktaAdaptiveV1": {
                "oktaApiHost": "corp.okta.example.com", "oktaOrg": "corp", "oktaToken": secret("token"),
            }}),
            Self::Duo => json!({ "duoSecurityV2": {
                "duoApiHost": "api-1.duo.example.com", "duoIntegrationKey": "DI00000000EXAMPLE000",
                "duoSecretKey": secret("key"),
            }}),
            Self::Ping => json!({ "pingIdentityV1": {
                "pingOrg": "corp", "pingToken": secret("token"), "pingUseBase64Key": secret("key"),
            }}),
            Self::Rsa => json!({ "rsaSecuridAccessV1": {} }),
        }
    }

    /// A whole resource.
    pub(crate) fn resource(self) -> Value {
        let mut resource = json!({
            "apiVersion": "sse.mfa-operator.io/v1alpha1",
            "kind": "MfaServer",
            "metadata": { "name": "corp" },
            "spec": { "folder": "Mobile Users", "mfaCertProfile": "corp-ca" },
        });
        if self != Self::Plain {
            resource["spec"]["mfaVendorType"] = self.vendor();
        }
        resource
    }
}

/// A field set to a value, by its path in the resource. `null` removes it.
pub(crate) type Edit = (&'static str, Value);

/// The resource with those fields set.
pub(crate) fn with(mut resource: Value, edits: &[Edit]) -> Value {
    for (path, value) in edits {
        let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
        let parent = parents.split('.').filter(|name| !name.is_empty()).fold(&mut resource, |at, name| &mut at[name]);
        match value {
            Value::Null => drop(parent.as_object_mut().unwrap().remove(last)),
            value => parent[last] = value.clone(),
        }
    }
    resource
}

/// A rule about one value: one that it accepts, one that it refuses, and the words.
pub(crate) struct Field {
    pub(crate) base: Base,
    pub(crate) path: &'static str,
    pub(crate) accepted: Value,
    pub(crate) refused: Value,
    pub(crate) message: &'static str,
}

/// Every rule about one value.
#[allow(clippy::too_many_lines, reason = "a table")]
pub(crate) fn fields() -> Vec<Field> {
    use Base::{Duo, Okta, Ping, Plain, Rsa};
    const NAME: &str = "may contain only letters, digits, spaces, periods, hyphens and underscores";
    const HOST: &str = "must be a host name or host:port, for example mfa.example.com: leave out https:// and the path";
    const PATH: &str = "must begin with a slash";
    const SEEN: &str = "must not begin or end with a space and must not contain line breaks or control characters";
    const SECRET: &str = "must be the name of a Secret";
    const KEY: &str = "must be a key of the Secret's data";
    const EMPTY: &str = "must not be empty";

    let mut rows = vec![
        (Plain, "spec.name", json!("x"), json!(""), EMPTY),
        (Plain, "spec.name", json!("Corp MFA_1.0-a"), json!("corp/mfa"), NAME),
        (Plain, "spec.name", json!("_corp"), json!("-corp"), NAME),
        (Plain, "spec.name", json!("corp-"), json!("corp "), NAME),
        (Plain, "spec.mfaCertProfile", json!("x"), json!(""), EMPTY),
        (Plain, "spec.mfaCertProfile", json!("Corp CA"), json!("corp,ca"), NAME),
        (Plain, "spec.credentialsSecretRef", json!({ "name": "a" }), json!({ "name": "" }), EMPTY),
        (Plain, "spec.credentialsSecretRef", json!({ "name": "a.b-c" }), json!({ "name": "A_b" }), SECRET),
        (Okta, "oktaApiHost", json!("okta.local"), json!("okta.loca"), "must be at least 10 characters long"),
        (Okta, "oktaApiHost", json!("okta.example.com:8443"), json!("https://okta.example.com"), HOST),
        (Okta, "oktaApiHost", json!("192.0.2.1:8443"), json!("okta.example.com/api"), HOST),
        (Okta, "oktaApiHost", json!("okta-1.example.com"), json!("okta-.example.com"), HOST),
        (Okta, "oktaApiHost", json!("okta.example.com:65535"), json!("okta.example.com:0"), HOST),
        (Okta, "oktaBaseuri", json!("/a"), json!("/"), "must be at least 2 characters long"),
        (Okta, "oktaBaseuri", json!("/api/v1"), json!("api/v1"), PATH),
        (Okta, "oktaBaseuri", json!("/a.b_c~d-e/"), json!("/api?x=1"), PATH),
        (Okta, "oktaOrg", json!("x"), json!(""), EMPTY),
        (Okta, "oktaOrg", json!("Société, Inc."), json!("corp\nx"), SEEN),
        (Okta, "oktaOrg", json!("a b"), json!(" corp"), SEEN),
        (Duo, "duoApiHost", json!("duo1.example.com"), json!("duo.example.com"), "must be at least 16 characters long"),
        (Duo, "duoApiHost", json!("api-1.duo.example.com"), json!("api_1.duo.example.com"), HOST),
        (Duo, "duoBaseuri", json!("/a"), json!("/"), "must be at least 2 characters long"),
        (Duo, "duoBaseuri", json!("/auth/v2"), json!("auth/v2"), PATH),
        (Duo, "duoIntegrationKey", json!("DI34567890123456"), json!("DI3456789012345"), "at least 16 characters long"),
        (Duo, "duoIntegrationKey", json!("DI00000000EXAMPLE000"), json!("DI00000000EXAMPLE000\n"), SEEN),
        (Ping, "pingApiHost", json!("ping.example.com"), json!("pid.example.com"), "at least 16 characters long"),
        (Ping, "pingApiHost", json!("idpxny3lm.pingidentity.com"), json!("http://pingid.example.com"), HOST),
        (Ping, "pingBaseuri", json!("/a"), json!("/"), "must be at least 2 characters long"),
        (Ping, "pingBaseuri", json!("/pingid/rest/4"), json!("pingid"), PATH),
        (Ping, "pingOrg", json!("x"), json!(""), EMPTY),
        (Ping, "pingOrg", json!("corp"), json!("corp "), SEEN),
        (Ping, "pingOrgAlias", json!("12345678"), json!("1234567"), "must be at least 8 characters long"),
        (Ping, "pingOrgAlias", json!("corp-alias"), json!("corp\talias"), SEEN),
        (Rsa, "rsaAccessid", json!("12345678"), json!("1234567"), "must be at least 8 characters long"),
        (Rsa, "rsaAccessid", json!("access id"), json!(" access id"), SEEN),
        (Rsa, "rsaApiHost", json!("rsa2.local"), json!("rsa.local"), "must be at least 10 characters long"),
        (Rsa, "rsaApiHost", json!("rsa.example.com"), json!("rsa example.com"), HOST),
        (Rsa, "rsaAssurancepolicyid", json!("low"), json!("lo"), "must be at least 3 characters long"),
        (Rsa, "rsaAssurancepolicyid", json!("low policy"), json!("low policy "), SEEN),
        (Rsa, "rsaBaseuri", json!("/a"), json!("/"), "must be at least 2 characters long"),
        (Rsa, "rsaBaseuri", json!("/mfa/v1_1"), json!("mfa/v1_1"), PATH),
    ];
    for (base, timeout) in [(Okta, "oktaTimeout"), (Duo, "duoTimeout"), (Ping, "pingTimeout"), (Rsa, "rsaTimeout")] {
        rows.push((base, timeout, json!(5), json!(4), "must be 5 to 600 seconds"));
        rows.push((base, timeout, json!(600), json!(601), "must be 5 to 600 seconds"));
    }
    for (base, secret) in [
        (Okta, "oktaToken"),
        (Duo, "duoSecretKey"),
        (Ping, "pingToken"),
        (Ping, "pingUseBase64Key"),
        (Rsa, "rsaAccesskey"),
    ] {
        let reference = |name: &str, key: &str| json!({ "secretKeyRef": { "name": name, "key": key } });
        rows.push((base, secret, reference("a", "b"), reference("", "b"), EMPTY));
        rows.push((base, secret, reference("a.b-c", "b"), reference("Vendor", "b"), SECRET));
        rows.push((base, secret, reference("a", "b"), reference("a", ""), EMPTY));
        rows.push((base, secret, reference("a", "B_c.d-e"), reference("a", "b c"), KEY));
    }
    let fields = rows.into_iter().map(|(base, path, accepted, refused, message)| {
        let member = base.vendor().as_object().and_then(|vendor| vendor.keys().next().cloned());
        let path = match member {
            Some(member) => String::leak(format!("spec.mfaVendorType.{member}.{path}")),
            None => path,
        };
        Field { base, path, accepted, refused, message }
    });
    fields.collect()
}

/// A rule about the whole, or about a change.
pub(crate) struct Whole {
    pub(crate) says: &'static str,
    pub(crate) before: Option<Value>,
    pub(crate) after: Value,
    /// The field that is named and what is said, or `None` where it is accepted.
    pub(crate) refusal: Option<(&'static str, &'static str)>,
}

/// Every rule about more than one value.
pub(crate) fn wholes() -> Vec<Whole> {
    use Base::{Duo, Okta, Plain};
    const ONE: (&str, &str) = (
        "spec.mfaVendorType",
        "mfaVendorType must have exactly one of oktaAdaptiveV1, duoSecurityV2, pingIdentityV1 and rsaSecuridAccessV1: keep \
         one vendor, or leave mfaVendorType out",
    );
    const NAME: (&str, &str) = ("spec.name", "name cannot be changed, and is metadata.name where it is left out");
    const LONG: (&str, &str) =
        ("spec.name", "name must be set, because metadata.name is longer than the 63 characters");
    const VENDOR: (&str, &str) =
        ("spec.mfaVendorType", "mfaVendorType cannot be removed once it is set: keep it, choose another vendor, or");
    const FOLDER: (&str, &str) = ("spec.folder", "folder cannot be changed: delete this MfaServer and create it anew");
    const POSITION: (&str, &str) = ("spec.position", "position cannot be changed: delete this MfaServer");

    let create = |says, after, refusal| Whole { says, before: None, after, refusal };
    let change = |says, before: Base, edits: &[Edit], refusal| Whole {
        says,
        before: Some(before.resource()),
        after: with(before.resource(), edits),
        refusal,
    };
    let okta = Okta.vendor()["oktaAdaptiveV1"].clone();
    let named = with(Plain.resource(), &[("spec.name", json!("Corp"))]);
    let long_name = || "m".repeat(64);
    vec![
        create("no vendor", Plain.resource(), None),
        create("an empty vendor", with(Plain.resource(), &[("spec.mfaVendorType", json!({}))]), Some(ONE)),
        create("two vendors", with(Duo.resource(), &[("spec.mfaVendorType.oktaAdaptiveV1", okta)]), Some(ONE)),
        create(
            "a metadata.name of 63 characters",
            with(Plain.resource(), &[("metadata.name", json!("m".repeat(63)))]),
            None,
        ),
        create(
            "a metadata.name of 64 characters",
            with(Plain.resource(), &[("metadata.name", json!(long_name()))]),
            Some(LONG),
        ),
        create(
            "a metadata.name of 64 characters beside a name",
            with(named.clone(), &[("metadata.name", json!(long_name()))]),
            None,
        ),
        change("nothing", Okta, &[], None),
        change("a vendor added", Plain, &[("spec.mfaVendorType", Okta.vendor())], None),
        change("another vendor", Okta, &[("spec.mfaVendorType", Duo.vendor())], None),
        change("the vendor removed", Okta, &[("spec.mfaVendorType", Value::Null)], Some(VENDOR)),
        change("another folder", Plain, &[("spec.folder", json!("Shared"))], Some(FOLDER)),
        change("another position", Plain, &[("spec.position", json!("post"))], Some(POSITION)),
        change("the default position written out", Plain, &[("spec.position", json!("pre"))], None),
        change("the default name written out", Plain, &[("spec.name", json!("corp"))], None),
        change("another name than the default", Plain, &[("spec.name", json!("Corp"))], Some(NAME)),
        Whole {
            says: "another name",
            before: Some(named.clone()),
            after: with(named.clone(), &[("spec.name", json!("Other"))]),
            refusal: Some(NAME),
        },
        Whole {
            says: "the name removed",
            before: Some(named.clone()),
            after: with(named, &[("spec.name", Value::Null)]),
            refusal: Some(NAME),
        },
        change(
            "everything else changed",
            Plain,
            &[
                ("spec.mfaCertProfile", json!("other-ca")),
                ("spec.credentialsSecretRef", json!({ "name": "other" })),
                ("spec.deletionPolicy", json!("Retain")),
                ("spec.adoptionPolicy", json!("Always")),
                ("spec.driftPolicy", json!("Report")),
                ("spec.suspend", json!(true)),
            ],
            None,
        ),
    ]
}
