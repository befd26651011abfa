use super::*;

fn refused(url: &str) -> InvalidSettings {
    endpoint("--api-url", url, false).unwrap_err()
}

#[test]
fn https_and_http_to_the_loopback_are_good() {
    for url in [
        "https://api.example.com",
        "https://api.example.com/prefix/",
        "https://api.example.com:8443",
        "http://127.0.0.1:8080",
        "http://127.9.9.9",
        "http://localhost:1",
        "http://[::1]:8080",
        " https://api.example.com\n",
    ] {
        assert!(endpoint("--api-url", url, false).is_ok(), "{url}");
    }
}

#[test]
fn http_to_another_host_needs_consent() {
    for url in
        ["http://api.example.com", "http://10.0.0.1", "http://localhost.example.com", "http://0.0.0.0", "http://[::2]"]
    {
        assert!(matches!(refused(url), InvalidSettings::PlainHttp { .. }), "{url}");
        assert!(endpoint("--api-url", url, true).is_ok(), "{url}");
    }
}

#[test]
fn a_url_that_cannot_be_used_is_refused_by_the_name_of_its_flag_and_not_shown() {
    for (url, why) in [
        ("", "is not a URL"),
        ("api.example.com", "is not a URL"),
        ("https://", "is not a URL"),
        ("ftp://api.example.com", "neither https nor http"),
        ("file:///etc/passwd", "neither https nor http"),
        ("mailto:SECRET@example.com", "neither https nor http"),
        ("https://user:SECRET@api.example.com", "user name or a password"),
        ("https://SECRET@api.example.com", "user name or a password"),
        ("https://api.example.com?key=SECRET", "query or a fragment"),
        ("https://api.example.com#SECRET", "query or a fragment"),
        ("http://api.example.com", "--allow-http"),
    ] {
        let error = refused(url);
        assert!(error.to_string().starts_with("--api-url ") && error.to_string().contains(why), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
    }
}

#[test]
fn a_bundle_without_a_certificate_is_refused() {
    fake::provider();
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in [&b""[..], b"rubbish", b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", broken] {
        let settings = Settings { extra_ca: Some(pem.to_vec()), ..Settings::default() };
        assert!(http(&settings).is_err(), "{:?}", String::from_utf8_lossy(pem));
    }
    assert!(http(&Settings::default()).is_ok());
}

/// A server that speaks TLS with a certificate of a CA of its own; answers every connection once.
fn tls_server() -> (String, Vec<u8>) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        while let Ok((stream, _)) = listener.accept() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 X\r\nconnection: close\r\ncontent-length: 2\r\n\r\n[]");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    (format!("https://localhost:{port}"), ca.pem().into_bytes())
}

#[tokio::test]
async fn a_server_is_trusted_by_the_extra_bundle_and_by_nothing_else() {
    use crate::sse::{Acted, Client, Reason, Token, types::Folder};

    fake::provider();
    let (api_url, ca) = tls_server();
    let (_, other) = tls_server();
    let list = async |extra_ca| {
        let settings = Settings { api_url: api_url.clone(), allow_http: true, extra_ca, ..Settings::default() };
        let client = Client::new(&settings).unwrap();
        client.list(&Token::parse(b"TOKEN").unwrap(), Folder::Shared, 0, 1).await.map(|part| part.items.len())
    };
    assert_eq!(list(Some([other.clone(), ca].concat())).await.unwrap(), 0);
    for extra in [None, Some(other)] {
        let failure = list(extra).await.unwrap_err();
        assert_eq!((failure.reason, failure.acted), (Reason::Unreachable, Acted::No));
    }
}
