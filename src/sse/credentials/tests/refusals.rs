//! Credentials that are refused, for all or for one folder and method, and the probes that end it.

use super::*;

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
