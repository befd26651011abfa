//! Create, read, change, delete; names, echoes, references, and the other administrator's hand.

use serde_json::{Value, json};

use super::super::{Answers, Folder, Position, Refused, SecretEcho, TimeoutEcho};
use super::{SECRET, SERVERS, TSG, create_path, id_of, okta, start, start_answering};

const TOKEN_FIELD: &str = "/mfa_vendor_type/okta_adaptive_v1/okta_token";
const TIMEOUT_FIELD: &str = "/mfa_vendor_type/okta_adaptive_v1/okta_timeout";

#[tokio::test]
async fn an_object_is_created_read_changed_and_deleted() {
    let (simulator, client) = start().await;
    let created = client.create("Mobile Users", &okta("a")).await;
    assert_eq!(created.status, 201);
    let path = format!("{SERVERS}/{}", id_of(&created));
    assert_eq!(client.get(&path).await.json(), created.json());
    let mut body = okta("a");
    body["mfa_cert_profile"] = json!("other-ca");
    let updated = client.call("PUT", &path, Some(&body)).await;
    assert_eq!((updated.status, &updated.json()["mfa_cert_profile"]), (200, &json!("other-ca")));
    let stored = &simulator.objects()[0];
    assert_eq!((stored.version, stored.by_hand, stored.body.clone()), (2, false, body));
    assert_eq!(client.call("DELETE", &path, None).await.status, 200);
    for (method, body) in [("GET", None), ("PUT", Some(okta("a"))), ("DELETE", None)] {
        let gone = client.call(method, &path, body.as_ref()).await;
        assert_eq!((gone.status, gone.message().as_str()), (404, "Object Not Present"), "{method}");
    }
}

#[tokio::test]
async fn a_put_replaces_the_whole_object() {
    let (simulator, client) = start().await;
    let id = id_of(&client.create("Shared", &okta("a")).await);
    let body = json!({"name": "a", "mfa_cert_profile": "c"});
    assert_eq!(client.call("PUT", &format!("{SERVERS}/{id}"), Some(&body)).await.status, 200);
    assert_eq!(simulator.objects()[0].body, body);
}

#[tokio::test]
async fn a_name_is_unique_within_its_folder() {
    let (_simulator, client) = start().await;
    let id = id_of(&client.create("Mobile Users", &okta("a")).await);
    let again = client.create("Mobile Users", &okta("a")).await;
    assert_eq!((again.status, again.message().as_str()), (409, "Name Not Unique"));
    assert_eq!(client.create("Shared", &okta("a")).await.status, 201, "another folder");
    assert_eq!(client.create("Mobile Users", &okta("b")).await.status, 201);
    let renamed = client.call("PUT", &format!("{SERVERS}/{id}"), Some(&okta("b"))).await;
    assert_eq!(renamed.status, 409);
    assert_eq!(client.call("PUT", &format!("{SERVERS}/{id}"), Some(&okta("c"))).await.status, 200);
    assert_eq!(client.create("Mobile Users", &okta("a")).await.status, 201, "the old name is free");
}

#[tokio::test]
async fn an_inherited_name_conflicts_where_the_tenant_says_so() {
    let (_simulator, client) = start_answering(|answers| answers.inherited_names_conflict = true).await;
    assert_eq!(client.create("Shared", &okta("a")).await.status, 201);
    assert_eq!(client.create("Mobile Users", &okta("a")).await.status, 409);
}

#[tokio::test]
async fn a_referenced_object_is_not_deleted() {
    let (simulator, client) = start().await;
    let id = id_of(&client.create("Shared", &okta("a")).await);
    let path = format!("{SERVERS}/{id}");
    simulator.tenant(TSG).set_references(&id, 1).unwrap();
    let refused = client.call("DELETE", &path, None).await;
    assert_eq!((refused.status, refused.message().as_str()), (409, "Reference Not Zero"));
    simulator.tenant(TSG).set_references(&id, 0).unwrap();
    assert_eq!(client.call("DELETE", &path, None).await.status, 200);
}

#[tokio::test]
async fn answers_to_writes_come_with_or_without_a_body() {
    let (simulator, client) = start().await;
    simulator.tenant(TSG).answer(|answers| *answers = Answers::documented());
    let created = client.create("Shared", &okta("a")).await;
    assert_eq!((created.status, created.text.as_str()), (200, ""));
    let id = simulator.objects()[0].id.clone();
    let path = format!("{SERVERS}/{id}");
    assert!(client.get(&path).await.json()[0]["id"] == json!(id), "an array, as documented");
    let updated = client.call("PUT", &path, Some(&okta("a"))).await;
    assert_eq!((updated.status, updated.text.as_str()), (200, ""));
    let deleted = client.call("DELETE", &path, None).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (200, ""));
    simulator.tenant(TSG).answer(|answers| {
        *answers = Answers { create_status: 200, item_folder: false, ..Answers::default() };
    });
    let created = client.create("Shared", &okta("a")).await;
    assert_eq!((created.status, created.json().get("folder")), (200, None));
    let deleted = client.call("DELETE", &format!("{SERVERS}/{}", id_of(&created)), None).await;
    assert_eq!(deleted.json()["name"], "a");
}

#[tokio::test]
async fn the_published_sample_is_echoed_as_a_digest_and_a_ciphertext() {
    let (_simulator, client) = start().await;
    let created = client.create("Shared", &okta("a")).await;
    let echo = created.json().pointer(TOKEN_FIELD).unwrap().as_str().unwrap().to_owned();
    let published = "-AQ==evdypN5IrznU/9l3Lsgcrbl1QpU=";
    assert!(echo.starts_with(published), "{echo}");
    let ciphertext = &echo[published.len()..];
    assert!(ciphertext.len() > 24 && ciphertext.ends_with('='), "{ciphertext}");
    let path = format!("{SERVERS}/{}", id_of(&created));
    assert_eq!(client.get(&path).await.json().pointer(TOKEN_FIELD).unwrap(), &json!(echo), "stable");
    let written = client.call("PUT", &path, Some(&okta("a"))).await.json();
    let written = written.pointer(TOKEN_FIELD).unwrap().as_str().unwrap().to_owned();
    assert!(written.starts_with(published) && written != echo, "another ciphertext with each write");
}

#[tokio::test]
async fn every_vendors_secrets_are_echoed_as_the_tenant_says() {
    let vendors = [
        ("okta_adaptive_v1", vec!["okta_token"]),
        ("duo_security_v2", vec!["duo_secret_key"]),
        ("ping_identity_v1", vec!["ping_token", "ping_use_base64_key"]),
        ("rsa_securid_access_v1", vec!["rsa_accesskey"]),
    ];
    let (simulator, client) = start().await;
    for (vendor, secrets) in vendors {
        let fields: serde_json::Map<String, Value> =
            secrets.iter().map(|secret| ((*secret).to_owned(), json!(SECRET))).collect();
        let body = json!({"name": vendor, "mfa_cert_profile": "c", "mfa_vendor_type": {vendor: fields}});
        let id = id_of(&client.create("Shared", &body).await);
        for (echo, wanted) in [
            (SecretEcho::Mask, Some(json!("********"))),
            (SecretEcho::Plaintext, Some(json!(SECRET))),
            (SecretEcho::Absent, None),
        ] {
            simulator.tenant(TSG).answer(|answers| answers.secrets = echo);
            let got = client.get(&format!("{SERVERS}/{id}")).await.json();
            for secret in &secrets {
                assert_eq!(got["mfa_vendor_type"][vendor].get(*secret), wanted.as_ref(), "{secret} {echo:?}");
            }
        }
    }
}

#[tokio::test]
async fn timeouts_are_echoed_as_strings_or_integers() {
    let (simulator, client) = start_answering(|answers| answers.integer_timeouts = true).await;
    let text = id_of(&client.create("Shared", &okta("text")).await);
    let mut body = okta("number");
    *body.pointer_mut(TIMEOUT_FIELD).unwrap() = json!(30);
    let number = id_of(&client.create("Shared", &body).await);
    for (echo, of_text, of_number) in [
        (TimeoutEcho::AsSent, json!("30"), json!(30)),
        (TimeoutEcho::String, json!("30"), json!("30")),
        (TimeoutEcho::Integer, json!(30), json!(30)),
    ] {
        simulator.tenant(TSG).answer(|answers| answers.timeouts = echo);
        for (id, wanted) in [(&text, of_text), (&number, of_number)] {
            let got = client.get(&format!("{SERVERS}/{id}")).await.json();
            assert_eq!(got.pointer(TIMEOUT_FIELD), Some(&wanted), "{echo:?}");
        }
    }
}

#[tokio::test]
async fn another_administrator_does_everything_outside_of_the_log() {
    let (simulator, client) = start().await;
    let tenant = simulator.tenant(TSG);
    let id = tenant.create(Folder::MobileUsers, Position::Post, &okta("a")).unwrap();
    assert_eq!(tenant.create(Folder::MobileUsers, Position::Pre, &okta("a")), Err(Refused::NameTaken));
    assert_eq!(tenant.create(Folder::Shared, Position::Pre, &json!({})), Err(Refused::Invalid));
    let patch =
        json!({"extra": 1, "mfa_vendor_type": {"okta_adaptive_v1": {"okta_token": "changed", "okta_org": null}}});
    tenant.edit(&id, &patch).unwrap();
    let stored = tenant.get(&id).unwrap();
    assert_eq!(stored.field(TOKEN_FIELD), Some(&json!("changed")));
    assert_eq!(stored.field("/mfa_vendor_type/okta_adaptive_v1/okta_org"), None);
    assert!(stored.by_hand && stored.version == 2);
    tenant.rename(&id, "b").unwrap();
    tenant.move_to(&id, Folder::Shared).unwrap();
    let new = tenant.swap_id(&id).unwrap();
    assert_eq!(tenant.get(&id), None);
    assert_eq!(tenant.find(Folder::Shared, "b").unwrap().id, new);
    assert_eq!(tenant.echo(&new), Some(client_echo(&client, &new).await));
    tenant.replace(&new, &okta("c")).unwrap();
    tenant.set_references(&new, 3).unwrap();
    tenant.delete(&new).unwrap();
    assert_eq!(tenant.delete(&new), Err(Refused::NotPresent));
    assert!(simulator.objects().is_empty());
    assert_eq!(simulator.log().entries().len(), 1, "only the client's own request");
}

async fn client_echo(client: &super::Client, id: &str) -> Value {
    client.get(&format!("{SERVERS}/{id}")).await.json()
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let (simulator, client) = start().await;
    let other = simulator.tenant("other");
    other.add_bearer_token("other-token");
    let id = id_of(&client.create("Shared", &okta("a")).await);
    let mut stranger = client.clone();
    stranger.token = Some("other-token".to_owned());
    assert_eq!(stranger.get(&format!("{SERVERS}/{id}")).await.status, 404);
    assert_eq!(stranger.list("Shared", "").await.names(), [""; 0]);
    assert_eq!(stranger.call("POST", &create_path("Shared"), Some(&okta("a"))).await.status, 201);
    assert_eq!(simulator.objects().len(), 2);
    other.remove_bearer_token("other-token");
    assert_eq!(stranger.list("Shared", "").await.status, 401);
}

#[test]
fn a_stored_objects_debug_text_holds_no_secret() {
    let object = super::super::StoredObject {
        tenant: TSG.to_owned(),
        id: "id".to_owned(),
        name: "a".to_owned(),
        folder: Folder::Shared,
        position: Position::Pre,
        body: okta("a"),
        references: 0,
        version: 1,
        by_hand: false,
    };
    assert!(!format!("{object:?}").contains(SECRET));
}
