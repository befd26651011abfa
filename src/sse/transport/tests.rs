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
