//! The rules that the API server holds, in CEL, each with the sentence that a user sees.
//!
//! Lengths and ranges that the schema itself could express stand here too, because its messages ("should match '^…$'")
//! name no way out. Only greatest lengths are left to it: the API server needs them to see that a rule is cheap. A rule
//! about a value's shape lets the empty string pass, so that one mistake gives one message: that of [`min_length`].

use kube::core::{Reason, Rule};

/// At least `least` characters.
pub(super) fn min_length(field: &str, least: usize) -> Rule {
    let message = match least {
        1 => format!("{field} must not be empty"),
        _ => format!("{field} must be at least {least} characters long"),
    };
    Rule::new(format!("self.size() >= {least}")).message(&*message)
}

/// A timeout.
pub(super) fn seconds(field: &str) -> Rule {
    Rule::new("self >= 5 && self <= 600").message(&*format!("{field} must be 5 to 600 seconds"))
}

/// A name in the tenant.
pub(super) fn object_name(field: &str) -> Rule {
    shape("^[A-Za-z0-9_]([A-Za-z0-9 ._-]*[A-Za-z0-9._-])?$").message(&*format!(
        "{field} must begin with a letter, digit or underscore, must not end with a space, and may contain only \
         letters, digits, spaces, periods, hyphens and underscores"
    ))
}

/// A host name, with or without a port.
pub(super) fn host(field: &str) -> Rule {
    shape("^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*(:[1-9][0-9]{0,4})?$")
        .message(&*format!(
            "{field} must be a host name or host:port, for example mfa.example.com: leave out https:// and the path"
        ))
}

/// The path that a vendor's API stands under.
pub(super) fn base_uri(field: &str) -> Rule {
    shape("^/[A-Za-z0-9._~/-]*$").message(&*format!(
        "{field} must begin with a slash and may contain only letters, digits, slashes, periods, hyphens, underscores \
         and tildes, for example /api/v1"
    ))
}

/// Anything that can be seen.
pub(super) fn printable(field: &str) -> Rule {
    shape(r"^[^\\p{C}\\p{Z}]([^\\p{C}]*[^\\p{C}\\p{Z}])?$").message(&*format!(
        "{field} must not begin or end with a space and must not contain line breaks or control characters"
    ))
}

/// The name of a Secret.
pub(super) fn secret_name(field: &str) -> Rule {
    shape("^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$").message(&*format!(
        "{field} must be the name of a Secret: lower-case letters, digits, hyphens and periods, beginning and ending \
         with a letter or digit"
    ))
}

/// A key in a Secret.
pub(super) fn secret_key(field: &str) -> Rule {
    shape("^[A-Za-z0-9._-]+$").message(&*format!(
        "{field} must be a key of the Secret's data: letters, digits, periods, hyphens and underscores"
    ))
}

/// A field that has to stay as it was created.
pub(super) fn immutable(field: &str) -> Rule {
    Rule::new("self == oldSelf")
        .message(&*format!(
            "{field} cannot be changed: delete this MfaServer and create it anew, or create another one"
        ))
        .reason(Reason::FieldValueForbidden)
}

/// At the root: the name in the tenant, given or by default, stays as it was created.
pub(super) fn effective_name_is_immutable() -> Rule {
    Rule::new(
        "(has(self.spec.name) ? self.spec.name : self.metadata.name) == \
         (has(oldSelf.spec.name) ? oldSelf.spec.name : oldSelf.metadata.name)",
    )
    .message(
        "name cannot be changed, and is metadata.name where it is left out: another name is another MFA server, so \
         create another MfaServer and delete this one",
    )
    .reason(Reason::FieldValueForbidden)
    .field_path(".spec.name")
}

/// At the root: a resource's own name may be longer than a name in the tenant.
pub(super) fn default_name_is_short() -> Rule {
    Rule::new("has(self.spec.name) || self.metadata.name.size() <= 63")
        .message(
            "name must be set, because metadata.name is longer than the 63 characters that it may have in the tenant",
        )
        .reason(Reason::FieldValueRequired)
        .field_path(".spec.name")
}

/// On `mfaVendorType`.
pub(super) fn exactly_one_vendor() -> Rule {
    Rule::new(
        "[has(self.oktaAdaptiveV1), has(self.duoSecurityV2), has(self.pingIdentityV1), has(self.rsaSecuridAccessV1)]\
         .filter(set, set).size() == 1",
    )
    .message(
        "mfaVendorType must have exactly one of oktaAdaptiveV1, duoSecurityV2, pingIdentityV1 and rsaSecuridAccessV1: \
         keep one vendor, or leave mfaVendorType out",
    )
}

/// On the spec.
pub(super) fn vendor_is_not_removed() -> Rule {
    Rule::new("has(self.mfaVendorType) || !has(oldSelf.mfaVendorType)")
        .message(
            "mfaVendorType cannot be removed once it is set: keep it, choose another vendor, or delete this MfaServer",
        )
        .reason(Reason::FieldValueForbidden)
        .field_path(".mfaVendorType")
}

/// The empty string, or one that the regular expression matches. The expression stands between single quotes in CEL.
fn shape(expression: &str) -> Rule {
    Rule::new(format!("self == '' || self.matches('{expression}')"))
}
