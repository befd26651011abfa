use std::io::Write as _;

use serde_json::{Map, json};
use tokio::time::timeout;

use super::*;
use crate::sse::error::{Acted, Class, Reason};
use crate::sse::transport::MOST_OF_AN_ANSWER;
use crate::sse::transport::fake::{Fake, Reply, Request, provider};

const OBJECT: &str = r#"{"id":"abcd-1234","name":"okta","mfa_cert_profile":"SECRET"}"#;
const ABSENT: &str = r#"{"_errors":[{"code":"E005","message":"Object Not Present","details":{}}],"_request_id":"r-1"}"#;

fn token() -> Token {
    Token::parse(b"TOKEN").unwrap()
}

fn body() -> Body {
    let fields: Map<String, Value> = json!({"name": "okta"}).as_object().unwrap().clone();
    Body::of(&fields)
}

fn client(fake: &Fake) -> Client {
    Client::new(&fake.settings).unwrap()
}

async fn create(fake: &Fake) -> Result<Option<Remote>, Failure> {
    client(fake).create(&token(), Folder::MobileUsers, Position::Pre, &body()).await
}

#[tokio::test]
async fn a_creation_is_one_post_with_folder_and_position_in_the_query() {
    let fake = Fake::answering(Reply::json(201, OBJECT)).await;
    let created = create(&fake).await.unwrap().unwrap();
    assert_eq!((created.id.as_str(), created.name.as_str()), ("abcd-1234", "okta"));
    let request = fake.only();
    assert_eq!(request.line, "POST /sse/config/v1/mfa-servers?position=pre&folder=Mobile+Users");
    assert_eq!(request.body, r#"{"name":"okta"}"#);
    assert_eq!(request.header("authorization"), Some("Bearer TOKEN"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("accept"), Some("application/json"));
    assert!(request.header("user-agent").unwrap().starts_with("mfa-operator/"));
}

#[tokio::test]
async fn every_folder_is_encoded_so_that_it_is_read_back_as_it_was() {
    let fake = Fake::answering(Reply::json(200, "[]")).await;
    for folder in Folder::ALL {
        client(&fake).list(&token(), folder, 0, 200).await.unwrap();
    }
    for (request, folder) in fake.requests().iter().zip(Folder::ALL) {
        let url = Url::parse(&format!("{}{}", fake.url, request.line.strip_prefix("GET ").unwrap())).unwrap();
        let query: Vec<_> = url.query_pairs().into_owned().collect();
        let expected = [("folder", folder.as_str()), ("offset", "0"), ("limit", "200")];
        assert_eq!(query, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(url.path(), "/sse/config/v1/mfa-servers");
    }
}

#[tokio::test]
async fn a_path_in_the_apis_address_is_a_prefix() {
    let fake = Fake::answering(Reply::json(200, OBJECT)).await;
    for (prefix, path) in [("", ""), ("/", ""), ("/gateway", "/gateway"), ("/a/b/", "/a/b")] {
        let settings = Settings { api_url: format!("{}{prefix}", fake.url), ..fake.settings.clone() };
        Client::new(&settings).unwrap().get(&token(), "abcd-1234").await.unwrap();
        let request = fake.requests().pop().unwrap();
        assert_eq!(request.line, format!("GET {path}/sse/config/v1/mfa-servers/abcd-1234"));
    }
}

#[tokio::test]
async fn a_creation_without_a_usable_object_in_the_answer_is_still_one() {
    for answer in ["", "  \n", "{}", "null", r#"{"success":true}"#, r#"{"name":"okta"}"#, r#"{"id":"../x"}"#] {
        let fake = Fake::answering(Reply::json(201, answer)).await;
        assert_eq!(create(&fake).await.unwrap(), None, "{answer}");
    }
    let fake = Fake::answering(Reply::new(204, "", "")).await;
    assert_eq!(create(&fake).await.unwrap(), None);
    let fake = Fake::answering(Reply::json(200, &format!("[{OBJECT}]"))).await;
    assert_eq!(create(&fake).await.unwrap().unwrap().id, "abcd-1234");
}

#[tokio::test]
async fn a_success_that_the_api_cannot_have_sent_leaves_open_whether_it_acted() {
    for answer in ["<html>SECRET</html>", r#"{"id":"abcd-12"#, r#"{"_errors":[{"message":"Name Not Unique"}]}"#] {
        let reply = || Reply::new(200, "x-request-id: r-2\r\n", answer);
        for failure in [
            create(&Fake::answering(reply()).await).await.unwrap_err(),
            client(&Fake::answering(reply()).await).replace(&token(), "a", &body()).await.unwrap_err(),
            client(&Fake::answering(reply()).await).delete(&token(), "a").await.unwrap_err(),
            client(&Fake::answering(reply()).await).get(&token(), "a").await.unwrap_err(),
            client(&Fake::answering(reply()).await).list(&token(), Folder::Shared, 0, 9).await.unwrap_err(),
        ] {
            assert_eq!((failure.reason, failure.class), (Reason::UnexpectedResponse, Class::Server), "{answer}");
            assert_eq!((failure.acted, failure.http_status), (Acted::Perhaps, Some(200)));
            assert_eq!(failure.request_id.as_deref(), Some("r-2"));
            assert!(!format!("{failure} {failure:?}").contains("SECRET"));
        }
    }
}

#[tokio::test]
async fn an_object_is_got_by_id_from_an_object_or_an_array() {
    for answer in [OBJECT.to_owned(), format!("[{OBJECT}]"), format!(r#"{{"data":[{OBJECT}],"total":1}}"#)] {
        let fake = Fake::answering(Reply::json(200, &answer)).await;
        let remote = client(&fake).get(&token(), "abcd-1234").await.unwrap().unwrap();
        assert_eq!(remote.name, "okta");
        assert_eq!(fake.only().line, "GET /sse/config/v1/mfa-servers/abcd-1234");
    }
    for answer in ["[]", "{}", "", r#"{"id":"other","name":"okta"}"#] {
        let fake = Fake::answering(Reply::json(200, answer)).await;
        let failure = client(&fake).get(&token(), "abcd-1234").await.unwrap_err();
        assert_eq!(failure.reason, Reason::UnexpectedResponse, "{answer}");
    }
}

#[tokio::test]
async fn only_the_documented_form_is_an_absence() {
    let fake = Fake::answering(Reply::json(404, ABSENT)).await;
    assert_eq!(client(&fake).get(&token(), "a").await.unwrap(), None);
    client(&fake).delete(&token(), "a").await.unwrap();
    assert_eq!(client(&fake).replace(&token(), "a", &body()).await.unwrap_err().reason, Reason::ObjectNotPresent);
    let failure = client(&fake).list(&token(), Folder::Shared, 0, 9).await.unwrap_err();
    assert_eq!((failure.reason, failure.class), (Reason::ObjectNotPresent, Class::Server));
    let failure = create(&fake).await.unwrap_err();
    assert_eq!((failure.reason, failure.class, failure.acted), (Reason::ObjectNotPresent, Class::Input, Acted::No));
    assert_eq!(failure.request_id.as_deref(), Some("r-1"));

    for answer in ["", "<html>404 Object Not Present</html>", "{}", r#"{"message":"Object Not Present"}"#] {
        let fake = Fake::answering(Reply::json(404, answer)).await;
        for failure in [
            client(&fake).get(&token(), "a").await.unwrap_err(),
            client(&fake).delete(&token(), "a").await.unwrap_err(),
        ] {
            assert_eq!((failure.reason, failure.class), (Reason::UnexpectedResponse, Class::Server), "{answer}");
            assert_eq!(failure.acted, Acted::Perhaps);
        }
    }
}

#[tokio::test]
async fn a_page_is_read_with_its_total() {
    let answer = format!(r#"{{"data":[{OBJECT},{{"name":"no id"}}],"offset":0,"total":2,"limit":200}}"#);
    let fake = Fake::answering(Reply::json(200, &answer)).await;
    let part = client(&fake).list(&token(), Folder::Shared, 40, 20).await.unwrap();
    assert_eq!((part.items.len(), part.dropped, part.total, part.limit, part.bare), (1, 1, Some(2), Some(200), false));
    assert_eq!(fake.only().line, "GET /sse/config/v1/mfa-servers?folder=Shared&offset=40&limit=20");
}

#[tokio::test]
async fn a_replacement_may_answer_with_the_object_or_without() {
    for (answer, known) in [(OBJECT, true), (r#"{"name":"okta"}"#, true), ("", false), ("{}", false)] {
        let fake = Fake::answering(Reply::json(200, answer)).await;
        let replaced = client(&fake).replace(&token(), "abcd-1234", &body()).await.unwrap();
        assert_eq!(replaced.map(|remote| remote.id), known.then(|| "abcd-1234".to_owned()), "{answer}");
        let Request { line, body, .. } = fake.only();
        assert_eq!((line.as_str(), body.as_str()), ("PUT /sse/config/v1/mfa-servers/abcd-1234", r#"{"name":"okta"}"#));
    }
}

#[tokio::test]
async fn a_deletion_may_answer_with_a_body_or_without() {
    for answer in ["", OBJECT, "null", r#""ok""#] {
        let fake = Fake::answering(Reply::json(200, answer)).await;
        client(&fake).delete(&token(), "abcd-1234").await.unwrap();
        assert_eq!(fake.only().line, "DELETE /sse/config/v1/mfa-servers/abcd-1234");
    }
}

#[tokio::test]
async fn an_id_that_would_reach_another_route_is_refused_without_a_call() {
    let fake = Fake::answering(Reply::json(200, OBJECT)).await;
    for id in ["", "..", "../x", "a/b", "a?b", "a b", "a%2fb"] {
        for failure in [
            client(&fake).get(&token(), id).await.unwrap_err(),
            client(&fake).replace(&token(), id, &body()).await.unwrap_err(),
            client(&fake).delete(&token(), id).await.unwrap_err(),
        ] {
            assert_eq!((failure.reason, failure.acted), (Reason::UnexpectedResponse, Acted::No), "{id}");
        }
    }
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn every_failure_is_one_request() {
    for (status, reason) in [
        (401, Reason::Unauthenticated),
        (429, Reason::RateLimited),
        (500, Reason::ServerError),
        (503, Reason::ServerError),
        (504, Reason::ServerError),
    ] {
        let fake = Fake::answering(Reply::new(status, "retry-after: 3\r\n", "")).await;
        let failure = create(&fake).await.unwrap_err();
        assert_eq!((failure.reason, failure.retry_after), (reason, Some(Duration::from_secs(3))));
        fake.only();
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let fake = Fake::answering(Reply::new(status, "location: /elsewhere\r\n", "")).await;
        let failure = create(&fake).await.unwrap_err();
        assert_eq!((failure.reason, failure.acted), (Reason::UnexpectedResponse, Acted::Perhaps), "{status}");
        fake.only();
    }
}

#[tokio::test]
async fn a_server_that_hangs_ends_with_the_request_timeout() {
    for sent in [&b""[..], b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{\"id\":", b"HTTP/1.1 200 X\r\n"] {
        let mut fake = Fake::answering(Reply::Hang(sent.to_vec())).await;
        fake.settings.request_timeout = Duration::from_millis(300);
        let failure = timeout(Duration::from_secs(20), create(&fake)).await.unwrap().unwrap_err();
        assert_eq!((failure.class, failure.acted), (Class::Server, Acted::Perhaps));
        assert!(matches!(failure.reason, Reason::Unreachable | Reason::UnexpectedResponse));
        fake.only();
    }
}

#[tokio::test]
async fn a_reset_leaves_open_whether_the_tenant_acted() {
    let cut = b"HTTP/1.1 201 X\r\ncontent-length: 100\r\n\r\n{\"id\":\"abcd-1234\"".to_vec();
    for (sent, reason) in [(Vec::new(), Reason::Unreachable), (cut, Reason::UnexpectedResponse)] {
        let fake = Fake::answering(Reply::Cut(sent)).await;
        let failure = create(&fake).await.unwrap_err();
        assert_eq!((failure.reason, failure.class, failure.acted), (reason, Class::Server, Acted::Perhaps));
        fake.only();
    }
}

#[tokio::test]
async fn a_refusal_counts_even_if_its_body_breaks_off() {
    for (status, reason) in [(409, Reason::Conflict), (401, Reason::Unauthenticated), (429, Reason::RateLimited)] {
        let sent = format!("HTTP/1.1 {status} X\r\ncontent-length: 100\r\n\r\n{{\"_errors\":[");
        let fake = Fake::answering(Reply::Cut(sent.into_bytes())).await;
        let failure = create(&fake).await.unwrap_err();
        assert_eq!((failure.reason, failure.acted), (reason, Acted::No));
    }
}

#[tokio::test]
async fn where_no_connection_comes_about_the_tenant_has_not_acted() {
    let mut fake = Fake::answering(Reply::json(200, OBJECT)).await;
    // Bound and dropped: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fake.settings.api_url = format!("http://{free}");
    let failure = create(&fake).await.unwrap_err();
    assert_eq!((failure.reason, failure.class, failure.acted), (Reason::Unreachable, Class::Server, Acted::No));
    // A server that never ends the handshake was sent nothing either.
    fake.settings.request_timeout = Duration::from_secs(1);
    fake.settings.api_url = fake.url.replace("http://", "https://");
    let failure = create(&fake).await;
    assert_eq!(failure.unwrap_err().acted, Acted::No);
}

fn gzipped(chunk: &[u8], times: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..times {
        encoder.write_all(chunk).unwrap();
    }
    encoder.finish().unwrap()
}

#[tokio::test]
async fn an_answer_may_be_packed() {
    let fake = Fake::answering(Reply::new(200, "content-encoding: gzip\r\n", gzipped(OBJECT.as_bytes(), 1))).await;
    assert_eq!(client(&fake).get(&token(), "abcd-1234").await.unwrap().unwrap().name, "okta");
    assert!(fake.only().header("accept-encoding").unwrap().contains("gzip"));
    let broken = Fake::answering(Reply::new(200, "content-encoding: gzip\r\n", OBJECT)).await;
    assert_eq!(client(&broken).get(&token(), "abcd-1234").await.unwrap_err().reason, Reason::UnexpectedResponse);
}

#[tokio::test]
async fn an_answer_is_counted_after_it_is_unpacked_and_no_more_is_read_than_fits() {
    let bomb = gzipped(&vec![b' '; 1 << 20], 64);
    assert!(bomb.len() < 1 << 20);
    let plain = vec![b' '; MOST_OF_AN_ANSWER + 1];
    for reply in [Reply::new(200, "content-encoding: gzip\r\n", bomb), Reply::new(200, "", plain)] {
        let fake = Fake::answering(reply).await;
        let failure = client(&fake).list(&token(), Folder::Shared, 0, 200).await.unwrap_err();
        assert_eq!((failure.reason, failure.acted), (Reason::UnexpectedResponse, Acted::Perhaps));
        let source = std::error::Error::source(&failure).unwrap();
        assert_eq!(source.to_string(), "the answer is longer than 8388608 bytes");
    }
    let fits = vec![b' '; MOST_OF_AN_ANSWER];
    let fake = Fake::answering(Reply::new(200, "", fits)).await;
    assert_eq!(create(&fake).await.unwrap(), None);
}

#[tokio::test]
async fn a_huge_refusal_is_read_by_its_status() {
    let body = [ABSENT.as_bytes(), &vec![b' '; 1 << 20]].concat();
    let fake = Fake::answering(Reply::new(404, "", body)).await;
    assert_eq!(client(&fake).get(&token(), "a").await.unwrap_err().reason, Reason::UnexpectedResponse);
}

/// Everything that is logged, by whatever crate.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_call_is_one_line_of_log_and_no_token_or_body_is_logged_at_any_level() {
    let refusal =
        r#"{"_errors":[{"code":"E003","message":"Invalid Object: SECRET","details":"SECRET"}],"_request_id":"r-3"}"#;
    let fake = Fake::start(move |request| {
        if request.line.starts_with("PUT") {
            Reply::json(400, refusal)
        } else {
            Reply::new(200, "x-request-id: r-2\r\n", OBJECT)
        }
    })
    .await;
    let client = client(&fake);
    let token = Token::parse(b"SECRET").unwrap();
    let secret = Body::of(json!({"okta_token": "SECRET"}).as_object().unwrap());
    let calls = async || {
        client.create(&token, Folder::MobileUsers, Position::Pre, &secret).await.unwrap();
        client.replace(&token, "abcd-1234", &secret).await.unwrap_err()
    };
    // While there is one listener alone, a log statement is heard as the thread hears that reaches it first, and that may
    // be another test's. So there are two.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::callsite::rebuild_interest_cache();
    let failure = calls().await;
    tracing::error!(error = ?failure, "{failure}");
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("SECRET"), "{text}");
    let lines: Vec<_> = text.lines().filter(|line| line.contains("SSE call")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    for part in ["DEBUG", "POST", "/sse/config/v1/mfa-servers\"", "Mobile Users", "status=200", "duration_ms=", "r-2"] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
    for part in ["PUT", "/sse/config/v1/mfa-servers/{id}\"", "status=400", "r-3", "InvalidObject"] {
        assert!(lines[1].contains(part), "{part}: {}", lines[1]);
    }
}

#[tokio::test]
async fn clones_share_their_connections() {
    let fake = Fake::answering(Reply::json(200, "[]")).await;
    let client = client(&fake);
    for _ in 0..5 {
        client.clone().list(&token(), Folder::Shared, 0, 200).await.unwrap();
    }
    assert_eq!((fake.requests().len(), fake.connections()), (5, 1));
}

#[test]
fn settings_that_would_send_tokens_in_the_clear_are_refused() {
    provider();
    let new =
        |url: &str, allow_http| Client::new(&Settings { api_url: url.to_owned(), allow_http, ..Settings::default() });
    let error = new("http://api.example.com", false).unwrap_err();
    assert!(error.to_string().starts_with("--api-url is plain http"), "{error}");
    assert!(new("http://api.example.com", true).is_ok());
    assert!(new(DEFAULT_API_URL, false).is_ok());
}
