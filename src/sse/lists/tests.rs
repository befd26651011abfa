use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::*;
use crate::sse::budget::Limits;
use crate::sse::credentials::Source;
use crate::sse::error::{Acted, Reason};
use crate::sse::token::{Token, TokenEndpoint};
use crate::sse::transport::fake::{Fake, Reply, Request};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const MOMENT: Duration = Duration::from_millis(1);
const RESYNC: Duration = Duration::from_mins(10);
const FOLDER: Folder = Folder::MobileUsers;
/// Longer than anything takes here.
const LONG: Duration = Duration::from_secs(20);

/// Lists of an API that answers as it is told to.
struct World {
    lists: Arc<Lists>,
    credentials: Arc<Credentials>,
    woken: UnboundedReceiver<Waiter>,
    api: Fake,
}

impl World {
    /// An API that gives these answers in turn, the last one for ever, and a credential that is good for it.
    async fn answering(replies: Vec<Reply>) -> Self {
        let turn = AtomicU32::new(0);
        Self::of(move |_| {
            let turn = turn.fetch_add(1, Ordering::Relaxed) as usize;
            replies[turn.min(replies.len() - 1)].clone()
        })
        .await
    }

    async fn of(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let api = Fake::start(reply).await;
        let endpoint = TokenEndpoint::new(&api.settings, &api.url).unwrap();
        let (wakes, woken) = Wakes::channel();
        let limits = Limits { qps: 0, ..Limits::default() };
        let credentials = Credentials::new(endpoint, limits, schedule(), wakes.clone());
        credentials.put(&key(), "1", token("TOKEN"));
        let client = Client::new(&api.settings).unwrap();
        let lists = Lists::new(client, Arc::clone(&credentials), schedule(), RESYNC, wakes);
        Self { lists, credentials, woken, api }
    }

    fn look(&self, question: Mark) -> Look {
        self.lists.look(&key(), FOLDER, question, true, &waiter("team/corp"))
    }

    /// Waits until somebody is woken.
    async fn wake(&mut self) -> String {
        timeout(LONG, self.woken.recv()).await.unwrap().unwrap().to_string()
    }

    /// What a list says that answers this question.
    async fn answer(&mut self, question: Mark) -> Look {
        loop {
            match self.look(question) {
                Look::Pending => self.wake().await,
                look => return look,
            };
        }
    }

    /// A first list, and nobody woken that has not been told.
    async fn listed(&mut self) {
        assert!(matches!(self.answer(Mark(0)).await, Look::Listed { complete: true }));
        self.drain();
    }

    fn drain(&mut self) -> usize {
        std::iter::from_fn(|| self.woken.try_recv().ok()).count()
    }

    fn requests(&self) -> Vec<String> {
        let requests = self.api.requests().into_iter();
        requests.map(|request| request.line.replace("GET /sse/config/v1/mfa-servers?folder=", "")).collect()
    }

    fn ids(&self) -> Vec<String> {
        let all = |inventory: &Inventory<Kept>| {
            (0..10).map(|id| id.to_string()).filter(|id| inventory.by_id(id).is_some()).collect()
        };
        self.lists.with(&key(), FOLDER, all).unwrap_or_default()
    }
}

fn schedule() -> Schedule {
    Schedule::new(|class, failures, asked| {
        let doubled = |first: Duration, last: Duration| (first * 2u32.pow(failures.min(16) - 1)).min(last);
        let delay = match class {
            Class::Credential | Class::Forbidden => doubled(MINUTE, 30 * MINUTE),
            Class::Throttled | Class::Busy => doubled(2 * SECOND, MINUTE),
            _ => doubled(5 * SECOND, RESYNC),
        };
        asked.unwrap_or(delay)
    })
}

fn key() -> CredentialKey {
    CredentialKey::new("team/prisma-access")
}

fn waiter(name: &str) -> Waiter {
    Waiter::from(name)
}

fn token(text: &str) -> Source {
    Source::Static(Token::parse(text.as_bytes()).unwrap())
}

fn remote(id: &str) -> Remote {
    let fields = json!({"id": id, "name": format!("name-{id}")});
    let Value::Object(fields) = fields else { unreachable!() };
    Remote { id: id.to_owned(), name: format!("name-{id}"), folder: None, fields }
}

/// A whole list with these objects.
fn list(ids: &[&str]) -> Reply {
    incomplete(ids, ids.len())
}

/// A list with these objects whose total is another.
fn incomplete(ids: &[&str], total: usize) -> Reply {
    let data: Vec<Value> = ids.iter().map(|id| Value::Object(remote(id).fields)).collect();
    Reply::json(200, &json!({"data": data, "offset": 0, "total": total, "limit": 200}).to_string())
}

fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({"_errors": [{"message": message}]}).to_string())
}

/// Lets time pass at once. The clock stands still only for that: a request over a socket needs a running one.
async fn pass(time: Duration) {
    // What was spawned begins to wait before.
    tokio::task::yield_now().await;
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Lets whoever is due act; nobody is.
async fn nothing_happens(world: &World, requests: usize) {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.requests().len(), requests);
}

// ---- asking -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn one_list_answers_two_hundred_that_ask_and_all_are_woken() {
    let mut world = World::answering(vec![list(&["1"])]).await;
    for number in 0..200 {
        let look = world.lists.look(&key(), FOLDER, world.lists.mark(), true, &waiter(&format!("team/{number:03}")));
        assert!(matches!(look, Look::Pending));
    }
    let mut woken = Vec::new();
    for _ in 0..200 {
        woken.push(world.wake().await);
    }
    woken.sort();
    woken.dedup();
    assert_eq!(woken.len(), 200);
    assert_eq!(world.requests(), ["Mobile+Users&offset=0&limit=200"]);
    assert_eq!(world.ids(), ["1"]);
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let mut world = World::of(|request| {
        let offset: usize = request.line.split("offset=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap();
        let data: Vec<Value> = (offset..(offset + 200).min(450))
            .map(|id| json!({"id": id.to_string(), "name": format!("name-{id}")}))
            .collect();
        Reply::json(200, &json!({"data": data, "offset": offset, "total": 450, "limit": 200}).to_string())
    })
    .await;
    world.listed().await;
    assert_eq!(world.requests().len(), 3);
    let known = world.lists.with(&key(), FOLDER, |inventory| {
        let by_name: Vec<String> = inventory.by_name("name-449").map(|(id, _)| id.to_owned()).collect();
        (inventory.len(), by_name)
    });
    assert_eq!(known, Some((450, vec!["449".to_owned()])));
}

#[tokio::test]
async fn each_folder_and_each_credential_has_a_list_of_its_own() {
    let mut world = World::answering(vec![list(&["1"])]).await;
    let other = CredentialKey::new("team/other");
    world.credentials.put(&other, "1", token("OTHER"));
    for (key, folder) in [(key(), FOLDER), (key(), Folder::Shared), (other.clone(), FOLDER)] {
        assert!(matches!(world.lists.look(&key, folder, Mark(0), true, &waiter("team/corp")), Look::Pending));
    }
    for _ in 0..3 {
        world.wake().await;
    }
    assert_eq!(world.requests().len(), 3);
    let tokens: Vec<_> =
        world.api.requests().iter().map(|request| request.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(tokens.iter().filter(|token| *token == "Bearer OTHER").count(), 1);
}

#[tokio::test]
async fn a_question_is_answered_by_a_list_begun_after_it_alone() {
    let mut world = World::answering(vec![list(&["1"]), list(&["2"])]).await;
    let before = world.lists.mark();
    assert!(matches!(world.answer(before).await, Look::Listed { complete: true }));
    assert!(matches!(world.look(before), Look::Listed { complete: true }));
    let after = world.lists.mark();
    assert!(matches!(world.look(after), Look::Pending));
    assert!(matches!(world.look(before), Look::Listed { .. }), "the others have their answer");
    assert!(matches!(world.answer(after).await, Look::Listed { complete: true }));
    assert_eq!(world.ids(), ["2"]);
    assert_eq!(world.requests().len(), 2);
}

#[tokio::test]
async fn lists_on_demand_begin_at_most_once_a_second() {
    let begun = Instant::now();
    let mut world = World::answering(vec![list(&[])]).await;
    for number in 0..3 {
        for _ in 0..20 {
            let question = world.lists.mark();
            let _ = world.look(question);
        }
        let question = world.lists.mark();
        assert!(matches!(world.answer(question).await, Look::Listed { .. }));
        assert!(begun.elapsed() >= number * SECOND, "{number}: {:?}", begun.elapsed());
        assert_eq!(world.requests().len(), usize::try_from(number).unwrap() + 1);
    }
}

#[tokio::test]
async fn a_list_is_read_again_each_resync_without_being_asked_for() {
    let mut world = World::answering(vec![list(&["1"]), list(&["2"])]).await;
    world.listed().await;
    for requests in 1..4 {
        pass(RESYNC * 8 / 10).await;
        nothing_happens(&world, requests).await;
        pass(RESYNC * 2 / 10).await;
        assert_eq!(world.wake().await, "team/corp");
        assert_eq!(world.requests().len(), requests + 1);
    }
    assert_eq!(world.ids(), ["2"]);
}

#[tokio::test]
async fn no_secret_that_an_object_echoes_is_kept() {
    let object = json!({"id": "1", "name": "a", "mfa_vendor_type": {"okta_adaptive_v1": {"okta_token": "PLAINTEXT"}}});
    let mut world = World::answering(vec![Reply::json(200, &json!([object]).to_string())]).await;
    world.listed().await;
    let kept = world
        .lists
        .with(&key(), FOLDER, |inventory| json!(inventory.by_id("1").unwrap().to_remote("1").fields).to_string());
    assert!(!kept.unwrap().contains("PLAINTEXT"));
}

// ---- failing ----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_list_that_fails_is_tried_again_on_its_schedule_and_asking_does_not_hurry_it() {
    let mut world = World::answering(vec![
        error(500, "oops"),
        Reply::Cut(Vec::new()),
        Reply::json(200, "<html>"),
        list(&["1"]),
        error(503, "oops"),
    ])
    .await;
    let _ = world.look(Mark(0));
    for (requests, seconds) in [(1, 5), (2, 10), (3, 20)] {
        world.wake().await;
        let delay = Duration::from_secs(seconds);
        let Look::Failed { failure, long: false } = world.look(world.lists.mark()) else { panic!("not failed") };
        assert_eq!(failure.class, Class::Server);
        pass(delay * 4 / 5).await;
        let _ = world.look(world.lists.mark());
        nothing_happens(&world, requests).await;
        pass(delay / 5 + MOMENT).await;
    }
    world.wake().await;
    assert!(matches!(world.look(Mark(0)), Look::Listed { complete: true }));
    // The next run of failures begins anew.
    pass(RESYNC).await;
    world.wake().await;
    assert!(matches!(world.look(Mark(0)), Look::Failed { long: false, .. }));
    assert_eq!(world.ids(), ["1"], "what was known stays known");
    pass(5 * SECOND).await;
    world.wake().await;
    assert_eq!(world.requests().len(), 6);
}

#[tokio::test]
async fn after_three_resyncs_without_a_list_what_was_true_may_not_be() {
    let mut world = World::answering(vec![list(&["1"]), error(500, "oops")]).await;
    world.listed().await;
    pass(RESYNC).await;
    world.wake().await;
    assert!(matches!(world.look(Mark(0)), Look::Failed { long: false, .. }));
    pass(RESYNC).await;
    world.wake().await;
    assert!(matches!(world.look(Mark(0)), Look::Failed { long: false, .. }));
    pass(RESYNC).await;
    assert!(matches!(world.look(Mark(0)), Look::Failed { long: true, .. }));
}

#[tokio::test]
async fn a_throttled_list_waits_as_long_as_was_asked() {
    let mut world = World::answering(vec![Reply::new(429, "retry-after: 90\r\n", ""), list(&["1"])]).await;
    let Look::Failed { failure, .. } = world.answer(Mark(0)).await else { panic!("not failed") };
    assert_eq!((failure.reason, failure.class), (Reason::RateLimited, Class::Throttled));
    pass(80 * SECOND).await;
    nothing_happens(&world, 1).await;
    pass(10 * SECOND + MOMENT).await;
    world.wake().await;
    assert!(matches!(world.look(Mark(0)), Look::Listed { .. }));
}

#[tokio::test]
async fn a_list_that_breaks_off_at_its_second_page_shows_nothing() {
    let first: Vec<Value> = (0..200).map(|id| json!({"id": id.to_string(), "name": "a"})).collect();
    let page = json!({"data": first, "offset": 0, "total": 201, "limit": 200}).to_string();
    let mut world = World::answering(vec![Reply::json(200, &page), error(500, "oops")]).await;
    assert!(matches!(world.answer(Mark(0)).await, Look::Failed { .. }));
    assert_eq!(world.ids(), [""; 0]);
}

#[tokio::test]
async fn a_list_that_is_forbidden_is_tried_again_on_the_schedule_of_credentials() {
    let mut world = World::answering(vec![error(403, "Unauthorized"), list(&[])]).await;
    let Look::Failed { failure, .. } = world.answer(Mark(0)).await else { panic!("not failed") };
    assert_eq!(failure.class, Class::Forbidden);
    pass(MINUTE * 4 / 5).await;
    nothing_happens(&world, 1).await;
    pass(MINUTE / 5).await;
    loop {
        world.wake().await;
        if matches!(world.look(Mark(0)), Look::Listed { .. }) {
            break;
        }
    }
}

// ---- credentials ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_refused_credential_is_probed_by_the_list() {
    let refused = || error(401, "Invalid Credential");
    let mut world = World::answering(vec![refused(), refused(), list(&["1"])]).await;
    let look = |world: &World| world.lists.look(&key(), FOLDER, world.lists.mark(), false, &waiter("team/corp"));
    let access = |world: &World| world.credentials.access(&key(), &waiter("team/corp"));
    let _ = world.look(Mark(0));
    world.wake().await;
    for (requests, minutes) in [(1, 1), (2, 2)] {
        assert!(matches!(access(&world), State::Rejected(_)));
        let Look::Failed { failure, .. } = look(&world) else { panic!("not failed") };
        assert_eq!(failure.class, Class::Credential);
        pass(minutes * MINUTE * 4 / 5).await;
        let _ = look(&world);
        nothing_happens(&world, requests).await;
        world.drain();
        pass(minutes * MINUTE / 5 + MOMENT).await;
        world.wake().await;
    }
    assert!(matches!(access(&world), State::Ready(_)));
    world.drain();
    assert!(matches!(world.look(Mark(0)), Look::Listed { complete: true }));
    nothing_happens(&world, 3).await;
}

#[tokio::test]
async fn a_credential_that_a_write_found_refused_is_probed_on_its_own_schedule() {
    let mut world = World::answering(vec![list(&["1"])]).await;
    world.listed().await;
    let State::Ready(access) = world.credentials.access(&key(), &waiter("team/corp")) else { panic!("not ready") };
    let permit = access.budget.try_acquire().unwrap();
    let refused = Err::<(), _>(Failure::new(Method::Post, Reason::InvalidCredential, Some(401), Acted::No));
    world.credentials.settle(&access, FOLDER, Method::Post, permit, &refused);
    world.drain();
    let _ = world.lists.look(&key(), FOLDER, Mark(0), false, &waiter("team/corp"));
    pass(MINUTE * 4 / 5).await;
    nothing_happens(&world, 1).await;
    pass(MINUTE / 5 + MOMENT).await;
    world.wake().await;
    assert_eq!(world.requests().len(), 2);
    assert!(matches!(world.credentials.access(&key(), &waiter("team/corp")), State::Ready(_)));
    // Found by a list, it is no reason for another one.
    world.drain();
    assert!(matches!(world.look(Mark(0)), Look::Listed { complete: true }));
    pass(2 * SECOND).await;
    nothing_happens(&world, 2).await;
}

#[tokio::test]
async fn without_a_credential_nothing_is_asked_however_often_somebody_looks() {
    let mut world = World::answering(vec![list(&["1"])]).await;
    world.credentials.remove(&key());
    let look = |world: &World, ready| world.lists.look(&key(), FOLDER, world.lists.mark(), ready, &waiter("team/corp"));
    assert!(matches!(look(&world, false), Look::Pending));
    assert_eq!(world.wake().await, "team/corp", "the credential knows what is wrong");
    for _ in 0..20 {
        assert!(matches!(look(&world, false), Look::Pending));
        pass(SECOND).await;
    }
    nothing_happens(&world, 0).await;
    assert_eq!(world.drain(), 0, "told once");
    world.credentials.put(&key(), "2", token("TOKEN"));
    assert!(matches!(look(&world, true), Look::Pending));
    world.wake().await;
    assert_eq!(world.ids(), ["1"]);
}

#[tokio::test]
async fn a_new_credential_is_tried_at_once_and_forgets_what_the_old_one_was_shown() {
    let mut world = World::answering(vec![list(&["1"]), error(500, "oops"), list(&["2"])]).await;
    world.listed().await;
    pass(RESYNC).await;
    world.wake().await;
    assert!(matches!(world.look(Mark(0)), Look::Failed { .. }));
    pass(3 * SECOND).await;
    world.credentials.put(&key(), "2", token("OTHER"));
    world.lists.renew(&key());
    assert!(matches!(world.look(Mark(0)), Look::Pending), "the tenant may be another one");
    assert_eq!(world.ids(), [""; 0]);
    assert!(matches!(world.answer(Mark(0)).await, Look::Listed { complete: true }));
    assert_eq!(world.ids(), ["2"]);
}

#[tokio::test]
async fn a_list_on_its_way_with_the_old_credential_is_dropped() {
    let shared: Arc<OnceLock<(Arc<Lists>, Arc<Credentials>)>> = Arc::default();
    let during = Arc::clone(&shared);
    let mut world = World::of(move |request| {
        if request.header("authorization") == Some("Bearer OTHER") {
            return list(&["2"]);
        }
        let (lists, credentials) = during.get().unwrap();
        credentials.put(&key(), "2", token("OTHER"));
        lists.renew(&key());
        list(&["1"])
    })
    .await;
    assert!(shared.set((Arc::clone(&world.lists), Arc::clone(&world.credentials))).is_ok());
    assert!(matches!(world.answer(Mark(0)).await, Look::Listed { complete: true }));
    assert_eq!(world.ids(), ["2"]);
    assert_eq!(world.requests().len(), 2);
}

// ---- what a list proves -----------------------------------------------------------------------------------------

#[tokio::test]
async fn an_own_write_during_a_list_wins_over_it_and_not_over_the_next_one() {
    let shared: Arc<OnceLock<Arc<Lists>>> = Arc::default();
    let during = Arc::clone(&shared);
    let turn = AtomicU32::new(0);
    let mut world = World::of(move |_| {
        if turn.fetch_add(1, Ordering::Relaxed) > 0 {
            return list(&["4"]);
        }
        let lists = during.get().unwrap();
        lists.wrote(&key(), FOLDER, Write::Put("1".to_owned(), remote("1")));
        lists.wrote(&key(), FOLDER, Write::Deleted("2".to_owned()));
        list(&["2", "3"])
    })
    .await;
    assert!(shared.set(Arc::clone(&world.lists)).is_ok());
    world.listed().await;
    assert_eq!(world.ids(), ["1", "3"]);
    world.lists.wrote(&key(), FOLDER, Write::Put("5".to_owned(), remote("5")));
    assert_eq!(world.ids(), ["1", "3", "5"], "known at once");
    assert!(matches!(world.answer(world.lists.mark()).await, Look::Listed { complete: true }));
    assert_eq!(world.ids(), ["4"]);
}

#[tokio::test]
async fn an_incomplete_list_shows_what_is_there_and_takes_nothing_away() {
    let mut world =
        World::answering(vec![list(&["1"]), incomplete(&["2"], 3), incomplete(&["2"], 3), list(&["3"])]).await;
    world.listed().await;
    let question = world.lists.mark();
    assert!(matches!(world.answer(question).await, Look::Listed { complete: false }));
    assert_eq!(world.ids(), ["1", "2"]);
}

#[tokio::test]
async fn after_two_incomplete_lists_own_writes_wait_for_the_third() {
    let mut world = World::answering(vec![incomplete(&["1"], 9)]).await;
    assert!(matches!(world.answer(Mark(0)).await, Look::Listed { complete: false }));
    world.drain();
    pass(5 * SECOND + MOMENT).await;
    world.wake().await;
    assert!(matches!(world.look(Mark(0)), Look::Pending), "the second: nobody writes");
    pass(10 * SECOND + MOMENT).await;
    world.wake().await;
    assert!(matches!(world.look(Mark(0)), Look::Listed { complete: false }), "the third is acted on");
    pass(20 * SECOND + MOMENT).await;
    world.wake().await;
    assert!(matches!(world.look(Mark(0)), Look::Listed { complete: false }));
    assert_eq!(world.requests().len(), 8, "each is tried again on the schedule of servers");
}

// ---- who waits --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn whoever_has_looked_is_woken_after_each_list_until_it_is_forgotten() {
    let mut world = World::answering(vec![list(&[])]).await;
    for name in ["team/a", "team/b"] {
        let _ = world.lists.look(&key(), FOLDER, Mark(0), true, &waiter(name));
    }
    world.wake().await;
    world.wake().await;
    world.lists.forget(&waiter("team/a"));
    for _ in 0..2 {
        pass(RESYNC).await;
        assert_eq!(world.wake().await, "team/b");
        assert_eq!(world.drain(), 0);
    }
}

#[tokio::test]
async fn a_folder_that_nobody_waits_for_is_listed_no_more() {
    let mut world = World::answering(vec![list(&["1"])]).await;
    world.listed().await;
    world.lists.forget(&waiter("team/corp"));
    nothing_happens(&world, 1).await;
    assert!(world.lists.entries().is_empty());
    pass(2 * RESYNC).await;
    nothing_happens(&world, 1).await;
    // Whoever comes later begins anew.
    world.listed().await;
    assert_eq!(world.requests().len(), 2);
}
