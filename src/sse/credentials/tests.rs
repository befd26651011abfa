mod refusals;
mod tenants;
mod tokens;

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
