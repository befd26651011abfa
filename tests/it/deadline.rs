//! What a pass does when its time to write ends in the midst of it. The controller runs in this process, since one that
//! has lost its lease ends before it could do anything wrong.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::runtime::events::Reporter;
use mfa_operator::{
    controller,
    crd::DeletionPolicy,
    reconcile::{
        Context, Settings,
        announce::Announcer,
        deadline::Deadline,
        gap::Gaps,
        peers::Peers,
        scope::Scope,
        secrets::{Secrets, Versions},
    },
    sse::{
        self, Limits, Schedule, TokenEndpoint,
        credentials::{Credentials, Wakes},
        lists::Lists,
    },
};
use mfa_sandbox::simulator::{Apply, Entry, Outcome, Reply, Route, Rule};
use serde_json::json;
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

use crate::operator::{Stage, okta};

/// A controller that leads until it is told otherwise.
struct Leader {
    deadline: Deadline,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Leader {
    fn start(stage: &Stage) -> Self {
        let resync = Duration::from_secs(10);
        let api = sse::Settings {
            api_url: stage.simulator.url(),
            request_timeout: Duration::from_mins(5),
            ..sse::Settings::default()
        };
        let client = sse::Client::new(&api).expect("a client of the API");
        let endpoint = TokenEndpoint::new(&api, &stage.simulator.auth_url()).expect("a client of the token endpoint");
        let kube = stage.namespace.client.clone();
        let (wakes, woken) = Wakes::channel();
        let schedule = Schedule::new(|_, _, _| Duration::from_secs(1));
        let limits = Limits { qps: 0, burst: 1, max_in_flight: 8 };
        let credentials = Credentials::new(endpoint, limits, schedule.clone(), wakes.clone());
        let lists = Lists::new(client.clone(), Arc::clone(&credentials), schedule, resync, wakes.clone());
        let deadline = Deadline::not_yet();
        deadline.extend(Instant::now() + Duration::from_hours(1));
        let reporter = Reporter { controller: "tests".to_owned(), instance: None };
        let context = Context {
            secrets: Secrets::new(
                kube.clone(),
                Arc::clone(&credentials),
                Arc::clone(&lists),
                wakes.clone(),
                Versions::new(Some(Scope::Cluster), Duration::from_mins(10)),
            ),
            announcer: Announcer::channel(kube.clone(), reporter).0,
            kube,
            client,
            credentials,
            lists,
            peers: Arc::new(Peers::new(wakes.clone())),
            wakes,
            settings: Settings {
                scope: Scope::Cluster,
                credentials_secret: "prisma-access".to_owned(),
                shared_credentials: None,
                default_deletion_policy: DeletionPolicy::Delete,
                resync,
                request_timeout: api.request_timeout,
            },
            deadline: deadline.clone(),
            memories: Mutex::default(),
            metrics: mfa_operator::metrics::Metrics::new(),
            health: mfa_operator::health::Health::new(),
            gaps: Gaps::untold(),
        };
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let running = tokio::spawn(controller::run(Arc::new(context), 8, woken, stopped));
        Self { deadline, stop, running }
    }

    /// Returns when the passes that are under way have ended.
    async fn stop(self) {
        self.stop.send(()).expect("a controller that runs");
        self.running.await.expect("the controller's end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_in_flight_is_dropped_at_the_deadline_and_found_by_the_next_leader() {
    let stage = Stage::new().await;
    let leader = Leader::start(&stage);
    // It takes effect, and is never answered.
    let hangs = Rule::new(Reply::Hang).on("POST", Route::MfaServers).apply(Apply::Yes);
    stage.simulator.inject(hangs);
    stage.apply(&okta("corp")).await;
    stage.wait_requests("a create", |log| log.count("POST", Route::MfaServers) == 1).await;
    leader.deadline.end();
    let dropped = |entry: &Entry| entry.method == "POST" && entry.outcome == Outcome::Hung;
    stage.wait_requests("the create dropped", |log| log.entries().iter().any(dropped)).await;
    stage.wait_ready("corp", "False", "OutcomeUnknown").await;
    stage.apply(&okta("another")).await;
    leader.stop().await;
    assert_eq!(stage.simulator.log().count("POST", Route::MfaServers), 1, "nothing more was sent");
    assert!(stage.get("another").await.expect("a resource").metadata.finalizers.is_none(), "nor prepared");

    stage.simulator.clear_rules();
    let _next = stage.operator().impatient().start();
    stage.wait_ready("corp", "True", "Available").await;
    stage.wait_ready("another", "True", "Available").await;
    assert_eq!(stage.simulator.log().count("POST", Route::MfaServers), 2);
    assert_eq!(stage.tenant.objects().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_may_outlast_the_deadline_and_the_write_after_it_is_not_sent() {
    let stage = Stage::new().await;
    let leader = Leader::start(&stage);
    stage.apply(&okta("corp")).await;
    stage.wait_ready("corp", "True", "Available").await;
    let slow = Rule::new(Reply::Usual).on("GET", Route::MfaServer).delay(Duration::from_millis(500));
    stage.simulator.inject(slow);
    stage.patch("corp", &json!({ "spec": { "mfaCertProfile": "another-ca" } })).await;
    stage.wait_requests("a look before the write", |log| log.count("GET", Route::MfaServer) == 1).await;
    leader.deadline.end();
    stage.wait_requests("its answer", |log| log.answered("GET", Route::MfaServer, 200) == 1).await;
    leader.stop().await;
    assert_eq!(stage.simulator.log().count("PUT", Route::MfaServer), 0);

    stage.simulator.clear_rules();
    let _next = stage.operator().impatient().start();
    stage.wait_ready("corp", "True", "Available").await;
    assert_eq!(stage.simulator.log().count("PUT", Route::MfaServer), 1);
}
