//! The `CustomResourceDefinition`: what the derive makes of the types, mended where Kubernetes wants it otherwise.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::MfaServer;

/// The definition to install. `MfaServer::crd()` is the derive's raw one: do not install that.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let mut crd = MfaServer::crd();
    for version in &mut crd.spec.versions {
        if let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            mend(root);
            if let Some(status) = property(root, "status") {
                // Nobody takes a resource for current that the operator has not looked at.
                status.default = Some(JSON(json!({ "observedGeneration": -1 })));
                if let Some(conditions) = property(status, "conditions") {
                    limit_conditions(conditions);
                }
            }
        }
    }
    crd
}

/// The definition as `crds/mfaservers.yaml` has it, which `make generate` writes from [`crd`].
#[must_use]
pub const fn crd_yaml() -> &'static str {
    include_str!("../../crds/mfaservers.yaml")
}

/// No `nullable`: with it nulls would be stored, and `has()` would be true for them. No line breaks of the source in
/// descriptions, and in them what `kubectl explain` does not show by itself.
fn mend(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    let told = told(schema);
    if let Some(description) = &mut schema.description {
        *description = reflow(&format!("{description}{told}"));
    }
    for child in schema.properties.iter_mut().flat_map(BTreeMap::values_mut) {
        mend(child);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        mend(items);
    }
}

/// How many values of a choice `kubectl explain` shows.
const SHOWN_CHOICES: usize = 4;

/// The sentences that `kubectl explain` needs in a description: all choices, and the default.
fn told(schema: &JSONSchemaProps) -> String {
    let text = |JSON(value): &JSON| format!("`{}`", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let mut told = String::new();
    if let Some(choices) = schema.enum_.as_ref().filter(|choices| choices.len() > SHOWN_CHOICES) {
        told = format!(" One of {}.", choices.iter().map(text).collect::<Vec<_>>().join(", "));
    }
    if let Some(default) = schema.default.as_ref().filter(|JSON(default)| !default.is_object()) {
        told = format!("{told} The default is {}.", text(default));
    }
    told
}

/// One line a paragraph.
fn reflow(text: &str) -> String {
    text.split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// The limits that Kubernetes' own resources put on a condition, which k8s-openapi's type does not carry.
fn limit_conditions(conditions: &mut JSONSchemaProps) {
    let Some(JSONSchemaPropsOrArray::Schema(condition)) = &mut conditions.items else { return };
    for (name, most) in [("type", 316), ("status", 7), ("reason", 1024), ("message", 32768)] {
        if let Some(text) = property(condition, name) {
            text.max_length = Some(most);
        }
    }
    if let Some(status) = property(condition, "status") {
        status.enum_ = Some(["True", "False", "Unknown"].map(|value| JSON(json!(value))).to_vec());
    }
}

fn property<'a>(schema: &'a mut JSONSchemaProps, name: &str) -> Option<&'a mut JSONSchemaProps> {
    schema.properties.as_mut()?.get_mut(name)
}
