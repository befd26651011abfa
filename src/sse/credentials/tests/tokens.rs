//! Tokens: fetched once, in time, and again after a failure.

use super::*;

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
    for (told, used) in [
        (r#""expires_in":899"#, 839),
        (r#""expires_in":"899""#, 839),
        (r#""expires_in":90"#, 45),
        ("", 839),
        // What is said to be over already is not fetched again at once.
        (r#""expires_in":0"#, 5),
        (r#""expires_in":1"#, 5),
        (r#""expires_in":-7"#, 839),
    ] {
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
