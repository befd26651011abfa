use std::collections::BTreeSet;
use std::error::Error as _;

use jiff::Timestamp;
use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::*;

/// The API's document: status, code, message, and what it is called here.
fn documented() -> Vec<(u16, Value, &'static str, Reason)> {
    vec![
        (400, json!("E003"), "Input Format Mismatch: input-format=json", Reason::InputFormatMismatch),
        (400, json!("E003"), "Invalid Object", Reason::InvalidObject),
        (400, json!("E003"), "Invalid Query Parameter: location=invalid", Reason::InvalidQueryParameter),
        (400, json!("E003"), "Missing Body", Reason::MissingBody),
        (400, json!("E003"), "Missing Query Parameter: name", Reason::MissingQueryParameter),
        (400, json!("E003"), "Output Format Mismatch: output-format=json Accept=xml", Reason::OutputFormatMismatch),
        (401, json!("E016"), "Not Authenticated", Reason::NotAuthenticated),
        (401, json!("E016"), "Invalid Credential", Reason::InvalidCredential),
        (401, json!("E016"), "Key Expired", Reason::KeyExpired),
        (401, json!("E016"), "Key Too Long", Reason::KeyTooLong),
        (401, json!("E016"), "The password needs to be changed.", Reason::NeedPasswordChange),
        (403, json!("E007"), "Unauthorized", Reason::Unauthorized),
        (404, json!("E005"), "Object Not Present", Reason::ObjectNotPresent),
        (409, json!("E006"), "Name Not Unique", Reason::NameNotUnique),
        (409, json!("E016"), "Object Not Unique", Reason::ObjectNotUnique),
        (409, json!("E009"), "Reference Not Zero", Reason::ReferenceNotZero),
        (405, json!("E012"), "Action Not Supported: move", Reason::ActionNotSupported),
        (400, json!("E013"), "Bad XPath", Reason::BadXPath),
        (400, json!("E003"), "Invalid Command", Reason::InvalidCommand),
        (400, json!("E003"), "Malformed Command", Reason::MalformedCommand),
        (501, json!("E012"), "Method Not Supported", Reason::MethodNotSupported),
        (504, json!(4), "Session Timeout", Reason::SessionTimeout),
        (501, json!("E012"), "Version Not Supported", Reason::VersionNotSupported),
    ]
}

fn of(method: Method, status: u16, body: &[u8]) -> Failure {
    decode(method, status, &HeaderMap::new(), body)
}

fn of_json(status: u16, body: &Value) -> Failure {
    of(Method::Get, status, body.to_string().as_bytes())
}

fn of_error(status: u16, error: &Value) -> Failure {
    of_json(status, &json!({"_errors": [error], "_request_id": "abcd-1234"}))
}

fn of_message(status: u16, message: &str) -> Failure {
    of_error(status, &json!({"message": message}))
}

#[test]
fn every_documented_error_has_its_own_name() {
    let mut seen = BTreeSet::new();
    for (status, code, message, reason) in documented() {
        let failure = of_error(status, &json!({"code": code, "message": message, "details": {}, "help": "x"}));
        assert_eq!(failure.reason, reason, "{message}");
        assert_eq!(failure.http_status, Some(status));
        assert_eq!(failure.code.as_deref(), Some(code.as_str().unwrap_or("4")));
        assert_eq!(failure.request_id.as_deref(), Some("abcd-1234"));
        assert_eq!(failure.acted, Acted::No, "{message}");
        seen.insert(reason);
    }
    assert_eq!(seen.len(), 23);
}

#[test]
fn the_type_in_the_details_names_the_error_under_a_code_that_tells_nothing() {
    for (status, _, message, reason) in documented() {
        let name = message.split(':').next().unwrap_or_default();
        for details in [
            json!({"errorType": name}),
            json!([{"errorType": name}]),
            json!(["something", {"errorType": name}]),
            json!(name),
            json!([name]),
        ] {
            for code in ["API_I00013", "API_I00035"] {
                let error = json!({"code": code, "message": "Your configuration is not valid.", "details": details});
                let failure = of_error(status, &error);
                assert_eq!(failure.reason, reason, "{error}");
                assert_eq!(failure.code.as_deref(), Some(code));
            }
        }
    }
}

#[test]
fn the_type_in_the_details_wins_over_the_message_and_the_message_over_the_code() {
    let error = json!({"code": "E006", "message": "Object Not Unique", "details": {"errorType": "Reference Not Zero"}});
    assert_eq!(of_error(409, &error).reason, Reason::ReferenceNotZero);
    assert_eq!(of_error(409, &json!({"code": "E006", "message": "Object Not Unique"})).reason, Reason::ObjectNotUnique);
    assert_eq!(of_error(409, &json!({"code": "E006", "message": "no such words"})).reason, Reason::NameNotUnique);
}

#[test]
fn a_code_is_asked_only_among_the_errors_of_its_status_and_only_if_it_tells_one() {
    for (status, code, reason) in [
        (404, json!("E005"), Reason::ObjectNotPresent),
        (409, json!("E016"), Reason::ObjectNotUnique),
        (409, json!("E009"), Reason::ReferenceNotZero),
        (403, json!("e007"), Reason::Unauthorized),
        (405, json!("E012"), Reason::ActionNotSupported),
        (400, json!("E013"), Reason::BadXPath),
        (400, json!("API_I00035"), Reason::InvalidObject),
        (504, json!(4), Reason::SessionTimeout),
        (504, json!("4"), Reason::SessionTimeout),
        // Ambiguous, or of another status.
        (401, json!("E016"), Reason::Unauthenticated),
        (400, json!("E003"), Reason::BadRequest),
        (501, json!("E012"), Reason::ServerError),
        (404, json!("E006"), Reason::NotFound),
        (404, json!("API_I00013"), Reason::NotFound),
        (500, json!("E006"), Reason::ServerError),
        (400, json!(""), Reason::BadRequest),
        (400, json!(4.5), Reason::BadRequest),
        (400, json!(null), Reason::BadRequest),
    ] {
        assert_eq!(of_error(status, &json!({"code": code})).reason, reason, "{status} {code}");
    }
}

#[test]
fn a_documented_name_under_a_status_that_does_not_fit_is_not_believed() {
    for (documented_status, code, message, _) in documented() {
        for (status, fallback) in [
            (400, Reason::BadRequest),
            (401, Reason::Unauthenticated),
            (403, Reason::Forbidden),
            (404, Reason::NotFound),
            (405, Reason::BadRequest),
            (409, Reason::Conflict),
            (418, Reason::BadRequest),
            (422, Reason::BadRequest),
            (500, Reason::ServerError),
            (501, Reason::ServerError),
            (502, Reason::ServerError),
            (503, Reason::ServerError),
            (504, Reason::ServerError),
        ] {
            if status != documented_status {
                let failure = of_error(status, &json!({"code": code, "message": message}));
                assert_eq!(failure.reason, fallback, "{message} under {status}");
            }
        }
        assert_eq!(of_error(429, &json!({"code": code, "message": message})).reason, Reason::RateLimited);
    }
}

#[test]
fn a_name_of_another_status_keeps_the_code_from_proving_an_absence() {
    assert_eq!(of_error(404, &json!({"code": "E005", "message": "Name Not Unique"})).reason, Reason::NotFound);
    let mixed = json!({"message": "Object Not Present", "details": {"errorType": "Name Not Unique"}});
    assert_eq!(of_error(404, &mixed).reason, Reason::ObjectNotPresent);
}

#[test]
fn names_are_told_whatever_their_case_and_spacing() {
    for message in ["name not unique", " NAME  NOT UNIQUE : x", "Name\tNot Unique.", "name_not_unique", "NameNotUnique"]
    {
        assert_eq!(of_message(409, message).reason, Reason::NameNotUnique, "{message}");
    }
    for message in ["Name Not Unique!", "Name Not Unique in folder", "Nàme Not Unique", "", ":Name Not Unique"] {
        assert_eq!(of_message(409, message).reason, Reason::Conflict, "{message}");
    }
    assert_eq!(of_message(401, "Need Password Change").reason, Reason::NeedPasswordChange);
}

#[test]
fn an_object_that_exists_already_is_a_name_that_is_not_unique() {
    for status in [400, 409] {
        let failure =
            of_error(status, &json!({"code": "API_I00013", "details": {"errorType": "Object Already Exists"}}));
        assert_eq!((failure.reason, failure.class), (Reason::NameNotUnique, Class::Conflict));
    }
}

#[test]
fn of_several_errors_the_first_known_one_counts() {
    let body = json!({"_errors": [
        7, null, {}, {"code": "X1", "message": "odd"}, {"code": "E009", "message": "Reference Not Zero"},
        {"code": "E006", "message": "Name Not Unique"},
    ]});
    let failure = of_json(409, &body);
    assert_eq!((failure.reason, failure.code.as_deref()), (Reason::ReferenceNotZero, Some("E009")));
}

#[test]
fn an_undocumented_body_falls_back_on_its_status() {
    let html = b"<html><body>Object Not Present: Name Not Unique</body></html>".as_slice();
    let truncated = br#"{"_errors":[{"code":"E005","message":"Object Not Present""#.as_slice();
    let huge = vec![b'['; 9 << 20];
    let padded = format!("{{\"_errors\":[{{\"message\":\"Object Not Present\"}}]{}}}", " ".repeat(MOST_OF_AN_ERROR));
    let bodies = [
        html,
        truncated,
        &huge,
        padded.as_bytes(),
        b"",
        b"null",
        b"[]",
        b"{\"_errors\":[]}",
        b"\xff\xfe",
        b"{\"_errors\":{}}",
    ];
    for (status, reason, class, acted) in [
        (302, Reason::UnexpectedResponse, Class::Server, Acted::Perhaps),
        (400, Reason::BadRequest, Class::Input, Acted::No),
        (401, Reason::Unauthenticated, Class::Credential, Acted::No),
        (403, Reason::Forbidden, Class::Forbidden, Acted::No),
        (404, Reason::UnexpectedResponse, Class::Server, Acted::Perhaps),
        (405, Reason::BadRequest, Class::Input, Acted::No),
        (407, Reason::UnexpectedResponse, Class::Server, Acted::No),
        (408, Reason::UnexpectedResponse, Class::Server, Acted::Perhaps),
        (409, Reason::Conflict, Class::Conflict, Acted::No),
        (413, Reason::BadRequest, Class::Input, Acted::No),
        (422, Reason::BadRequest, Class::Input, Acted::No),
        (429, Reason::RateLimited, Class::Throttled, Acted::No),
        (500, Reason::ServerError, Class::Server, Acted::Perhaps),
        (501, Reason::ServerError, Class::Input, Acted::Perhaps),
        (502, Reason::ServerError, Class::Server, Acted::Perhaps),
        (503, Reason::ServerError, Class::Server, Acted::Perhaps),
        (504, Reason::ServerError, Class::Server, Acted::Perhaps),
        (600, Reason::UnexpectedResponse, Class::Server, Acted::Perhaps),
    ] {
        for body in bodies {
            let failure = of(Method::Post, status, body);
            assert_eq!((failure.reason, failure.class, failure.acted), (reason, class, acted), "{status}");
            assert_eq!((failure.code, failure.request_id), (None, None), "{status}");
        }
    }
}

#[test]
fn of_an_answer_as_much_is_looked_at_as_is_said_here_and_no_more() {
    let padded = |length: usize| {
        let body = r#"{"_errors":[{"message":"Object Not Present"}]}"#;
        format!("{body}{}", " ".repeat(length - body.len()))
    };
    assert_eq!(of(Method::Get, 404, padded(262_144).as_bytes()).reason, Reason::ObjectNotPresent);
    assert_eq!(of(Method::Get, 404, padded(262_145).as_bytes()).reason, Reason::UnexpectedResponse);

    let last_of = |count: usize, other: Value, last: Value| {
        let mut items = vec![other; count - 1];
        items.push(last);
        items
    };
    for (count, found) in [(16, Reason::NameNotUnique), (17, Reason::Conflict)] {
        let errors = last_of(count, json!({"code": "X1"}), json!({"message": "Name Not Unique"}));
        assert_eq!(of_json(409, &json!({"_errors": errors})).reason, found, "{count} errors");
        for last in [json!({"errorType": "Name Not Unique"}), json!("Name Not Unique")] {
            let details = last_of(count, json!("x"), last);
            assert_eq!(of_error(409, &json!({"details": details})).reason, found, "{count} details");
        }
    }

    for (length, found) in [(64, Reason::NameNotUnique), (65, Reason::Conflict)] {
        let message = format!("Name Not Unique{}: {}", " ".repeat(length - 15), "x".repeat(100));
        assert_eq!(of_message(409, &message).reason, found, "{length}");
    }
    for (words, found) in [(200, Reason::Busy), (201, Reason::ServerError)] {
        assert_eq!(of_message(500, &format!("{}config lock", "x ".repeat(words - 2))).reason, found, "{words}");
    }
    let (code, id) = ("x".repeat(32), "y".repeat(128));
    let failure = of_json(500, &json!({"_errors": [{"code": code}], "_request_id": id}));
    assert_eq!((failure.code, failure.request_id), (Some(code), Some(id)));
}

#[test]
fn a_decoded_error_is_an_answer_even_where_the_status_is_a_gateways() {
    for status in [404, 408, 500, 502, 504] {
        assert_eq!(of_message(status, "odd").acted, Acted::No, "{status}");
    }
}

#[test]
fn a_lock_on_the_configuration_is_busy() {
    for message in [
        "Failed to acquire the configuration write lock",
        "Failed to get config lock: timeout",
        "Configuration is locked by another administrator",
        "could not take write-lock",
    ] {
        for error in
            [json!({"message": message}), json!({"details": {"message": [message]}}), json!({"details": message})]
        {
            let failure = of_error(500, &error);
            assert_eq!(
                (failure.reason, failure.class, failure.acted),
                (Reason::Busy, Class::Busy, Acted::No),
                "{error}"
            );
        }
        assert_eq!(of_message(503, message).reason, Reason::Busy);
        assert_eq!(of_message(400, message).reason, Reason::BadRequest, "a refusal is a refusal");
    }
    for message in
        ["Internal error in config block", "clock skew while writing", "lock", "Name Not Unique", "write failed"]
    {
        assert_eq!(of_message(500, message).reason, Reason::ServerError, "{message}");
    }
}

#[test]
fn every_reason_has_the_class_that_the_conditions_document() {
    for method in Method::ALL {
        for (status, _, message, reason) in documented() {
            let class = match (reason, method, status) {
                (Reason::ObjectNotPresent, Method::Post, _) | (_, _, 400 | 405 | 501) => Class::Input,
                (Reason::ObjectNotPresent, _, _) => Class::Server,
                (Reason::ReferenceNotZero, Method::Delete, _) => Class::Referenced,
                (_, _, 401) => Class::Credential,
                (_, _, 403) => Class::Forbidden,
                (_, _, 409) => Class::Conflict,
                (_, _, 504) => Class::Busy,
                other => panic!("{other:?}"),
            };
            let body = json!({"_errors": [{"message": message}]}).to_string();
            assert_eq!(of(method, status, body.as_bytes()).class, class, "{method:?} {message}");
        }
    }
    assert_eq!(classify(Method::Post, Reason::NotFound, Some(404)), Class::Input);
    assert_eq!(classify(Method::Post, Reason::TokenRequestRejected, Some(400)), Class::Credential);
    assert_eq!(classify(Method::Get, Reason::Unreachable, None), Class::Server);
}

#[test]
fn reasons_are_distinct_words_and_sentences() {
    assert_eq!(Reason::ALL.iter().collect::<BTreeSet<_>>().len(), Reason::ALL.len());
    let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
    let sentences: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.describe()).collect();
    assert_eq!(sentences.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        assert_eq!(format!("{reason:?}"), reason.as_str());
        assert!(reason.describe().ends_with('.') && reason.describe().len() < 160, "{}", reason.describe());
    }
}

#[test]
fn codes_and_request_ids_are_harmless_or_dropped() {
    let id = |id: &str| of_json(500, &json!({"_errors": [{"code": id, "message": "x"}], "_request_id": id}));
    for text in ["", "a b", "a\nb", "ü", "<script>", "a\u{0}", &"x".repeat(129)] {
        let failure = id(text);
        assert_eq!((failure.code, failure.request_id), (None, None), "{text}");
    }
    let failure = id(&"x".repeat(33));
    assert_eq!((failure.code, failure.request_id), (None, Some("x".repeat(33))));
    for (code, shown) in [
        (json!(4), Some("4")),
        (json!(-1), Some("-1")),
        (json!(u64::MAX), Some("18446744073709551615")),
        (json!(4.5), None),
        (json!(true), None),
        (json!(["E003"]), None),
    ] {
        assert_eq!(of_error(500, &json!({"code": code})).code.as_deref(), shown, "{code}");
    }
    let failure = id("a:b.c");
    assert_eq!((failure.code, failure.request_id.as_deref()), (None, Some("a:b.c")));

    let mut headers = HeaderMap::new();
    headers.insert("x-request-id", HeaderValue::from_static("from-header"));
    assert_eq!(decode(Method::Get, 502, &headers, b"<html>").request_id.as_deref(), Some("from-header"));
    let body = br#"{"_request_id":"from-body"}"#;
    assert_eq!(decode(Method::Get, 502, &headers, body).request_id.as_deref(), Some("from-body"));
}

fn wait(value: &str) -> Option<u64> {
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", HeaderValue::from_str(value).unwrap());
    headers.insert("date", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
    retry_after(&headers, Timestamp::UNIX_EPOCH).map(|wait| wait.as_secs())
}

#[test]
fn retry_after_is_read_in_every_form_and_capped_at_an_hour() {
    for (value, seconds) in [
        ("0", Some(0)),
        (" 7 ", Some(7)),
        ("3600", Some(3600)),
        ("3601", Some(3600)),
        ("99999999999999999999999999", Some(3600)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
        ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10)),
        ("Sun Nov  6 08:49:39 1994", Some(2)),
        ("Sun, 06 Nov 1994 08:49:36 GMT", Some(0)),
        ("Sun, 06 Nov 1994 18:49:37 GMT", Some(3600)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(3600)),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
    ] {
        assert_eq!(wait(value), seconds, "{value:?}");
    }
    for (spaces, seconds) in [(36, Some(60)), (37, None)] {
        let date = format!("Sun,{}06 Nov 1994 08:50:37 GMT", " ".repeat(spaces));
        assert_eq!(wait(&date), seconds, "{} characters", date.len());
    }
    assert_eq!(retry_after(&HeaderMap::new(), Timestamp::UNIX_EPOCH), None);
}

#[test]
fn retry_after_is_kept_for_every_failure() {
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", HeaderValue::from_static("5"));
    for status in [429, 503] {
        assert_eq!(decode(Method::Get, status, &headers, b"").retry_after, Some(Duration::from_secs(5)));
    }
}

#[test]
fn a_failure_shows_nothing_of_a_body() {
    let failure =
        of_error(400, &json!({"code": "E003", "message": "Invalid Object: SECRET", "details": {"x": "SECRET"}}))
            .because(Cause::NotJson { line: 1, column: 2 });
    assert_eq!(failure.to_string(), "InvalidObject (HTTP 400)");
    assert!(!format!("{failure:?}").contains("SECRET"));
    assert_eq!(failure.source().unwrap().to_string(), "the answer is not JSON at line 1, column 2");
    assert_eq!(Failure::unusable_id(Method::Get).to_string(), "UnexpectedResponse");
}

fn any_json() -> impl Strategy<Value = Value> {
    let names =
        prop_oneof![Just("errorType".to_owned()), Just("message".to_owned()), Just("code".to_owned()), ".{0,8}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,24}".prop_map(Value::from),
        Just(Value::from("Object Not Present")),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(status in any::<u16>(), body in prop::collection::vec(any::<u8>(), 0..200)) {
        let failure = of(Method::Post, status, &body);
        prop_assert_eq!(failure.http_status, Some(status));
    }

    #[test]
    fn no_json_makes_decoding_panic(status in 300u16..600, errors in any_json(), id in any_json()) {
        let failure = of_json(status, &json!({"_errors": errors, "_request_id": id}));
        prop_assert!(failure.code.is_none_or(|code| code.len() <= 32));
        prop_assert!(failure.reason != Reason::ObjectNotPresent || status == 404);
    }

    #[test]
    fn no_header_makes_retry_after_panic(value in "[ -~]{0,70}") {
        prop_assert!(wait(&value).is_none_or(|seconds| seconds <= 3600));
    }
}

#[test]
fn methods_and_classes_have_the_names_that_are_sent_and_shown() {
    assert_eq!(Method::ALL.map(Method::as_str), ["GET", "POST", "PUT", "DELETE"]);
    let classes = [
        (Class::Credential, "credential"),
        (Class::Forbidden, "forbidden"),
        (Class::Input, "input"),
        (Class::Conflict, "conflict"),
        (Class::Referenced, "referenced"),
        (Class::Throttled, "throttled"),
        (Class::Busy, "busy"),
        (Class::Server, "server"),
    ];
    for (class, name) in classes {
        assert_eq!(class.as_str(), name);
    }
}

#[test]
fn what_is_written_of_a_failure_for_developers_names_all_that_is_known() {
    let failure = Failure::new(Method::Post, Reason::RateLimited, Some(429), Acted::No)
        .with_request_id(Some("abcd-1234".to_owned()));
    let text = format!("{failure:?}");
    for part in ["RateLimited", "Throttled", "429", "abcd-1234", "No"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// What had no connection was not sent; what was cut off may have been.
#[tokio::test]
async fn a_request_without_a_connection_was_not_sent_and_one_that_is_cut_off_may_have_been() {
    // Fails only where another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let cut = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Read::read_exact(&mut stream, &mut [0]).unwrap();
        listener
    });
    let failed = async |url: &str| {
        let error = client.post(url).send().await.unwrap_err();
        let failure = Failure::unreachable(Method::Post, error);
        assert_eq!(failure.reason, Reason::Unreachable);
        failure.acted
    };
    assert_eq!(failed(&format!("http://{address}")).await, Acted::Perhaps);
    drop(cut.join().unwrap());
    // Nobody listens there any more.
    assert_eq!(failed(&format!("http://{address}")).await, Acted::No);
    assert_eq!(failed("no address").await, Acted::No);
}

#[test]
fn only_the_documented_word_is_an_absence() {
    for reason in Reason::ALL {
        let failure = Failure::new(Method::Get, reason, Some(404), Acted::No);
        assert_eq!(failure.is_absence(), reason == Reason::ObjectNotPresent, "{reason:?}");
    }
}
