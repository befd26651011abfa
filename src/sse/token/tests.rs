use base64::engine::general_purpose::URL_SAFE;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::sse::transport::fake::{Fake, Reply, Request, provider};

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

fn jwt(claims: &Value) -> Token {
    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    Token::parse(format!("e30.{payload}.c2ln").as_bytes()).unwrap()
}

#[test]
fn one_newline_at_the_end_is_not_part_of_a_value() {
    for bytes in ["abc", "abc\n", "abc\r\n"] {
        assert_eq!(Token::parse(bytes.as_bytes()).unwrap().0.expose_secret(), "abc");
        assert_eq!(secret_text(bytes.as_bytes()).unwrap().expose_secret(), "abc");
    }
    assert_eq!(secret_text(b"a b \xc3\xbc\n").unwrap().expose_secret(), "a b ü");
}

#[test]
fn a_value_that_cannot_be_used_says_what_is_wrong_with_it() {
    let long = "x".repeat(LONGEST_VALUE + 1);
    for (bytes, why) in [
        (&b""[..], InvalidSecretValue::Empty),
        (b"\n", InvalidSecretValue::Empty),
        (b"\r\n", InvalidSecretValue::Empty),
        (b"a\xff", InvalidSecretValue::NotUtf8),
        (b"a\n\n", InvalidSecretValue::LineBreak),
        (b"a\nb", InvalidSecretValue::LineBreak),
        (b"a\r", InvalidSecretValue::LineBreak),
        (b" a", InvalidSecretValue::SurroundedByWhitespace),
        (b"a \n", InvalidSecretValue::SurroundedByWhitespace),
        (b"a\tb", InvalidSecretValue::Unprintable),
        (b"a\0b", InvalidSecretValue::Unprintable),
        (b"\xef\xbb\xbfabc", InvalidSecretValue::Unprintable),
        ("a\u{a0}b".as_bytes(), InvalidSecretValue::Unprintable),
        (long.as_bytes(), InvalidSecretValue::TooLong),
    ] {
        assert_eq!(secret_text(bytes).unwrap_err(), why, "{}", String::from_utf8_lossy(bytes));
        assert_eq!(Token::parse(bytes).unwrap_err(), why, "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(Token::parse(b"Bearer abc").unwrap_err(), InvalidSecretValue::HoldsWhitespace);
    assert_eq!(Token::parse("ü".as_bytes()).unwrap_err(), InvalidSecretValue::Unprintable);
}

#[test]
fn a_token_is_never_shown() {
    let token = Token::parse(b"SECRET").unwrap();
    assert_eq!(format!("{token:?}"), "Token(REDACTED)");
    assert!(token.bearer().is_sensitive());
    assert!(!format!("{:?}", token.bearer()).contains("SECRET"));
    let fetched = Fetched { token, expires_in: None };
    assert!(!format!("{fetched:?}").contains("SECRET"));
}

#[test]
fn a_tokens_end_is_read() {
    let end = |exp: Value| Claims::read(&jwt(&json!({"exp": exp}))).expires.map(Timestamp::as_second);
    assert_eq!(end(json!(1_700_000_000)), Some(1_700_000_000));
    assert_eq!(end(json!(1_700_000_000.9)), Some(1_700_000_000));
    assert_eq!(end(json!(1.7e9)), Some(1_700_000_000));
    for exp in
        [json!("1700000000"), json!(null), json!(1e300), json!(-1e300), json!(u64::MAX), json!(i64::MIN), json!([1])]
    {
        assert_eq!(end(exp.clone()), None, "{exp}");
    }
}

#[test]
fn a_tokens_tenant_is_read_from_wherever_it_stands() {
    let tenant = |claims: Value| Claims::read(&jwt(&claims)).tenant;
    for claims in [
        json!({"tsg_id": "1234"}),
        json!({"tsg_id": 1234}),
        json!({"scope": "tsg_id:1234"}),
        json!({"scope": "openid  tsg_id:1234 email"}),
        json!({"scp": ["openid", "tsg_id:1234"]}),
        json!({"scope": ["openid tsg_id:1234"]}),
        json!({"scope": "tsg_id:1234", "scp": ["tsg_id:1234"]}),
        json!({"tsg_id": "1234", "scope": "tsg_id:5"}),
        json!({"tsg_id": null, "scope": "tsg_id:1234"}),
    ] {
        assert_eq!(tenant(claims.clone()).as_deref(), Some("1234"), "{claims}");
    }
    for claims in [
        json!({}),
        json!({"tsg_id": ""}),
        json!({"tsg_id": "a b"}),
        json!({"tsg_id": -1}),
        json!({"tsg_id": 1.5}),
        json!({"tsg_id": "x".repeat(65)}),
        json!({"scope": "tsg_id:"}),
        json!({"scope": "xtsg_id:1"}),
        json!({"scope": "tsg_id:1 tsg_id:2"}),
        json!({"scope": {"tsg_id": "1"}}),
    ] {
        assert_eq!(tenant(claims.clone()), None, "{claims}");
    }
}

#[test]
fn what_is_no_jwt_tells_nothing() {
    let payload = URL_SAFE_NO_PAD.encode(r#"{"exp":1,"tsg_id":"1"}"#);
    for text in [
        "opaque",
        "a.b",
        "a.b.c",
        "...",
        "..",
        &format!("a.{payload}"),
        &format!("a.{payload}.c.d"),
        "a.e30.c",
        "a.W10.c",
    ] {
        assert_eq!(Claims::read(&Token::parse(text.as_bytes()).unwrap()), Claims::default(), "{text}");
    }
    let padded = URL_SAFE.encode(r#"{"tsg_id":"123"}"#);
    assert!(padded.ends_with('='));
    let token = Token::parse(format!("a.{padded}.c").as_bytes()).unwrap();
    assert_eq!(Claims::read(&token).tenant.as_deref(), Some("123"));
}

async fn fetch(fake: &Fake) -> Result<Fetched, Failure> {
    let endpoint = TokenEndpoint::new(&fake.settings, &format!("{}/oauth2/access_token", fake.url)).unwrap();
    endpoint.fetch_service_account_token(&secret("id@example"), &secret("s+e&c"), "123").await
}

#[tokio::test]
async fn a_token_is_asked_for_as_the_vendor_documents() {
    let fake = Fake::answering(Reply::json(
        200,
        r#"{"access_token":"abc","token_type":"Bearer","expires_in":899,"scope":"tsg_id:123"}"#,
    ))
    .await;
    let fetched = fetch(&fake).await.unwrap();
    assert_eq!(fetched.token.0.expose_secret(), "abc");
    assert_eq!(fetched.expires_in, Some(Duration::from_secs(899)));
    let Request { line, body, .. } = fake.only();
    assert_eq!(line, "POST /oauth2/access_token");
    assert_eq!(body, "grant_type=client_credentials&scope=tsg_id%3A123");
    let basic = base64::engine::general_purpose::STANDARD.encode("id@example:s+e&c");
    assert_eq!(fake.only().header("authorization"), Some(format!("Basic {basic}").as_str()));
}

#[tokio::test]
async fn a_refused_service_account_is_the_credentials_fault() {
    for status in [400, 401] {
        let body = r#"{"error":"invalid_client","error_description":"SECRET"}"#;
        let failure = fetch(&Fake::answering(Reply::json(status, body)).await).await.unwrap_err();
        assert_eq!((failure.reason, failure.class), (Reason::TokenRequestRejected, Class::Credential));
        assert_eq!((failure.http_status, failure.code.as_deref()), (Some(status), Some("invalid_client")));
        assert!(!format!("{failure} {failure:?}").contains("SECRET"));
        let failure = fetch(&Fake::answering(Reply::new(status, "", "<html>")).await).await.unwrap_err();
        assert_eq!(failure.reason, Reason::TokenRequestRejected);
    }
}

#[tokio::test]
async fn anything_else_is_an_endpoint_that_is_not_available() {
    let replies = [
        Reply::new(429, "retry-after: 7\r\n", ""),
        Reply::new(302, "location: /elsewhere\r\n", ""),
        Reply::json(403, r#"{"error":"x"}"#),
        Reply::json(500, r#"{"_errors":[{"code":"E016","message":"Invalid Credential"}]}"#),
        Reply::json(200, ""),
        Reply::json(200, "<html>SECRET"),
        Reply::json(200, "{}"),
        Reply::json(200, r#"{"access_token":"SECRET with spaces"}"#),
        Reply::json(200, r#"{"access_token":7}"#),
        Reply::Cut(Vec::new()),
        Reply::Cut(b"HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\n{\"access_token\":\"SECRET\"}".to_vec()),
    ];
    for reply in replies {
        let fake = Fake::answering(reply.clone()).await;
        let failure = fetch(&fake).await.unwrap_err();
        assert_eq!((failure.reason, failure.class), (Reason::TokenEndpointUnavailable, Class::Server), "{reply:?}");
        assert_eq!(failure.retry_after.is_some(), failure.http_status == Some(429));
        assert!(!format!("{failure} {failure:?}").contains("SECRET"), "{failure:?}");
        assert_eq!(fake.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_validity_is_read_in_every_form_or_left_out() {
    for (expires_in, seconds) in [
        ("899", Some(899)),
        ("\"899\"", Some(899)),
        ("899.5", Some(899)),
        ("0", Some(0)),
        ("1e99", None),
        ("1e12", Some(366 * 24 * 3600)),
        ("-1", None),
        ("null", None),
        ("\"NaN\"", None),
    ] {
        let body = format!(r#"{{"access_token":"abc","expires_in":{expires_in}}}"#);
        let fetched = fetch(&Fake::answering(Reply::json(200, &body)).await).await.unwrap();
        assert_eq!(fetched.expires_in.map(|validity| validity.as_secs()), seconds, "{expires_in}");
    }
}

#[test]
fn the_endpoints_url_is_checked_by_the_name_of_its_flag() {
    provider();
    let error = TokenEndpoint::new(&Settings::default(), "http://auth.example.com/token").unwrap_err();
    assert!(error.to_string().starts_with("--auth-url is plain http"), "{error}");
    assert!(TokenEndpoint::new(&Settings::default(), DEFAULT_AUTH_URL).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_make_parsing_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = secret_text(&bytes);
        if let Ok(token) = Token::parse(&bytes) {
            prop_assert!(token.bearer().is_sensitive());
            let _ = Claims::read(&token);
        }
    }

    #[test]
    fn no_claims_make_reading_panic(exp in any::<f64>(), tsg in "\\PC{0,70}", scope in "[a-z_: ]{0,30}", raw in prop::collection::vec(any::<u8>(), 0..40)) {
        for claims in [json!({"exp": exp, "tsg_id": tsg}), json!({"scope": [scope, tsg]}), json!([exp])] {
            let read = Claims::read(&jwt(&claims));
            prop_assert!(read.tenant.is_none_or(|tenant| tenant.len() <= 64));
        }
        let token = Token::parse(format!("a.{}.b", URL_SAFE_NO_PAD.encode(raw)).as_bytes()).unwrap();
        let _ = Claims::read(&token);
    }
}
