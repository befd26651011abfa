//! Whose tenant a credential is for, and the budget that all credentials of a tenant share.

use super::*;

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
    let in_flight = new.budget.try_acquire().unwrap();
    world.answered(&new, Method::Get, Err(throttled(Some(MINUTE))));
    assert!(old.budget.paused_until().is_none(), "its word alone does not count");
    world.credentials.settle(&new, FOLDER, Method::Get, in_flight, &Ok(()));
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
