//! Secrets as people fill them, made rubbish: no byte of a value is in what is said of it.

use std::collections::BTreeMap;

use mfa_fuzz::PLANTED;
use serde_json::{Map, Value};

use super::*;

/// The most that is said of a Secret.
const LONGEST_SENTENCE: usize = 400;

/// A Secret's data of a JSON object of texts, whose characters are bytes where all of them fit one.
fn data(text: &[u8]) -> BTreeMap<String, ByteString> {
    let members: Map<String, Value> = serde_json::from_slice(text).unwrap_or_default();
    let bytes = |value: &str| -> Vec<u8> {
        let each: Result<Vec<u8>, _> = value.chars().map(u8::try_from).collect();
        each.unwrap_or_else(|_| value.as_bytes().to_vec())
    };
    members.iter().filter_map(|(key, value)| Some((key.clone(), ByteString(bytes(value.as_str()?))))).collect()
}

fn assert_tells_nothing(said: &str) {
    assert!(said.len() <= LONGEST_SENTENCE, "{said}");
    assert!(!mfa_fuzz::tells_the_secret(said), "{said}");
}

#[test]
fn credentials_are_usable_or_a_sentence_that_holds_nothing_of_them() {
    mfa_fuzz::texts("credentials", |text| {
        let data = data(text);
        let has = |key: &str| data.contains_key(key);
        let account = ["client_id", "client_secret", "tsg_id"];
        match source("prisma-access", data.clone()) {
            Ok(source) => {
                let shown = format!("{source:?}");
                assert!(!shown.contains(PLANTED) && shown.len() <= 400, "{shown}");
                match source {
                    Source::Static(_) => assert!(has("token") && !account.into_iter().any(has)),
                    Source::ServiceAccount { client_id, client_secret, tsg_id } => {
                        assert!(!has("token") && account.into_iter().all(has));
                        for value in [client_id, client_secret] {
                            let value = value.expose_secret();
                            assert!(!value.is_empty() && value.trim_matches(' ') == value && !value.contains('\n'));
                        }
                        assert!((1..=64).contains(&tsg_id.len()));
                    }
                }
            }
            Err(unusable) => {
                assert_tells_nothing(&unusable.message);
                assert!(unusable.problem != SecretProblem::NotFound, "it is there");
                assert_eq!(source("prisma-access", data.clone()).unwrap_err(), unusable);
            }
        }
    });
}

#[test]
fn a_vendors_secret_is_what_was_filled_in_but_for_one_line_end_or_a_sentence_that_holds_nothing_of_it() {
    let field = |min_length| SecretField {
        field: "okta_token".to_owned(),
        secret: "okta-api".to_owned(),
        key: "token".to_owned(),
        min_length,
    };
    mfa_fuzz::texts("vendor_secret", |text| {
        for least in [0, 8, 16] {
            let bytes = SecretBytes::from(text.to_vec());
            match vendor_secret(&field(least), Some(&bytes)) {
                Ok(value) => {
                    let value = value.expose_secret().as_bytes();
                    let rest = text.strip_prefix(value).expect("the beginning of what was filled in");
                    assert!(matches!(rest, b"" | b"\n" | b"\r\n"), "{rest:?}");
                    assert!(value.len() <= 16 * 1024 && value.len() >= least);
                }
                Err(unusable) => {
                    assert_tells_nothing(&unusable.message);
                    assert_eq!(unusable.problem, SecretProblem::Invalid);
                }
            }
        }
        assert_eq!(vendor_secret(&field(8), None).unwrap_err().problem, SecretProblem::KeyMissing);
    });
}
