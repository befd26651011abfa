use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::reconcile::scope::Scope;
use crate::sse::{self, Limits, Schedule, TokenEndpoint};

const VALUE: &str = "PLAINTEXT";

fn data(entries: &[(&str, &[u8])]) -> BTreeMap<String, ByteString> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec()))).collect()
}

fn unusable(entries: &[(&str, &[u8])]) -> Unusable {
    source("prisma-access", data(entries)).unwrap_err()
}

fn account<'a>(id: &'a [u8], secret: &'a [u8], tenant: &'a [u8]) -> [(&'static str, &'a [u8]); 3] {
    [("client_id", id), ("client_secret", secret), ("tsg_id", tenant)]
}

fn field(min_length: usize) -> SecretField {
    SecretField { field: "okta_token".to_owned(), secret: "okta-api".to_owned(), key: "token".to_owned(), min_length }
}

fn bytes(value: &[u8]) -> SecretBytes {
    SecretBytes::from(value.to_vec())
}

#[test]
fn a_secret_with_a_token_is_a_token() {
    for value in [&b"PLAINTEXT"[..], b"PLAINTEXT\n", b"PLAINTEXT\r\n"] {
        assert!(matches!(source("prisma-access", data(&[("token", value)])), Ok(Source::Static(_))));
    }
    // What else stands in the Secret does not matter.
    assert!(matches!(source("a", data(&[("token", b"T"), ("note", b"\xff")])), Ok(Source::Static(_))));
}

#[test]
fn a_secret_with_a_service_account_is_one() {
    let read = source("prisma-access", data(&account(b"id\n", b"a secret\n", b"1234\n"))).unwrap();
    let Source::ServiceAccount { client_id, client_secret, tsg_id } = read else { panic!("{read:?}") };
    assert_eq!((client_id.expose_secret(), client_secret.expose_secret()), ("id", "a secret"));
    assert_eq!(tsg_id, "1234");
}

#[test]
fn a_secret_with_neither_or_both_says_what_to_keep() {
    let neither = unusable(&[("password", b"PLAINTEXT")]);
    assert_eq!(neither.problem, SecretProblem::KeyMissing);
    assert_eq!(
        neither.message,
        "Secret \"prisma-access\" with the credentials has neither the key \"token\" nor the keys \"client_id\", \
         \"client_secret\" and \"tsg_id\"; add one or the other."
    );
    for more in ["client_id", "client_secret", "tsg_id"] {
        let both = unusable(&[("token", b"PLAINTEXT"), (more, b"PLAINTEXT")]);
        assert_eq!(both.problem, SecretProblem::Invalid);
        assert!(both.message.contains("holds both token and a service account"), "{}", both.message);
    }
}

#[test]
fn a_service_account_that_lacks_a_key_says_which() {
    for missing in ["client_id", "client_secret", "tsg_id"] {
        let mut entries = account(b"PLAINTEXT", b"PLAINTEXT", b"PLAINTEXT").to_vec();
        entries.retain(|(key, _)| *key != missing);
        let unusable = unusable(&entries);
        assert_eq!(unusable.problem, SecretProblem::KeyMissing);
        assert_eq!(
            unusable.message,
            format!(
                "Secret \"prisma-access\" with the credentials has no key {missing:?}; a service account needs \
                 client_id, client_secret and tsg_id."
            )
        );
    }
}

#[test]
fn a_value_that_cannot_be_used_is_told_with_its_key_and_never_shown() {
    for (value, why) in [
        (&b""[..], "is empty"),
        (b"\n", "is empty"),
        (b"PLAINTEXT\n\n", "holds a line break besides the one at its end"),
        (b"PLAIN\nTEXT", "holds a line break besides the one at its end"),
        (b"PLAINTEXT\xff", "is not UTF-8 text"),
        (b"PLAINTEXT\0", "holds a character that cannot be printed or sent"),
        (b" PLAINTEXT", "begins or ends with white space"),
    ] {
        let told = |key: &str| {
            format!("Key {key:?} of Secret \"prisma-access\" with the credentials cannot be used: it {why}.")
        };
        let mut all = vec![("token", unusable(&[("token", value)]))];
        all.push(("client_id", unusable(&account(value, b"PLAINTEXT", b"1"))));
        all.push(("client_secret", unusable(&account(b"PLAINTEXT", value, b"1"))));
        all.push(("tsg_id", unusable(&account(b"PLAINTEXT", b"PLAINTEXT", value))));
        for (key, unusable) in all {
            assert_eq!(unusable, Unusable { problem: SecretProblem::Invalid, message: told(key) });
            assert!(!unusable.message.contains("PLAIN"));
        }
    }
    let spaced = unusable(&[("token", b"Bearer PLAINTEXT")]);
    assert!(spaced.message.contains("without `Bearer`") && !spaced.message.contains(VALUE), "{}", spaced.message);
}

#[test]
fn a_tenant_service_group_that_is_none_is_invalid() {
    let long = "1".repeat(65);
    for tenant in ["12 34", "PLAINTEXT/..", "12:34", &long] {
        let unusable = unusable(&account(b"id", b"PLAINTEXT", tenant.as_bytes()));
        assert_eq!(unusable.problem, SecretProblem::Invalid);
        assert!(unusable.message.starts_with("Key \"tsg_id\" of Secret \"prisma-access\""), "{}", unusable.message);
        assert!(!unusable.message.contains(tenant) && !unusable.message.contains(VALUE));
    }
    let (id, secret) = (b"id", b"secret");
    assert!(source("a", data(&account(id, secret, b"Abc_9-0"))).is_ok());
}

#[test]
fn a_vendors_secret_is_taken_without_its_last_newline() {
    for value in [&b"PLAINTEXT"[..], b"PLAINTEXT\n"] {
        assert_eq!(vendor_secret(&field(9), Some(&bytes(value))).unwrap().expose_secret(), VALUE);
    }
    // Characters count, not bytes.
    assert!(vendor_secret(&field(8), Some(&bytes("üüüüüüüü".as_bytes()))).is_ok());
    assert!(vendor_secret(&field(8), Some(&bytes("üüüüüüü\n".as_bytes()))).is_err());
}

#[test]
fn a_vendors_secret_that_cannot_be_used_is_told_with_field_key_and_secret() {
    let missing = vendor_secret(&field(8), None).unwrap_err();
    assert_eq!(missing.problem, SecretProblem::KeyMissing);
    assert_eq!(missing.message, "Secret \"okta-api\" has no key \"token\", which oktaToken refers to; add it.");
    for (value, why) in [
        (&b"PLAINTEXT"[..], "is shorter than the 16 characters that the API takes at least"),
        (b"", "is empty"),
        (b"PLAINTEXT\xff", "is not UTF-8 text"),
        (b"PLAIN\nTEXT", "holds a line break besides the one at its end"),
    ] {
        let unusable = vendor_secret(&field(16), Some(&bytes(value))).unwrap_err();
        assert_eq!(unusable.problem, SecretProblem::Invalid);
        assert_eq!(
            unusable.message,
            format!("Key \"token\" of Secret \"okta-api\", which oktaToken refers to, cannot be used: it {why}.")
        );
    }
}

#[test]
fn only_the_keys_that_are_wanted_are_kept() {
    let other = SecretField { secret: "another".to_owned(), key: "other".to_owned(), ..field(8) };
    let fields = [field(8), other];
    let kept = wanted(&fields, "okta-api", data(&[("token", b"PLAINTEXT"), ("other", b"PLAINTEXT"), ("x", b"y")]));
    assert_eq!(kept.into_keys().collect::<Vec<_>>(), ["token"]);
}

#[test]
fn versions_are_numbers_that_grow_and_others_are_new_where_they_differ() {
    for (version, than, newer) in [
        ("10", "9", true),
        ("9", "10", false),
        ("9", "9", false),
        ("18446744073709551616", "18446744073709551615", true),
        ("5", "", true),
        ("", "5", true),
        ("a", "b", true),
        ("a", "a", false),
    ] {
        assert_eq!(is_newer(version, than), newer, "{version} than {than}");
    }
}

/// Secrets of a cluster that is never asked.
fn secrets() -> (Arc<Secrets>, UnboundedReceiver<Waiter>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kube = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
    let settings = sse::Settings { api_url: "http://127.0.0.1:1".to_owned(), ..sse::Settings::default() };
    let endpoint = TokenEndpoint::new(&settings, "http://127.0.0.1:1").unwrap();
    let schedule = Schedule::new(|_, _, _| Duration::from_mins(1));
    let (wakes, woken) = Wakes::channel();
    let credentials = Credentials::new(endpoint, Limits::default(), schedule.clone(), wakes.clone());
    let client = sse::Client::new(&settings).unwrap();
    let lists = Lists::new(client, Arc::clone(&credentials), schedule, Duration::from_mins(10), wakes.clone());
    let versions = Versions::new(Some(Scope::Cluster), Duration::from_mins(10));
    let secrets = Secrets::new(kube, credentials, lists, wakes, versions);
    (secrets, woken)
}

fn named(name: &str) -> SecretName {
    SecretName { namespace: "team".to_owned(), name: name.to_owned() }
}

fn meta(name: &str, version: &str) -> PartialObjectMeta<Secret> {
    let metadata = ObjectMeta {
        namespace: Some("team".to_owned()),
        name: Some(name.to_owned()),
        resource_version: Some(version.to_owned()),
        ..ObjectMeta::default()
    };
    PartialObjectMeta { metadata, ..PartialObjectMeta::default() }
}

fn woken(receiver: &mut UnboundedReceiver<Waiter>) -> Vec<String> {
    std::iter::from_fn(|| receiver.try_recv().ok()).map(|waiter| waiter.to_string()).collect()
}

#[tokio::test]
async fn who_has_asked_about_a_secret_is_woken_when_it_appears_changes_or_goes() {
    let (secrets, mut receiver) = secrets();
    let waiter = Waiter::from("team/corp");
    assert_eq!(secrets.version_for(&named("a"), &waiter), None);
    secrets.observe(&None, Event::Apply(meta("a", "1")));
    assert_eq!(woken(&mut receiver), ["team/corp"]);
    assert_eq!(secrets.version_for(&named("a"), &waiter).as_deref(), Some("1"));
    secrets.observe(&None, Event::Apply(meta("a", "1")));
    secrets.observe(&None, Event::Apply(meta("b", "1")));
    assert_eq!(woken(&mut receiver), [""; 0], "the same version, and another Secret");
    secrets.observe(&None, Event::Apply(meta("a", "2")));
    assert_eq!(woken(&mut receiver), ["team/corp"]);
    secrets.observe(&None, Event::Delete(meta("a", "3")));
    assert_eq!(woken(&mut receiver), ["team/corp"]);
    assert_eq!(secrets.version(&named("a")), None);
    secrets.forget(&waiter);
    secrets.observe(&None, Event::Apply(meta("a", "4")));
    assert_eq!(woken(&mut receiver), [""; 0], "forgotten");
}

#[tokio::test]
async fn a_new_list_counts_once_it_is_whole() {
    let (secrets, mut receiver) = secrets();
    secrets.version_for(&named("early"), &Waiter::from("early"));
    assert!(secrets.is_pending(&named("early")) && !secrets.is_absent(&named("early")));
    secrets.observe(&None, Event::Init);
    secrets.observe(&None, Event::InitDone);
    assert_eq!(woken(&mut receiver), ["early"], "whoever waits for the first list");
    assert!(!secrets.is_pending(&named("early")) && secrets.is_absent(&named("early")));
    for name in ["kept", "changed", "gone"] {
        secrets.observe(&None, Event::Apply(meta(name, "1")));
        secrets.version_for(&named(name), &Waiter::from(name));
    }
    secrets.version_for(&named("new"), &Waiter::from("new"));
    secrets.observe(&None, Event::Init);
    secrets.observe(&None, Event::InitApply(meta("kept", "1")));
    secrets.observe(&None, Event::InitApply(meta("changed", "2")));
    secrets.observe(&None, Event::InitApply(meta("new", "1")));
    assert_eq!(woken(&mut receiver), [""; 0]);
    assert_eq!(secrets.version(&named("gone")).as_deref(), Some("1"), "until the list is whole");
    secrets.observe(&None, Event::InitDone);
    let mut all = woken(&mut receiver);
    all.sort();
    assert_eq!(all, ["changed", "gone", "new"]);
    assert_eq!(secrets.version(&named("gone")), None);
    // A list that broke off before leaves nothing.
    secrets.observe(&None, Event::Init);
    secrets.observe(&None, Event::InitApply(meta("ghost", "1")));
    secrets.observe(&None, Event::Init);
    secrets.observe(&None, Event::InitDone);
    assert_eq!(secrets.version(&named("ghost")), None);
}

#[tokio::test]
async fn a_credential_whose_secret_is_not_there_says_so_unless_what_was_known_is_good_enough() {
    let (secrets, _woken) = secrets();
    let (name, waiter) = (named("prisma-access"), Waiter::from("team/corp"));
    let missing = CredentialSecret::Unusable(Unusable {
        problem: SecretProblem::NotFound,
        message: "Secret \"prisma-access\" with the credentials does not exist in namespace \"team\"; create it."
            .to_owned(),
    });
    assert_eq!(secrets.credential(&name, false, &waiter), missing);
    assert_eq!(secrets.credential(&name, true, &waiter), missing, "nothing was known");
    secrets.observe(&None, Event::Apply(meta("prisma-access", "1")));
    assert_eq!(secrets.credential(&name, false, &waiter), CredentialSecret::Pending);
    let key = credential_key(&name);
    secrets.credentials.put(&key, "1", Source::Static(Token::parse(b"TOKEN").unwrap()));
    assert_eq!(secrets.credential(&name, false, &waiter), CredentialSecret::Put);
    secrets.observe(&None, Event::Apply(meta("prisma-access", "2")));
    assert_eq!(secrets.credential(&name, false, &waiter), CredentialSecret::Pending, "another version");
    secrets.observe(&None, Event::Delete(meta("prisma-access", "2")));
    assert_eq!(secrets.credential(&name, false, &waiter), missing);
    assert_eq!(secrets.credential(&name, true, &waiter), CredentialSecret::Put, "for a deletion");
    secrets.forget(&waiter);
    assert_eq!(secrets.credentials.version(&key), None, "nobody uses it any more");
}

#[tokio::test]
async fn an_echo_is_known_again_by_a_hash_of_the_version_that_was_read() {
    let (secrets, _woken) = secrets();
    let observed = |version: &str| ObservedSecret { name: "okta-api".to_owned(), resource_version: version.to_owned() };
    let value = SecretString::from(VALUE);
    let digest = digest_of(&value);
    let digest = digest.expose_secret();
    let known = |version, digest: &str| secrets.is_print("team", &field(8), version, digest);
    assert_eq!(known("1", digest), None, "not read yet");
    secrets.print(named("okta-api"), &field(8), Some(&observed("1")), &value);
    assert_eq!(known("1", digest), Some(true));
    assert_eq!(known("1", "another"), Some(false));
    assert_eq!(known("2", digest), None, "not read at this version");
    secrets.print(named("okta-api"), &field(8), Some(&observed("2")), &SecretString::from("rotated"));
    assert_eq!((known("1", digest), known("2", digest)), (None, Some(false)));
}

#[tokio::test]
async fn a_read_that_is_newer_than_the_watch_counts_and_an_older_one_does_not() {
    let (secrets, _woken) = secrets();
    secrets.observe(&None, Event::Apply(meta("a", "9")));
    secrets.seen(&named("a"), "10");
    assert_eq!(secrets.version(&named("a")).as_deref(), Some("10"));
    secrets.seen(&named("a"), "8");
    assert_eq!(secrets.version(&named("a")).as_deref(), Some("10"));
    secrets.seen(&named("b"), "1");
    assert_eq!(secrets.version(&named("b")).as_deref(), Some("1"));
}

#[tokio::test]
async fn a_watch_that_is_behind_a_read_takes_nothing_back_and_wakes_nobody() {
    let (secrets, mut receiver) = secrets();
    secrets.version_for(&named("a"), &Waiter::from("team/corp"));
    secrets.observe(&None, Event::Apply(meta("a", "8")));
    woken(&mut receiver);
    secrets.seen(&named("a"), "10");
    secrets.observe(&None, Event::Apply(meta("a", "9")));
    assert_eq!(secrets.version(&named("a")).as_deref(), Some("10"));
    assert_eq!(woken(&mut receiver), [""; 0]);
    secrets.observe(&None, Event::Apply(meta("a", "11")));
    assert_eq!(secrets.version(&named("a")).as_deref(), Some("11"));
    assert_eq!(woken(&mut receiver), ["team/corp"]);
}
