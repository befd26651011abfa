//! The CEL rules by themselves, without an API server.

use std::{collections::BTreeSet, sync::LazyLock};

use kube_cel::{CompiledSchema, Validator, compile_schema};
use mfa_operator::crd;
use serde_json::Value;

use super::cases::{fields, wholes, with};

/// A field's path and a rule's message.
type Broken = BTreeSet<(String, String)>;

#[test]
fn every_rule_of_a_field_accepts_and_refuses() {
    for field in fields() {
        let (accepted, refused) = (
            with(field.base.resource(), &[(field.path, field.accepted)]),
            with(field.base.resource(), &[(field.path, field.refused.clone())]),
        );
        assert_eq!(broken(&accepted, None), Broken::new(), "{}", field.path);
        let found = broken(&refused, None);
        assert_eq!(found.len(), 1, "{} = {}: {found:?}", field.path, field.refused);
        let (path, message) = found.first().unwrap();
        assert!(path.starts_with(field.path), "{path} is not {}", field.path);
        assert!(message.contains(field.message), "{path} says {message:?} instead of {:?}", field.message);
        assert!(message.starts_with(path.rsplit('.').next().unwrap()), "{message:?} names its field {path} first");
    }
}

#[test]
fn every_rule_of_the_whole_accepts_and_refuses() {
    for whole in wholes() {
        let found = broken(&whole.after, whole.before.as_ref());
        match whole.refusal {
            None => assert_eq!(found, Broken::new(), "{}", whole.says),
            Some((_, message)) => {
                assert_eq!(found.len(), 1, "{}: {found:?}", whole.says);
                assert!(found.first().unwrap().1.contains(message), "{}: {found:?}", whole.says);
            }
        }
    }
}

#[test]
fn no_rule_is_without_a_case() {
    let mut refused = Broken::new();
    for field in fields() {
        refused.extend(broken(&with(field.base.resource(), &[(field.path, field.refused)]), None));
    }
    for whole in wholes() {
        refused.extend(broken(&whole.after, whole.before.as_ref()));
    }
    let messages = |broken: &Broken| broken.iter().map(|(_, message)| message.clone()).collect::<BTreeSet<_>>();
    let mut rules = Broken::new();
    collect("", &schema(), &mut rules);
    // Where a rule stands and where it points differ for those of the whole: there the message has to do.
    assert_eq!(messages(&refused), messages(&rules));
    let at_fields = |broken: &Broken| {
        broken.iter().filter(|(path, _)| path.starts_with("spec.mfaVendorType.")).cloned().collect::<Broken>()
    };
    assert_eq!(at_fields(&refused), at_fields(&rules));
}

fn schema() -> Value {
    let crd = crd::crd();
    serde_json::to_value(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()).unwrap()
}

/// The rules that the resource breaks.
fn broken(resource: &Value, before: Option<&Value>) -> Broken {
    static COMPILED: LazyLock<CompiledSchema> = LazyLock::new(|| compile_schema(&schema()));
    match Validator::new().validate_compiled(&COMPILED, resource, before) {
        Ok(()) => Broken::new(),
        Err(errors) => errors.into_vec().into_iter().map(|error| (error.field_path, error.message)).collect(),
    }
}

/// Every rule of a schema, with where it stands.
fn collect(path: &str, schema: &Value, rules: &mut Broken) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        rules.insert((path.to_owned(), rule["message"].as_str().expect("a message").to_owned()));
    }
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect(&path, child, rules);
    }
}
