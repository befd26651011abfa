use std::sync::atomic::AtomicU32;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::*;
use crate::sse::error::{Acted, Reason};
use crate::sse::transport::fake::{Fake, Reply, Request};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const MOMENT: Duration = Duration::from_millis(1);
const FOLDER: Folder = Folder::MobileUsers;

/// Credentials with a token endpoint that answers as it is told to.
struct World {
    credentials: Arc<Credentials>,
    woken: UnboundedReceiver<Waiter>,
    endpoint: Fake,
}

impl World {
    async fn of(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let fake = Fake::start(reply).await;
        let endpoint = TokenEndpoint::new(&fake.settings, &fake.url).unwrap();
        let (wakes, woken) = Wakes::channel();
        let credentials = Credentials::new(endpoint, Limits::default(), schedule(), wakes);
        Self { credentials, woken, endpoint: fake }
    }

    /// An endpoint that gives tokens good for so many seconds.
    async fn giving(seconds: u64) -> Self {
        Self::of(move |_| token(&format!(r#""expires_in":{seconds}"#))).await
    }

    fn access(&self) -> State {
        self.credentials.access(&key(), &waiter("team/corp"))
    }

    /// The state once no token is being fetched any more.
    async fn settled(&mut self) -> State {
        loop {
            match self.access() {
                State::Pending => timeout(20 * SECOND, self.woken.recv()).await.unwrap().unwrap(),
                state => return state,
            };
        }
    }

    async fn ready(&mut self) -> Access {
        ready(self.settled().await)
    }

    /// How many tokens were asked for.
    fn fetches(&self) -> usize {
        self.endpoint.requests().len()
    }

    #[allow(clippy::needless_pass_by_value, reason = "a result is made for each call")]
    fn answered(&self, access: &Access, method: Method, result: Result<(), Failure>) -> Settled {
        let permit = access.budget.try_acquire().unwrap();
        self.credentials.settle(access, FOLDER, method, permit, &result)
    }

    /// The API answers 401 to the token and to the one that is fetched then.
    async fn rejected(&mut self) {
        for settled in [Settled::Refreshing, Settled::Stands] {
            let access = self.ready().await;
            assert_eq!(self.answered(&access, Method::Get, Err(refusal())), settled);
        }
    }

    fn woken(&mut self) -> Vec<String> {
        let woken = std::iter::from_fn(|| self.woken.try_recv().ok());
        let mut all: Vec<String> = woken.map(|waiter| waiter.to_string()).collect();
        all.sort();
        all
    }
}

/// The figures of the operator, without jitter.
fn schedule() -> Schedule {
    Schedule::new(|class, failures, asked| {
        let doubled = |first: Duration, last: Duration| (first * 2u32.pow(failures.min(16) - 1)).min(last);
        match class {
            Class::Credential | Class::Forbidden => doubled(MINUTE, 30 * MINUTE),
            Class::Throttled => asked.unwrap_or(doubled(2 * SECOND, MINUTE)),
            _ => asked.unwrap_or_default().max(doubled(5 * SECOND, 10 * MINUTE)),
        }
    })
}

fn token(more: &str) -> Reply {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let more = if more.is_empty() { String::new() } else { format!(",{more}") };
    Reply::json(200, &format!(r#"{{"access_token":"TOKEN-{number}"{more}}}"#))
}

fn key() -> CredentialKey {
    CredentialKey::new("team/prisma-access")
}

fn waiter(name: &str) -> Waiter {
    Waiter::from(name)
}

fn account(secret: &str, tenant: &str) -> Source {
    Source::ServiceAccount {
        client_id: SecretString::from("CLIENT"),
        client_secret: SecretString::from(secret),
        tsg_id: tenant.to_owned(),
    }
}

fn jwt(claims: &str) -> Source {
    let payload = URL_SAFE_NO_PAD.encode(claims);
    Source::Static(Token::parse(format!("e30.{payload}.c2ln").as_bytes()).unwrap())
}

fn ready(state: State) -> Access {
    let State::Ready(access) = state else { panic!("not ready: {state:?}") };
    access
}

fn failure(reason: Reason, status: Option<u16>) -> Failure {
    Failure::new(Method::Get, reason, status, Acted::No)
}

fn refusal() -> Failure {
    failure(Reason::InvalidCredential, Some(401))
}

fn throttled(retry_after: Option<Duration>) -> Failure {
    let mut failure = failure(Reason::RateLimited, Some(429));
    failure.retry_after = retry_after;
    failure
}

/// Most of this time: a slow machine needs a moment itself.
fn nearly(time: Duration) -> Duration {
    time * 4 / 5
}

fn rest(time: Duration) -> Duration {
    time / 5 + MOMENT
}

/// Lets time pass at once. The clock stands still only for that: a request over a socket needs a running one.
async fn pass(time: Duration) {
    // What was spawned begins to wait before.
    tokio::task::yield_now().await;
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

// ---- tokens -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn one_token_is_fetched_for_a_hundred_waiters_and_all_are_woken() {
    let mut world = World::giving(899).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    for number in 0..100 {
        let state = world.credentials.access(&key(), &waiter(&format!("team/{number:03}")));
        assert!(matches!(state, State::Pending));
    }
    world.ready().await;
    while world.woken.len() < 99 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.fetches(), 1);
    let request = world.endpoint.only();
    assert_eq!(request.body, "grant_type=client_credentials&scope=tsg_id%3Atsg-1");
    assert_eq!(request.header("authorization"), Some("Basic Q0xJRU5UOlNFQ1JFVA=="));
    for number in 0..100 {
        ready(world.credentials.access(&key(), &waiter(&format!("team/{number:03}"))));
    }
    assert_eq!(world.fetches(), 1);
}

#[tokio::test]
async fn a_token_is_fetched_anew_a_minute_before_its_end() {
    // A short one is used for half its life; where nothing is told, the usual validity is taken.
    for (told, used) in
        [(r#""expires_in":899"#, 839), (r#""expires_in":"899""#, 839), (r#""expires_in":90"#, 45), ("", 839)]
    {
        let mut world = World::of(move |_| token(told)).await;
        world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
        let first = world.ready().await;
        pass(nearly(Duration::from_secs(used))).await;
        assert!(ready(world.access()).token.equals(&first.token), "{told}");
        pass(rest(Duration::from_secs(used))).await;
        assert!(matches!(world.access(), State::Pending), "{told}");
        assert!(!world.ready().await.token.equals(&first.token));
        assert_eq!(world.fetches(), 2);
    }
}

#[tokio::test]
async fn a_static_token_is_not_fetched() {
    let world = World::giving(899).await;
    world.credentials.put(&key(), "1", Source::Static(Token::parse(b"TOKEN").unwrap()));
    ready(world.access());
    pass(Duration::from_hours(10_000)).await;
    ready(world.access());
    assert_eq!(world.fetches(), 0);
}

#[tokio::test]
async fn a_static_token_whose_time_is_over_is_expired_before_any_call() {
    let world = World::giving(899).await;
    let now = Timestamp::now().as_second();
    for (end, expired) in [(now - 1, true), (now, true), (now + 100, false)] {
        world.credentials.put(&key(), "1", jwt(&format!(r#"{{"exp":{end}}}"#)));
        assert_eq!(matches!(world.access(), State::Expired), expired, "{:?}", world.access());
    }
    assert!(matches!(world.credentials.probe(&CredentialKey::new("unknown")), State::Missing));
}

#[tokio::test]
async fn a_token_endpoint_that_refuses_is_asked_again_on_the_schedule_of_credentials() {
    let mut world = World::of(|_| Reply::json(401, r#"{"error":"invalid_client"}"#)).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    for (count, minutes) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30)] {
        let State::TokenRejected(failure) = world.settled().await else { panic!("{:?}", world.access()) };
        assert_eq!((failure.reason, failure.code.as_deref()), (Reason::TokenRequestRejected, Some("invalid_client")));
        world.woken();
        pass(nearly(minutes * MINUTE)).await;
        assert!(matches!(world.access(), State::TokenRejected(_)));
        assert_eq!(world.fetches(), count, "not before its time");
        pass(rest(minutes * MINUTE)).await;
        assert_eq!(timeout(20 * SECOND, world.woken.recv()).await.unwrap().as_deref(), Some("team/corp"));
    }
}

#[tokio::test]
async fn a_token_endpoint_without_an_answer_is_unavailable_and_asked_again_on_the_schedule_of_servers() {
    let replies = [
        Reply::json(500, "oops"),
        Reply::Cut(Vec::new()),
        Reply::json(200, "<html>"),
        Reply::json(200, r#"{"access_token":""}"#),
        Reply::json(403, "a proxy's page"),
    ];
    let turn = AtomicU32::new(0);
    let mut world = World::of(move |_| {
        let turn = turn.fetch_add(1, Ordering::Relaxed) as usize;
        replies.get(turn).cloned().unwrap_or_else(|| token(""))
    })
    .await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    let mut so_far = Duration::ZERO;
    for seconds in [5, 10, 20, 40, 80] {
        let State::TokenUnavailable(failure, long) = world.settled().await else { panic!("{:?}", world.access()) };
        assert!(long >= so_far, "{long:?}");
        so_far += Duration::from_secs(seconds);
        assert_eq!(failure.reason, Reason::TokenEndpointUnavailable);
        world.woken();
        pass(nearly(Duration::from_secs(seconds))).await;
        assert!(matches!(world.access(), State::TokenUnavailable(..)));
        pass(rest(Duration::from_secs(seconds))).await;
    }
    world.ready().await;
    assert_eq!(world.fetches(), 6);
}

#[tokio::test]
async fn a_token_endpoint_that_asks_to_wait_is_waited_for() {
    let mut world = World::of(|_| Reply::new(429, "retry-after: 120\r\n", "")).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    assert!(matches!(world.settled().await, State::TokenUnavailable(..)));
    pass(nearly(2 * MINUTE)).await;
    assert!(matches!(world.access(), State::TokenUnavailable(..)));
    pass(rest(2 * MINUTE)).await;
    assert!(matches!(world.access(), State::Pending));
}

#[tokio::test]
async fn a_token_for_a_version_that_is_gone_is_dropped() {
    let mut world = World::giving(899).await;
    world.credentials.put(&key(), "1", account("OLD", "tsg-1"));
    assert!(matches!(world.access(), State::Pending));
    world.credentials.put(&key(), "2", account("NEW", "tsg-1"));
    world.ready().await;
    let requests = world.endpoint.requests();
    let secret = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("CLIENT:NEW"));
    assert_eq!(requests.iter().filter(|request| request.header("authorization") == Some(&secret)).count(), 1);
    world.credentials.remove(&key());
    assert!(matches!(world.access(), State::Missing));
}

// ---- refusals ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn eight_calls_that_are_refused_at_once_fetch_one_token() {
    let mut world = World::giving(899).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    let old = world.ready().await;
    let permits: Vec<Permit> = (0..8).map(|_| old.budget.try_acquire().unwrap()).collect();
    for permit in permits {
        let result = Err::<(), _>(refusal());
        let settled = world.credentials.settle(&old, FOLDER, Method::Post, permit, &result);
        assert_eq!(settled, Settled::Refreshing);
    }
    let new = world.ready().await;
    assert!(!new.token.equals(&old.token));
    // One that was slower than the fetch.
    assert_eq!(world.answered(&old, Method::Get, Err(refusal())), Settled::Refreshing);
    assert!(ready(world.access()).token.equals(&new.token));
    assert_eq!(world.fetches(), 2);
}

#[tokio::test]
async fn a_refusal_of_the_token_that_was_fetched_anew_stands_and_all_learn_of_it() {
    let mut world = World::giving(899).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    let _ = world.credentials.access(&key(), &waiter("team/other"));
    world.rejected().await;
    assert_eq!(world.fetches(), 2);
    let State::Rejected(failure) = world.access() else { panic!("{:?}", world.access()) };
    assert_eq!(failure.reason, Reason::InvalidCredential);
    assert!(world.woken().contains(&"team/other".to_owned()));
}

#[tokio::test]
async fn a_static_token_that_is_refused_cannot_be_fetched_anew() {
    let world = World::giving(899).await;
    world.credentials.put(&key(), "1", Source::Static(Token::parse(b"TOKEN").unwrap()));
    let access = ready(world.access());
    assert_eq!(world.answered(&access, Method::Get, Err(refusal())), Settled::Stands);
    assert!(matches!(world.access(), State::Rejected(_)));
    assert_eq!(world.fetches(), 0);
}

#[tokio::test]
async fn a_later_token_that_is_refused_is_fetched_anew_once_more() {
    let mut world = World::giving(899).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    let access = world.ready().await;
    world.answered(&access, Method::Get, Err(refusal()));
    let access = world.ready().await;
    world.answered(&access, Method::Get, Ok(()));
    pass(839 * SECOND + MOMENT).await;
    let access = world.ready().await;
    assert_eq!(world.answered(&access, Method::Get, Err(refusal())), Settled::Refreshing);
}

#[tokio::test]
async fn a_refused_credential_is_probed_by_one_call_at_a_time_on_its_schedule() {
    let mut world = World::giving(1_000_000).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    world.rejected().await;
    for minutes in [1, 2, 4, 8, 16, 30, 30] {
        pass(nearly(minutes * MINUTE)).await;
        assert!(matches!(world.credentials.probe(&key()), State::Rejected(_)), "not before its time");
        pass(rest(minutes * MINUTE)).await;
        assert!(matches!(world.access(), State::Rejected(_)), "a pass is no probe");
        let probe = ready(world.credentials.probe(&key()));
        for _ in 0..10 {
            assert!(matches!(world.credentials.probe(&key()), State::Rejected(_)), "one at a time");
        }
        assert_eq!(world.answered(&probe, Method::Get, Err(refusal())), Settled::Stands);
    }
    assert_eq!(world.fetches(), 2);
}

#[tokio::test]
async fn a_probe_that_succeeds_wakes_all() {
    let mut world = World::giving(899).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    let _ = world.credentials.access(&key(), &waiter("team/other"));
    world.rejected().await;
    pass(MINUTE).await;
    let probe = ready(world.credentials.probe(&key()));
    world.woken();
    world.answered(&probe, Method::Get, Ok(()));
    assert_eq!(world.woken(), ["team/corp", "team/other"]);
    ready(world.access());
}

#[tokio::test]
async fn a_credential_that_may_read_and_not_write_is_probed_ever_more_rarely() {
    let mut world = World::giving(1_000_000).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    world.rejected().await;
    for minutes in [1, 2, 4] {
        pass(minutes * MINUTE).await;
        let probe = ready(world.credentials.probe(&key()));
        world.answered(&probe, Method::Get, Ok(()));
        let write = ready(world.access());
        assert_eq!(world.answered(&write, Method::Post, Err(refusal())), Settled::Stands);
        assert!(matches!(world.credentials.probe(&key()), State::Rejected(_)));
    }
    // A write ends the run.
    pass(8 * MINUTE).await;
    let probe = ready(world.credentials.probe(&key()));
    world.answered(&probe, Method::Post, Ok(()));
    let write = ready(world.access());
    world.answered(&write, Method::Post, Err(refusal()));
    pass(MINUTE).await;
    ready(world.credentials.probe(&key()));
}

#[tokio::test]
async fn a_probe_without_an_answer_proves_nothing_and_another_comes_after_it() {
    let mut world = World::giving(1_000_000).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    world.rejected().await;
    pass(MINUTE).await;
    let probe = ready(world.credentials.probe(&key()));
    world.answered(&probe, Method::Get, Err(failure(Reason::Unreachable, None)));
    assert!(matches!(world.access(), State::Rejected(_)));
    assert!(matches!(world.credentials.probe(&key()), State::Rejected(_)));
    pass(5 * SECOND).await;
    let probe = ready(world.credentials.probe(&key()));
    // Another answer than 401 shows that the token was taken.
    world.answered(&probe, Method::Get, Err(failure(Reason::ServerError, Some(500))));
    ready(world.access());
}

#[tokio::test]
async fn a_probe_that_finds_its_token_too_old_is_made_with_the_next_one() {
    let mut world = World::giving(899).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    world.rejected().await;
    pass(15 * MINUTE).await;
    world.woken();
    assert!(matches!(world.credentials.probe(&key()), State::Pending), "the token is fetched first");
    timeout(20 * SECOND, world.woken.recv()).await.unwrap();
    assert_eq!(world.fetches(), 3);
    assert!(matches!(world.access(), State::Rejected(_)), "a new token alone proves nothing");
    let probe = ready(world.credentials.probe(&key()));
    world.answered(&probe, Method::Get, Ok(()));
    ready(world.access());
}

#[tokio::test]
async fn a_new_version_forgets_the_refusals_of_the_old_one_and_keeps_who_waits() {
    let mut world = World::giving(899).await;
    world.credentials.put(&key(), "1", account("OLD", "tsg-1"));
    world.rejected().await;
    let old = ready({
        pass(MINUTE).await;
        world.credentials.probe(&key())
    });
    world.credentials.sighted(&key());
    assert!(world.credentials.put(&key(), "2", account("NEW", "tsg-1")));
    assert_eq!(world.credentials.version(&key()).as_deref(), Some("2"));
    assert!(!world.credentials.is_sighted(&key()));
    assert!(matches!(world.credentials.probe(&key()), State::Pending), "nobody has to wait");
    world.woken();
    assert_eq!(timeout(20 * SECOND, world.woken.recv()).await.unwrap().as_deref(), Some("team/corp"));
    // What the old token comes to does not matter any more.
    assert_eq!(world.answered(&old, Method::Get, Err(refusal())), Settled::Stands);
    ready(world.access());
    assert_eq!(world.answered(&old, Method::Get, Ok(())), Settled::Stands);
    assert!(!world.credentials.tenant(&key()).unwrap().verified);
}

#[tokio::test]
async fn the_same_bytes_under_another_version_change_nothing() {
    let mut world = World::giving(899).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    let access = world.ready().await;
    world.answered(&access, Method::Get, Ok(()));
    assert!(!world.credentials.put(&key(), "2", account("SECRET", "tsg-1")));
    assert_eq!(world.credentials.version(&key()).as_deref(), Some("2"));
    assert!(ready(world.access()).token.equals(&access.token));
    assert!(world.credentials.tenant(&key()).unwrap().verified);
    assert_eq!(world.fetches(), 1);
    for other in [account("OTHER", "tsg-1"), account("SECRET", "tsg-2"), jwt("{}")] {
        assert!(world.credentials.put(&key(), "3", other));
    }
    assert!(!world.credentials.put(&key(), "4", jwt("{}")));
}

// ---- what is forbidden ------------------------------------------------------------------------------------------

#[tokio::test]
async fn what_is_forbidden_is_so_for_its_folder_and_method_until_one_call_may_try_again() {
    let mut world = World::giving(1_000_000).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    let access = world.ready().await;
    let forbidden = || failure(Reason::Unauthorized, Some(403));
    for minutes in [1, 2, 4, 8, 16, 30, 30] {
        assert!(world.credentials.try_forbidden(&access, FOLDER, Method::Post).is_ok());
        world.answered(&access, Method::Post, Err(forbidden()));
        let told = world.credentials.forbidden(&key(), FOLDER, Method::Post).unwrap();
        assert_eq!(told.reason, Reason::Unauthorized);
        assert!(world.credentials.forbidden(&key(), FOLDER, Method::Put).is_none());
        assert!(world.credentials.forbidden(&key(), Folder::Shared, Method::Post).is_none());
        assert!(world.credentials.try_forbidden(&access, Folder::Shared, Method::Post).is_ok());
        ready(world.access());
        let next = world.credentials.next_try(&key(), FOLDER).unwrap() - Instant::now();
        assert!(next > nearly(minutes * MINUTE) && next <= minutes * MINUTE, "{next:?}");
        world.woken();
        pass(nearly(minutes * MINUTE)).await;
        assert!(world.credentials.try_forbidden(&access, FOLDER, Method::Post).is_err());
        pass(rest(minutes * MINUTE)).await;
        assert_eq!(timeout(20 * SECOND, world.woken.recv()).await.unwrap().as_deref(), Some("team/corp"));
        assert!(world.credentials.forbidden(&key(), FOLDER, Method::Post).is_none());
    }
    assert!(world.credentials.try_forbidden(&access, FOLDER, Method::Post).is_ok());
    assert!(world.credentials.try_forbidden(&access, FOLDER, Method::Post).is_err(), "one at a time");
    assert!(world.credentials.forbidden(&key(), FOLDER, Method::Post).is_some(), "the others wait");
    world.woken();
    world.answered(&access, Method::Post, Ok(()));
    assert_eq!(world.woken(), ["team/corp"]);
    assert!(world.credentials.forbidden(&key(), FOLDER, Method::Post).is_none());
}

// ---- tenants and budgets ----------------------------------------------------------------------------------------

#[tokio::test]
async fn a_tenants_name_is_what_the_token_tells_or_the_credential() {
    let world = World::giving(899).await;
    let tenant = |source| {
        world.credentials.put(&key(), "1", source);
        let tenant = world.credentials.tenant(&key()).unwrap();
        (tenant.name.to_string(), tenant.told, tenant.verified)
    };
    assert_eq!(tenant(account("SECRET", "tsg-1")), ("tsg-1".to_owned(), true, false));
    assert_eq!(tenant(jwt(r#"{"tsg_id":"tsg-2"}"#)), ("tsg-2".to_owned(), true, false));
    assert_eq!(tenant(jwt("{}")), ("secret/team/prisma-access".to_owned(), false, false));
    assert_eq!(world.credentials.tenant(&CredentialKey::new("unknown")), None);
}

#[tokio::test]
async fn credentials_share_their_tenants_budget_once_the_api_has_taken_them() {
    let world = World::giving(899).await;
    let keys = ["a", "b", "c", "d"].map(|name| CredentialKey::new(format!("team/{name}")));
    let mut accesses = Vec::new();
    for (key, tenant) in keys.iter().zip(["tsg-1", "tsg-1", "tsg-2", "tsg-1"]) {
        world.credentials.put(key, "1", jwt(&format!(r#"{{"tsg_id":"{tenant}","key":"{key}"}}"#)));
        accesses.push(ready(world.credentials.access(key, &waiter("team/corp"))));
    }
    let budget = |key: &CredentialKey| ready(world.credentials.access(key, &waiter("team/corp"))).budget;
    let [a, b, c, liar] = &keys;
    for (number, one) in keys.iter().enumerate() {
        for other in &keys[..number] {
            assert!(!Arc::ptr_eq(&budget(one), &budget(other)), "unverified, each has its own");
        }
    }
    for access in &accesses[..3] {
        world.answered(access, Method::Get, Ok(()));
    }
    assert!(Arc::ptr_eq(&budget(a), &budget(b)));
    assert!(!Arc::ptr_eq(&budget(a), &budget(c)), "another tenant's");
    assert!(!Arc::ptr_eq(&budget(a), &budget(liar)), "its word alone does not count");
    // What the unverified one meets concerns nobody else.
    let throttled = throttled(Some(MINUTE));
    world.answered(&accesses[3], Method::Get, Err(throttled));
    assert!(budget(liar).paused_until().is_some());
    assert!(budget(a).paused_until().is_none());
}

#[tokio::test]
async fn a_pause_of_new_credentials_holds_for_all_once_they_are_accepted() {
    let world = World::giving(899).await;
    let keys = ["old", "new"].map(|name| CredentialKey::new(format!("team/{name}")));
    let [old, new] = keys.each_ref().map(|key| {
        world.credentials.put(key, "1", jwt(&format!(r#"{{"tsg_id":"tsg-1","key":"{key}"}}"#)));
        ready(world.credentials.access(key, &waiter("team/corp")))
    });
    world.answered(&old, Method::Get, Ok(()));
    let on_its_way = new.budget.try_acquire().unwrap();
    world.answered(&new, Method::Get, Err(throttled(Some(MINUTE))));
    assert!(old.budget.paused_until().is_none(), "its word alone does not count");
    let accepted: Result<(), Failure> = Ok(());
    world.credentials.settle(&new, FOLDER, Method::Get, on_its_way, &accepted);
    let shared = ready(world.credentials.access(&keys[1], &waiter("team/corp"))).budget;
    assert!(Arc::ptr_eq(&shared, &old.budget));
    assert!(shared.paused_until().is_some(), "the tenant has asked to be left alone");
}

#[tokio::test]
async fn a_tenants_budget_lasts_while_a_credential_has_it() {
    let world = World::giving(899).await;
    let verified = |version: &str| {
        world.credentials.put(&key(), version, jwt(&format!(r#"{{"tsg_id":"tsg-1","version":{version}}}"#)));
        let access = ready(world.access());
        world.answered(&access, Method::Get, Ok(()));
        ready(world.access()).budget
    };
    let first = verified("1");
    assert!(Arc::ptr_eq(&first, &verified("2")), "the tenant is the same");
}

#[tokio::test]
async fn a_throttled_call_pauses_all_of_the_tenant_for_as_long_as_was_asked() {
    let mut world = World::giving(899).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    let access = world.ready().await;
    world.answered(&access, Method::Get, Ok(()));
    let access = ready(world.access());
    let asked = |seconds| throttled(Some(Duration::from_secs(seconds)));
    world.answered(&access, Method::Post, Err(asked(30)));
    assert!(access.budget.try_acquire().is_none());
    ready(world.access());
    pass(nearly(30 * SECOND)).await;
    assert!(access.budget.try_acquire().is_none());
    pass(rest(30 * SECOND)).await;
    assert!(access.budget.try_acquire().is_some());
    // Where nothing is asked for, each throttled answer running doubles the pause.
    for seconds in [4, 8, 16] {
        world.answered(&access, Method::Post, Err(throttled(None)));
        let pause = access.budget.paused_until().unwrap() - Instant::now();
        assert!(pause > nearly(Duration::from_secs(seconds)) && pause <= Duration::from_secs(seconds), "{pause:?}");
        pass(pause + MOMENT).await;
    }
    world.answered(&access, Method::Get, Ok(()));
    world.answered(&access, Method::Post, Err(throttled(None)));
    assert!(access.budget.paused_until().unwrap() - Instant::now() <= 2 * SECOND);
}

#[tokio::test]
async fn a_busy_tenant_gets_fewer_calls_at_a_time() {
    let mut world = World::giving(899).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    let access = world.ready().await;
    let before = access.budget.in_flight_limit();
    world.answered(&access, Method::Post, Err(failure(Reason::Busy, Some(500))));
    assert_eq!(access.budget.in_flight_limit(), before / 2);
    assert!(access.budget.paused_until().is_none());
}

// ---- who waits --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn who_was_forgotten_is_not_woken() {
    let mut world = World::giving(899).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    for name in ["team/a", "team/b"] {
        let _ = world.credentials.access(&key(), &waiter(name));
    }
    world.credentials.forget(&waiter("team/a"));
    assert_eq!(timeout(20 * SECOND, world.woken.recv()).await.unwrap().as_deref(), Some("team/b"));
    assert_eq!(world.woken(), [""; 0]);
}

#[tokio::test]
async fn nothing_that_is_known_shows_a_secret() {
    let mut world = World::giving(899).await;
    world.credentials.put(&key(), "1", account("SECRET", "tsg-1"));
    let access = world.ready().await;
    let text = format!("{:?} {access:?} {:?}", world.credentials, world.access());
    for secret in ["SECRET", "TOKEN-", "CLIENT"] {
        assert!(!text.contains(secret), "{text}");
    }
}
