//! LIST: shapes, paging, inheritance, names.

use serde_json::json;

use super::super::{ByName, Folder, ListShape, Position, Simulator};
use super::{TSG, okta, start, start_answering};

fn fill(simulator: &Simulator, folder: Folder, names: impl IntoIterator<Item = String>) {
    for name in names {
        simulator.tenant(TSG).create(folder, Position::Pre, &okta(&name)).unwrap();
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("n{number:03}")).collect()
}

#[tokio::test]
async fn pages_hold_each_object_once_and_tell_the_total() {
    let (simulator, client) = start().await;
    fill(&simulator, Folder::Shared, numbered(450));
    let mut seen = Vec::new();
    for (offset, length) in [(0, 200), (200, 200), (400, 50), (600, 0)] {
        let page = client.list("Shared", &format!("&limit=200&offset={offset}")).await;
        let body = page.json();
        assert_eq!((&body["total"], &body["offset"], &body["limit"]), (&json!(450), &json!(offset), &json!(200)));
        assert_eq!(page.names().len(), length);
        seen.extend(page.names());
    }
    assert_eq!(seen, numbered(450));
}

#[tokio::test]
async fn a_page_is_of_200_unless_asked_and_never_of_more() {
    let (simulator, client) = start().await;
    fill(&simulator, Folder::Shared, numbered(250));
    assert_eq!(client.list("Shared", "").await.names().len(), 200);
    let asked = client.list("Shared", "&limit=5000").await;
    assert_eq!((asked.names().len(), asked.json()["limit"].clone()), (200, json!(200)));
    assert_eq!(client.list("Shared", "&limit=3&offset=1").await.names(), ["n001", "n002", "n003"]);
}

#[tokio::test]
async fn a_list_is_an_array_a_page_or_a_page_without_total() {
    let (simulator, client) = start().await;
    fill(&simulator, Folder::Shared, numbered(2));
    let list = |shape| simulator.tenant(TSG).answer(|answers| answers.list = shape);
    list(ListShape::Array);
    assert_eq!(client.list("Shared", "").await.json().as_array().unwrap().len(), 2);
    assert_eq!(client.list("Shared", "&limit=1").await.json().as_array().unwrap().len(), 1);
    list(ListShape::PageWithoutTotal);
    let page = client.list("Shared", "").await.json();
    assert_eq!((page["data"].as_array().unwrap().len(), page.get("total")), (2, None));
    list(ListShape::Page);
    assert_eq!(client.list("Shared", "").await.json()["total"], 2);
}

#[tokio::test]
async fn limit_and_offset_have_no_effect_where_they_are_ignored() {
    let (simulator, client) = start_answering(|answers| answers.paging = false).await;
    fill(&simulator, Folder::Shared, numbered(250));
    assert_eq!(client.list("Shared", "&limit=10&offset=200").await.names().len(), 250);
}

#[tokio::test]
async fn a_folder_shows_what_it_inherits() {
    let (simulator, client) = start().await;
    for folder in Folder::ALL {
        fill(&simulator, folder, [folder.as_str().to_owned()]);
    }
    for (folder, shown) in [
        ("Shared", vec!["Shared"]),
        ("Mobile Users Container", vec!["Mobile Users Container", "Shared"]),
        ("Mobile Users", vec!["Mobile Users", "Mobile Users Container", "Shared"]),
        ("Mobile Users Explicit Proxy", vec!["Mobile Users Explicit Proxy", "Mobile Users Container", "Shared"]),
        ("Remote Networks", vec!["Remote Networks", "Shared"]),
        ("Service Connections", vec!["Service Connections", "Shared"]),
    ] {
        let listed = client.list(folder, "").await;
        assert_eq!(listed.names(), shown, "{folder}");
        let body = listed.json();
        assert_eq!(body["total"], shown.len());
        for item in body["data"].as_array().unwrap() {
            assert_eq!(item["folder"], item["name"], "each tells its own folder");
        }
        simulator.tenant(TSG).answer(|answers| answers.inherited = false);
        assert_eq!(client.list(folder, "").await.names(), [folder]);
        simulator.tenant(TSG).answer(|answers| answers.inherited = true);
    }
    simulator.tenant(TSG).answer(|answers| answers.item_folder = false);
    assert_eq!(client.list("Shared", "").await.json()["data"][0].get("folder"), None);
}

#[tokio::test]
async fn a_page_may_end_between_own_and_inherited_objects() {
    let (simulator, client) = start().await;
    fill(&simulator, Folder::Shared, ["s1".to_owned(), "s2".to_owned()]);
    fill(&simulator, Folder::RemoteNetworks, ["r1".to_owned()]);
    assert_eq!(client.list("Remote Networks", "&limit=2").await.names(), ["r1", "s1"]);
    assert_eq!(client.list("Remote Networks", "&limit=2&offset=2").await.names(), ["s2"]);
}

#[tokio::test]
async fn a_name_finds_a_list_an_object_or_nothing() {
    let (simulator, client) = start().await;
    fill(&simulator, Folder::Shared, numbered(3));
    let by_name = |answer| simulator.tenant(TSG).answer(|answers| answers.by_name = answer);
    assert_eq!(client.list("Shared", "&name=n001").await.names(), ["n001"]);
    assert_eq!(client.list("Shared", "&name=none").await.names(), [""; 0]);
    by_name(ByName::ListOrNotFound);
    assert_eq!(client.list("Shared", "&name=n001").await.names(), ["n001"]);
    assert_eq!(client.list("Shared", "&name=none").await.message(), "Object Not Present");
    by_name(ByName::Object);
    assert_eq!(client.list("Shared", "&name=n001").await.json()["name"], "n001");
    assert_eq!(client.list("Shared", "&name=none").await.status, 404);
    by_name(ByName::Ignored);
    assert_eq!(client.list("Shared", "&name=n001").await.names().len(), 3);
}

#[tokio::test]
async fn pre_comes_before_post() {
    let (simulator, client) = start().await;
    let tenant = simulator.tenant(TSG);
    tenant.create(Folder::Shared, Position::Post, &okta("last")).unwrap();
    tenant.create(Folder::Shared, Position::Pre, &okta("first")).unwrap();
    assert_eq!(client.list("Shared", "").await.names(), ["first", "last"]);
}
