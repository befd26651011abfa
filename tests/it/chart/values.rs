//! values.yaml, read for its comments, and what holds it together with the schema and the templates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::read;

/// A value with a comment.
pub(super) struct Row {
    pub(super) section: String,
    pub(super) path: Vec<String>,
    pub(super) meaning: String,
}

/// Names that helm itself puts among a chart's values.
const HELMS_OWN: [&str; 2] = ["global", "enabled"];

pub(super) fn defaults() -> Value {
    serde_saphyr::from_str(&read("charts/mfa-operator/values.yaml")).unwrap()
}

/// The comments `# -- …`, each with the value below it, and the sections `# == …`.
pub(super) fn rows() -> Vec<Row> {
    let (mut rows, mut path, mut section) = (Vec::new(), Vec::<String>::new(), String::new());
    let mut meaning: Option<String> = None;
    for line in read("charts/mfa-operator/values.yaml").lines() {
        let inner = line.trim_start();
        if let Some(title) = inner.strip_prefix("# == ") {
            title.clone_into(&mut section);
        } else if let Some(begin) = inner.strip_prefix("# -- ") {
            meaning = Some(begin.to_owned());
        } else if let Some(more) = inner.strip_prefix("# ") {
            if let Some(meaning) = &mut meaning {
                meaning.push(' ');
                meaning.push_str(more);
            }
        } else if let Some((name, _)) = inner.split_once(':').filter(|_| !inner.starts_with('-')) {
            path.truncate((line.len() - inner.len()) / 2);
            path.push(name.to_owned());
            if let Some(meaning) = meaning.take() {
                rows.push(Row { section: section.clone(), path: path.clone(), meaning });
            }
        }
    }
    rows
}

#[test]
fn every_value_is_explained_and_has_a_place_in_the_schema_and_in_a_template() {
    fn leaves(value: &Value, path: &str, explained: &BTreeSet<String>, found: &mut BTreeSet<String>) {
        match value.as_object().filter(|members| !members.is_empty() && !explained.contains(path)) {
            Some(members) => {
                for (name, value) in members {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    leaves(value, &path, explained, found);
                }
            }
            None => {
                found.insert(path.to_owned());
            }
        }
    }
    fn properties(schema: &Value, path: &str, explained: &BTreeSet<String>, found: &mut BTreeSet<String>) {
        match schema["properties"].as_object().filter(|_| !explained.contains(path)) {
            Some(members) => {
                assert_eq!(schema["additionalProperties"], false, "{path} would take a name that does not exist");
                for (name, schema) in members {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    properties(schema, &path, explained, found);
                }
            }
            None => {
                found.insert(path.to_owned());
            }
        }
    }

    let explained: BTreeSet<_> = rows().iter().map(|row| row.path.join(".")).collect();
    let mut found = BTreeSet::new();
    leaves(&defaults(), "", &explained, &mut found);
    assert_eq!(found, explained, "values.yaml: values, and those with a comment `# -- …`");

    let schema: Value = serde_json::from_str(&read("charts/mfa-operator/values.schema.json")).unwrap();
    let mut known = BTreeSet::new();
    properties(&schema, "", &explained, &mut known);
    known.retain(|name| !HELMS_OWN.contains(&name.as_str()));
    assert_eq!(known, explained, "values.schema.json and values.yaml");

    let templates = super::templates();
    for path in &explained {
        let last = path.rsplit('.').next().unwrap();
        // Within `with .Values.sharedCredentials`.
        let within = path.starts_with("sharedCredentials.") && templates.contains(&format!(" .{last}"));
        assert!(templates.contains(&format!(".Values.{path}")) || within, "no template makes use of {path}");
    }
}
