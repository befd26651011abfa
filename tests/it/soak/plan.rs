//! Pure: what a seed makes happen, and what must be true at the end. Nothing here depends on how the run goes.

use std::collections::BTreeMap;

use mfa_sandbox::simulator::{Apply, Documented, Folder, Reply, Route, Rule};
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use crate::invariants::LOST;

/// How many tenants there are, each with a namespace and credentials of its own.
pub(super) const TENANTS: usize = 2;
/// How many Secrets of vendors each namespace has.
pub(super) const VENDORS: usize = 5;
/// How many objects of others each tenant holds.
pub(super) const FOREIGN: usize = 10;
pub(super) const REPLICAS: usize = 2;
/// How often one resource's fields are edited in the tenant within an hour: one more would be called flapping.
const EDITS: usize = 2;
const HOUR: u64 = 3_600_000;

/// How long, how much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) seed: u64,
    pub(super) resources: usize,
    pub(super) millis: u64,
}

/// What a resource's spec says. Everything else follows from its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) folder: Folder,
    pub(super) profile: u8,
    pub(super) host: u8,
    pub(super) timeout: u32,
    pub(super) duo: bool,
    pub(super) vendor: usize,
}

/// What a resource is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing special.
    Plain,
    /// Its object stays when it is deleted, and is taken over again.
    Retained,
    /// It claims the name of another resource.
    Twin(usize),
    /// Another administrator's object has its name.
    Squatted,
}

pub(super) fn role(resource: usize) -> Role {
    match resource % 10 {
        7 => Role::Retained,
        9 => Role::Twin(resource - 4),
        3 if resource % 20 == 3 => Role::Squatted,
        _ => Role::Plain,
    }
}

pub(super) fn tenant(resource: usize) -> usize {
    resource % TENANTS
}

/// Its name in the cluster.
pub(super) fn name(resource: usize) -> String {
    format!("r-{resource:04}")
}

/// Its name in the tenant.
pub(super) fn remote_name(resource: usize) -> String {
    match role(resource) {
        Role::Twin(of) => name(of),
        _ => name(resource),
    }
}

/// The whole resource.
pub(super) fn manifest(resource: usize, spec: &Spec) -> Value {
    let secret = |key: &str| json!({ "secretKeyRef": { "name": format!("vendor-{}", spec.vendor), "key": key } });
    let host = format!("h{}.vendor.example.com", spec.host);
    let vendor = if spec.duo {
        json!({ "duoSecurityV2": {
            "duoApiHost": host, "duoIntegrationKey": "DI00000000EXAMPLE000", "duoTimeout": spec.timeout,
            "duoSecretKey": secret("token"),
        } })
    } else {
        json!({ "oktaAdaptiveV1": {
            "oktaApiHost": host, "oktaOrg": "corp", "oktaTimeout": spec.timeout, "oktaToken": secret("token"),
        } })
    };
    let role = role(resource);
    let mut manifest = json!({
        "apiVersion": "sse.mfa-operator.io/v1alpha1",
        "kind": "MfaServer",
        "metadata": { "name": name(resource) },
        "spec": {
            "folder": spec.folder.as_str(),
            "mfaCertProfile": format!("profile-{}", spec.profile),
            "mfaVendorType": vendor,
            "deletionPolicy": if role == Role::Retained { "Retain" } else { "Delete" },
            // Whoever takes a name over must be allowed to take what an object's last owner has left.
            "adoptionPolicy": if matches!(role, Role::Plain | Role::Squatted) { "Never" } else { "Always" },
        },
    });
    if let Role::Twin(of) = role {
        manifest["spec"]["name"] = json!(name(of));
    }
    manifest
}

/// What is done to an object behind the operator's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drift {
    Profile,
    Secret,
    Gone,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Apply {
        resource: usize,
        spec: Spec,
    },
    /// Once the one of that name is gone.
    Recreate {
        resource: usize,
        spec: Spec,
    },
    Delete {
        resource: usize,
    },
    Ask {
        resource: usize,
        value: u64,
    },
    Drift {
        resource: usize,
        folder: Folder,
        drift: Drift,
    },
    /// The squatter's object goes.
    Free {
        resource: usize,
    },
    RotateVendor {
        tenant: usize,
        vendor: usize,
        version: u32,
    },
    /// `overlap`: the old credentials are good until the Secret holds the new ones.
    RotateCredentials {
        tenant: usize,
        version: u32,
        overlap: bool,
    },
    RevokeTokens {
        tenant: usize,
    },
    Fault(Box<Rule>),
    RateLimit {
        tenant: usize,
        rate: Option<u32>,
    },
    WriteLock {
        tenant: usize,
        fails: bool,
    },
    ResetConnections,
    Kill {
        replica: usize,
    },
    Terminate {
        replica: usize,
    },
    Start {
        replica: usize,
    },
    StopApiServer,
    StartApiServer,
    StopSimulator,
    StartSimulator,
    /// The invariants are looked at.
    Check,
}

impl Action {
    /// What kind of action it is, for the count.
    pub(super) fn kind(&self) -> String {
        let text = format!("{self:?}");
        text.split([' ', '(']).next().unwrap_or_default().to_owned()
    }
}

/// All of it, and what it comes to.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) size: Size,
    /// Each with its time, in milliseconds.
    pub(super) actions: Vec<(u64, Action)>,
    /// The resources that are there at the end.
    pub(super) alive: BTreeMap<usize, Spec>,
    /// Where objects may be left that no resource has any more.
    pub(super) retained: Vec<(usize, Folder, String)>,
    /// The squatters' objects: where, and whether they are there at the end.
    pub(super) squatted: BTreeMap<usize, (Folder, bool)>,
    /// The last version of each vendor's Secret, by tenant and vendor.
    pub(super) vendors: BTreeMap<(usize, usize), u32>,
}

struct Planner {
    random: ChaCha8Rng,
    size: Size,
    timeline: BTreeMap<(u64, usize), Action>,
    plan: Plan,
    /// What was there last, for those that were deleted.
    dead: BTreeMap<usize, Spec>,
    edits: BTreeMap<usize, Vec<u64>>,
    credentials: [u32; TENANTS],
    faults: usize,
    asked: u64,
}

impl Plan {
    /// What this seed makes happen.
    pub(super) fn new(size: Size) -> Self {
        let plan = Self {
            size,
            actions: Vec::new(),
            alive: BTreeMap::new(),
            retained: Vec::new(),
            squatted: BTreeMap::new(),
            vendors: BTreeMap::new(),
        };
        let mut planner = Planner {
            random: ChaCha8Rng::seed_from_u64(size.seed),
            size,
            timeline: BTreeMap::new(),
            plan,
            dead: BTreeMap::new(),
            edits: BTreeMap::new(),
            credentials: [0; TENANTS],
            faults: 0,
            asked: 0,
        };
        planner.work();
        let Planner { timeline, mut plan, .. } = planner;
        plan.actions = timeline.into_iter().map(|((at, _), action)| (at, action)).collect();
        plan
    }

    /// What tells two plans apart.
    pub(super) fn digest(&self) -> String {
        let digest = Sha1::digest(format!("{:?}", self.actions));
        digest.iter().take(6).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// How many actions there are of each kind.
    pub(super) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (_, action) in &self.actions {
            *counts.entry(action.kind()).or_default() += 1;
        }
        counts
    }
}

impl Planner {
    fn at(&mut self, at: u64, action: Action) {
        let serial = self.timeline.len();
        self.timeline.insert((at, serial), action);
    }

    fn work(&mut self) {
        let Size { resources, millis, .. } = self.size;
        for resource in (0..resources).filter(|resource| role(*resource) == Role::Squatted) {
            let folder = self.folder();
            self.plan.squatted.insert(resource, (folder, true));
        }
        for tenant in 0..TENANTS {
            self.plan.vendors.extend((0..VENDORS).map(|vendor| ((tenant, vendor), 0)));
        }
        self.disrupt();
        // A fifth of the time brings all of them up; then something happens ten times a second.
        let first = millis / 5;
        for resource in 0..resources {
            let at = first * resource as u64 / resources as u64;
            let spec = self.spec(resource);
            self.live(resource, &spec);
            self.at(at, Action::Apply { resource, spec });
        }
        let mut now = first;
        while now < millis {
            self.something(now);
            now += self.random.random_range(20..180);
        }
    }

    /// Outages and restarts, one at a time, of every kind in turn.
    fn disrupt(&mut self) {
        let millis = self.size.millis;
        let slot = (millis / 7).min(15_000);
        let mut kinds: Vec<u8> = Vec::new();
        let mut now = slot;
        while now + slot <= millis {
            if kinds.is_empty() {
                kinds = vec![0, 1, 2, 3, 4];
                kinds.shuffle(&mut self.random);
            }
            let longest = slot * 2 / 3;
            let away = self.random.random_range(longest / 10..longest);
            let replica = self.random.random_range(0..REPLICAS);
            let (begin, end) = match kinds.pop() {
                Some(0 | 4) => (Action::Kill { replica }, Action::Start { replica }),
                Some(1) => (Action::Terminate { replica }, Action::Start { replica }),
                Some(2) => (Action::StopApiServer, Action::StartApiServer),
                _ => (Action::StopSimulator, Action::StartSimulator),
            };
            self.at(now, begin);
            self.at(now + away, end);
            self.at(now + away + 1, Action::Check);
            now += slot;
        }
    }

    fn something(&mut self, now: u64) {
        let tenant = self.random.random_range(0..TENANTS);
        match self.random.random_range(0..100) {
            0..28 => {
                let Some(resource) = self.living() else { return };
                let folder = self.plan.alive[&resource].folder;
                let spec = Spec { folder, ..self.spec(resource) };
                self.live(resource, &spec);
                self.at(now, Action::Apply { resource, spec });
            }
            28..40 => {
                let Some(resource) = self.living() else { return };
                if let Some(spec) = self.plan.alive.remove(&resource) {
                    self.dead.insert(resource, spec);
                }
                self.at(now, Action::Delete { resource });
            }
            40..53 => {
                let dead: Vec<_> = self.dead.keys().copied().collect();
                let Some(resource) = dead.choose(&mut self.random).copied() else { return };
                let spec = self.spec(resource);
                self.dead.remove(&resource);
                self.live(resource, &spec);
                self.at(now, Action::Recreate { resource, spec });
            }
            53..57 => {
                let Some(resource) = self.living() else { return };
                self.asked += 1;
                self.at(now, Action::Ask { resource, value: self.asked });
            }
            57..69 => self.drift(now),
            69..72 => {
                let vendor = self.random.random_range(0..VENDORS);
                let version = self.plan.vendors.entry((tenant, vendor)).or_default();
                *version += 1;
                let version = *version;
                self.at(now, Action::RotateVendor { tenant, vendor, version });
            }
            72..74 => {
                self.credentials[tenant] += 1;
                let (version, overlap) = (self.credentials[tenant], self.random.random());
                self.at(now, Action::RotateCredentials { tenant, version, overlap });
            }
            74 => self.at(now, Action::RevokeTokens { tenant }),
            75..94 => {
                let rule = self.fault(tenant);
                self.at(now, Action::Fault(Box::new(rule)));
            }
            94..96 => {
                let rate = self.random.random_range(5..30);
                let ends = now + self.random.random_range(1_000..6_000);
                self.at(now, Action::RateLimit { tenant, rate: Some(rate) });
                self.at(ends, Action::RateLimit { tenant, rate: None });
            }
            96 => {
                let ends = now + self.random.random_range(1_000..6_000);
                self.at(now, Action::WriteLock { tenant, fails: true });
                self.at(ends, Action::WriteLock { tenant, fails: false });
            }
            97 => self.at(now, Action::ResetConnections),
            _ => {
                let standing: Vec<_> = self.plan.squatted.iter().filter(|(_, (_, there))| *there).collect();
                let Some((&resource, &(folder, _))) = standing.choose(&mut self.random).copied() else { return };
                self.plan.squatted.insert(resource, (folder, false));
                self.at(now, Action::Free { resource });
            }
        }
    }

    fn drift(&mut self, now: u64) {
        let Some(resource) = self.living() else { return };
        let folder = self.plan.alive[&resource].folder;
        let drift = *[Drift::Profile, Drift::Secret, Drift::Gone].choose(&mut self.random).unwrap();
        if drift != Drift::Gone {
            let edits = self.edits.entry(resource).or_default();
            edits.retain(|at| at + HOUR > now);
            if edits.len() >= EDITS {
                return;
            }
            edits.push(now);
        }
        self.at(now, Action::Drift { resource, folder, drift });
    }

    /// Faults of a few requests at most, so that no delay grows beyond the end.
    fn fault(&mut self, tenant: usize) -> Rule {
        let random = &mut self.random;
        let late = Apply::LateMs(random.random_range(100..1_500));
        let effect = *[Apply::Yes, Apply::Yes, Apply::No, late].choose(random).unwrap();
        let (lost, reply) = match random.random_range(0..14) {
            0 | 1 => (true, Reply::Hang),
            2 | 3 => (true, Reply::Reset),
            4 => (true, Reply::Close),
            5 => (true, Reply::TruncatedBody),
            6 => (true, Reply::TruncatedJson),
            7 => (true, Reply::Html { status: *[502, 503, 504].choose(random).unwrap() }),
            8 => (false, Reply::TooManyRequests { retry_after: Some(random.random_range(1..3).to_string()) }),
            9 => (false, Reply::WriteLock),
            10 => (false, Reply::ServerError { message: "Internal Error".to_owned() }),
            11 => (false, Reply::Documented(Documented::SessionTimeout)),
            12 => (false, Reply::Documented(Documented::InvalidObject)),
            _ => (false, Reply::Slow { chunk_bytes: 64, pause_ms: 5 }),
        };
        let (method, route) = *[
            ("POST", Route::MfaServers),
            ("POST", Route::MfaServers),
            ("PUT", Route::MfaServer),
            ("DELETE", Route::MfaServer),
            ("GET", Route::MfaServer),
            ("GET", Route::MfaServers),
            ("POST", Route::Token),
        ]
        .choose(random)
        .unwrap();
        self.faults += 1;
        let name = format!("{}-{}", if lost { LOST } else { "told" }, self.faults);
        let times = random.random_range(1..3);
        // What is wrong with a body concerns a write only.
        let reply = match reply {
            Reply::Documented(Documented::InvalidObject)
                if !["POST", "PUT"].contains(&method) || route == Route::Token =>
            {
                Reply::WriteLock
            }
            reply => reply,
        };
        let garbled = matches!(reply, Reply::TruncatedBody | Reply::TruncatedJson);
        let rule = Rule::new(reply).named(&name).on(method, route).tenant(&tsg_id(tenant)).times(times);
        // The answer says what was done, unless it is lost.
        if lost && !garbled && method != "GET" && route != Route::Token { rule.apply(effect) } else { rule }
    }

    fn living(&mut self) -> Option<usize> {
        let alive: Vec<_> = self.plan.alive.keys().copied().collect();
        alive.choose(&mut self.random).copied()
    }

    fn live(&mut self, resource: usize, spec: &Spec) {
        if role(resource) == Role::Retained {
            self.plan.retained.push((tenant(resource), spec.folder, remote_name(resource)));
        }
        self.plan.alive.insert(resource, spec.clone());
    }

    fn folder(&mut self) -> Folder {
        *Folder::ALL.choose(&mut self.random).unwrap()
    }

    fn spec(&mut self, resource: usize) -> Spec {
        let anywhere = self.folder();
        let folder = match role(resource) {
            Role::Twin(of) => self.plan.alive.get(&of).or(self.dead.get(&of)).map_or(anywhere, |spec| spec.folder),
            Role::Squatted => self.plan.squatted[&resource].0,
            Role::Plain | Role::Retained => anywhere,
        };
        let random = &mut self.random;
        Spec {
            folder,
            profile: random.random_range(0..5),
            host: random.random_range(0..5),
            timeout: random.random_range(5..60),
            duo: random.random_ratio(1, 3),
            vendor: random.random_range(0..VENDORS),
        }
    }
}

/// The id of a tenant.
pub(super) fn tsg_id(tenant: usize) -> String {
    format!("10000000{:02}", tenant + 1)
}

#[test]
fn the_same_seed_makes_the_same_things_happen_and_another_one_others() {
    let size = Size { seed: 7, resources: 40, millis: 60_000 };
    let plan = Plan::new(size);
    assert_eq!(plan.digest(), Plan::new(size).digest());
    assert_eq!(plan.alive, Plan::new(size).alive);
    assert_ne!(plan.digest(), Plan::new(Size { seed: 8, ..size }).digest());
    assert!(plan.actions.is_sorted_by_key(|(at, _)| *at));
    // Nothing is changed that is not there, and nothing is created twice.
    let mut alive = std::collections::BTreeSet::new();
    for (_, action) in &plan.actions {
        match action {
            Action::Recreate { resource, .. } => assert!(alive.insert(*resource), "{action:?}"),
            Action::Apply { resource, .. } => {
                alive.insert(*resource);
            }
            Action::Delete { resource } => assert!(alive.remove(resource), "{action:?}"),
            Action::Drift { resource, .. } | Action::Ask { resource, .. } => {
                assert!(alive.contains(resource), "{action:?}");
            }
            _ => {}
        }
    }
    assert!(alive.iter().eq(plan.alive.keys()));
}
