//! Whatever form the API answers in, where its documents and practice differ: the same comes of it.

use mfa_sandbox::simulator::{
    Answers, ByName, Documented, ErrorForm, Folder, ListShape, Options, Route, Rule, SecretEcho, TenantOptions,
    TimeoutEcho,
};
use serde_json::json;

use crate::operator::{Stage, okta_with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_holds_to_the_document_and_refuses_pages_is_asked_without_them() {
    let stage = Stage::new().await;
    let strict = Rule::documented(Documented::InvalidQueryParameter).on("GET", Route::MfaServers);
    stage.simulator.inject(strict.once());
    let _operator = stage.operator().start();
    stage.apply(&okta_with("corp", &json!({}))).await;
    stage.wait_ready("corp", "True", "Available").await;
    stage.wait_requests("another list", |log| log.count("GET", Route::MfaServers) >= 3).await;
    let limits: Vec<_> = stage.simulator.log().with(|log| {
        log.entries().iter().filter(|entry| entry.method == "GET").map(|entry| entry.limit.is_some()).collect()
    });
    assert_eq!(limits[..3], [true, false, false]);
}

/// The forms, each the answers of a tenant of its own.
fn forms() -> Vec<(&'static str, Answers)> {
    let form = |change: fn(&mut Answers)| {
        let mut answers = Answers::default();
        change(&mut answers);
        answers
    };
    vec![
        ("documented", Answers::documented()),
        ("without-bodies", form(|it| (it.create_body, it.update_body, it.delete_body) = (false, false, false))),
        ("small-pages", form(|it| (it.max_limit, it.default_limit) = (2, 2))),
        ("pages-without-total", form(|it| it.list = ListShape::PageWithoutTotal)),
        (
            "small-pages-without-total",
            form(|it| (it.list, it.max_limit, it.default_limit) = (ListShape::PageWithoutTotal, 2, 2)),
        ),
        ("array", form(|it| (it.list, it.paging) = (ListShape::Array, false))),
        ("get-array", form(|it| it.get_array = true)),
        ("folder-untold", form(|it| it.item_folder = false)),
        ("not-inherited", form(|it| it.inherited = false)),
        ("masked", form(|it| it.secrets = SecretEcho::Mask)),
        ("plaintext", form(|it| it.secrets = SecretEcho::Plaintext)),
        ("no-echo", form(|it| it.secrets = SecretEcho::Absent)),
        ("integers", form(|it| (it.integer_timeouts, it.timeouts) = (false, TimeoutEcho::Integer))),
        ("error-type", form(|it| it.errors = ErrorForm::ErrorType)),
        ("error-array", form(|it| it.errors = ErrorForm::DetailsArray)),
        ("error-string", form(|it| it.errors = ErrorForm::DetailsString)),
        ("name-object", form(|it| it.by_name = ByName::Object)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_an_answer_leads_to_the_same_end() {
    const EACH: usize = 5;
    let forms = forms();
    let tsg = |number: usize| format!("20000000{number:02}");
    let token = |number: usize| format!("the-bearer-token-of-tenant-{number}");
    let mut options = Options::default();
    for (number, _) in forms.iter().enumerate() {
        options = options.tenant(&tsg(number), TenantOptions::with_bearer_token(&token(number)));
    }
    let stage = Stage::with(options).await;
    for (number, (form, answers)) in forms.iter().enumerate() {
        stage.simulator.tenant(&tsg(number)).answer(|it| *it = answers.clone());
        stage.secret(&format!("tenant-{form}"), &[("token", &token(number))]).await;
    }
    let _operator = stage.operator().flag("--api-qps", "0").start();
    let all = || forms.iter().flat_map(|(form, _)| (0..EACH).map(move |number| (form, format!("{form}-{number}"))));
    for (form, name) in all() {
        let spec = json!({ "credentialsSecretRef": { "name": format!("tenant-{form}") } });
        stage.apply(&okta_with(&name, &spec)).await;
    }
    for (_, name) in all() {
        stage.wait_ready(&name, "True", "Available").await;
    }
    for (_, name) in all() {
        stage.patch(&name, &json!({ "spec": { "mfaCertProfile": "another-ca" } })).await;
    }
    for (_, name) in all() {
        stage.wait_ready(&name, "True", "Available").await;
    }
    let log = stage.simulator.log();
    let count = (forms.len() * EACH) as u64;
    assert_eq!(log.count("POST", Route::MfaServers), count);
    assert_eq!(log.count("PUT", Route::MfaServer), count);
    // Two resyncs more change nothing, whatever the list echoes.
    let listed = log.count("GET", Route::MfaServers);
    stage.wait_requests("more lists", |log| log.count("GET", Route::MfaServers) > 2 * listed).await;
    assert_eq!(log.count("PUT", Route::MfaServer), count);
    assert_eq!(log.count("POST", Route::MfaServers), count);
    for (number, (form, _)) in forms.iter().enumerate() {
        let tenant = stage.simulator.tenant(&tsg(number));
        let objects = tenant.objects();
        assert_eq!(objects.len(), EACH, "{form}");
        let right = |name: &str| {
            let object = tenant.find(Folder::MobileUsers, name);
            object.and_then(|object| object.field("/mfa_cert_profile").cloned()) == Some(json!("another-ca"))
        };
        assert!((0..EACH).all(|number| right(&format!("{form}-{number}"))), "{form}");
    }
    for (_, name) in all() {
        stage.delete(&name).await;
    }
    for (_, name) in all() {
        stage.wait_gone(&name).await;
    }
    assert!(stage.simulator.objects().is_empty());
}
