//! `adoptionPolicy` against what may stand in the tenant already, as one table.

use std::fmt::Write as _;

use mfa_operator::crd::MfaServer;
use mfa_sandbox::simulator::{
    Apply, Folder, Options, Position, Reply, Route, Rule, SecretEcho, TenantHandle, TenantOptions,
};
use serde_json::{Value, json};

use crate::operator::{OKTA_TOKEN, Stage, TENANT, TOKEN, okta_with, says};

const POLICIES: [&str; 3] = ["Never", "IfIdentical", "Always"];

/// What stands in the tenant before the resource is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Situation {
    Absent,
    Identical,
    Different,
    SecretDiffers,
    /// The same fields, and a secret that is echoed as a mask.
    Unverifiable,
    /// An object of the parent folder, which the list shows with its folder.
    Inherited,
    /// The same where items do not tell their folders.
    InheritedUntold,
    /// An object of ours whose creation was answered by silence.
    OursFromALostPost,
    /// It was ours, and another administrator has deleted it and made one of the same name.
    UnderAnotherId,
}

use Situation::{
    Absent, Different, Identical, Inherited, InheritedUntold, OursFromALostPost, SecretDiffers, UnderAnotherId,
    Unverifiable,
};

const SITUATIONS: [Situation; 9] = [
    Absent,
    Identical,
    Different,
    SecretDiffers,
    Unverifiable,
    Inherited,
    InheritedUntold,
    OursFromALostPost,
    UnderAnotherId,
];

/// What is to come of it: the reason of `Ready`, and how many PUTs the object has seen.
#[allow(clippy::match_same_arms, reason = "a table")]
fn expected(situation: Situation, policy: &str) -> (&'static str, usize) {
    match (situation, policy) {
        (Absent | Inherited | InheritedUntold | OursFromALostPost, _) => ("Available", 0),
        (_, "Never") => ("NameNotUnique", 0),
        // Another id is no drift that may be corrected: it is adopted, or it is not.
        (Identical | Unverifiable | UnderAnotherId, "IfIdentical") | (Identical | UnderAnotherId, "Always") => {
            ("Available", 0)
        }
        (Different | SecretDiffers, "IfIdentical") => ("AdoptionRefused", 0),
        (Different | SecretDiffers | Unverifiable, "Always") => ("Available", 1),
        _ => unreachable!("{situation:?} with {policy}"),
    }
}

fn name(situation: Situation, policy: &str) -> String {
    format!("{situation:?}-{policy}").to_lowercase()
}

fn body(name: &str, profile: &str, token: &str) -> Value {
    json!({
        "name": name,
        "mfa_cert_profile": profile,
        "mfa_vendor_type": { "okta_adaptive_v1": {
            "okta_api_host": "corp.okta.example.com",
            "okta_baseuri": "/api/v1",
            "okta_org": "corp",
            "okta_timeout": "30",
            "okta_token": token,
        }},
    })
}

/// The tenants: one echoes digests, one masks, one does not tell folders.
fn tenant_of(situation: Situation) -> (&'static str, &'static str, &'static str) {
    match situation {
        Unverifiable => ("1000000002", "the-bearer-token-of-the-masking-tenant", "masking"),
        InheritedUntold => ("1000000003", "the-bearer-token-of-the-silent-tenant", "silent"),
        _ => (TENANT, TOKEN, "prisma-access"),
    }
}

fn prepare(tenant: &TenantHandle, situation: Situation, name: &str) {
    let create = |folder, body: &Value| tenant.create(folder, Position::Pre, body).map(drop).expect("an object");
    match situation {
        Absent | OursFromALostPost | UnderAnotherId => {}
        Identical | Unverifiable => create(Folder::MobileUsers, &body(name, "corp-ca", OKTA_TOKEN)),
        Different => create(Folder::MobileUsers, &body(name, "another-ca", OKTA_TOKEN)),
        SecretDiffers => create(Folder::MobileUsers, &body(name, "corp-ca", "another-token-0123")),
        Inherited | InheritedUntold => {
            create(Folder::MobileUsersContainer, &body(name, "another-ca", "foreign-token-1"));
        }
    }
}

fn cases() -> impl Iterator<Item = (Situation, &'static str)> {
    SITUATIONS.into_iter().flat_map(|situation| POLICIES.into_iter().map(move |policy| (situation, policy)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_adoption_policy_does_what_it_says_whatever_stands_there() {
    let mut options = Options::single(TENANT, TOKEN);
    for situation in [Unverifiable, InheritedUntold] {
        let (tsg, token, _) = tenant_of(situation);
        options = options.tenant(tsg, TenantOptions::with_bearer_token(token));
    }
    let stage = Stage::with(options).await;
    stage.simulator.tenant(tenant_of(Unverifiable).0).answer(|answers| answers.secrets = SecretEcho::Mask);
    stage.simulator.tenant(tenant_of(InheritedUntold).0).answer(|answers| answers.item_folder = false);
    for situation in [Unverifiable, InheritedUntold] {
        let (_, token, secret) = tenant_of(situation);
        stage.secret(secret, &[("token", token)]).await;
    }
    for (situation, policy) in cases() {
        prepare(&stage.simulator.tenant(tenant_of(situation).0), situation, &name(situation, policy));
    }
    for policy in POLICIES {
        let lost = Rule::new(Reply::Close).on("POST", Route::MfaServers).object(&name(OursFromALostPost, policy));
        stage.simulator.inject(lost.apply(Apply::Yes).once());
    }
    let foreign: Vec<_> = stage.simulator.objects();
    let operator = stage.operator().flag("--api-qps", "0").start();
    for (situation, policy) in cases() {
        let (_, _, secret) = tenant_of(situation);
        let spec = json!({ "adoptionPolicy": policy, "credentialsSecretRef": { "name": secret } });
        stage.apply(&okta_with(&name(situation, policy), &spec)).await;
    }
    for policy in POLICIES {
        let name = name(UnderAnotherId, policy);
        stage.wait_ready(&name, "True", "Available").await;
        let object = stage.tenant.find(Folder::MobileUsers, &name).expect("an object of ours");
        stage.tenant.swap_id(&object.id).expect("another id");
        stage.annotate(&name, "sse.mfa-operator.io/reconcile-requested-at", "1").await;
        let handled = |server: &MfaServer| {
            let status = server.status.as_ref();
            status.and_then(|status| status.last_handled_reconcile_at.as_deref()) == Some("1")
        };
        stage.wait(&name, "looked at again", handled).await;
    }

    let mut wrong = String::new();
    for (situation, policy) in cases() {
        let name = name(situation, policy);
        let (reason, puts) = expected(situation, policy);
        let status = if reason == "Available" { "True" } else { "False" };
        let server = stage.wait_ready(&name, status, reason).await;
        let tenant = stage.simulator.tenant(tenant_of(situation).0);
        let object = tenant.find(Folder::MobileUsers, &name);
        let status = server.status.clone().unwrap_or_default();
        let seen = stage.simulator.log().with(|log| {
            let puts =
                |entry: &&mfa_sandbox::simulator::Entry| entry.method == "PUT" && entry.name.as_deref() == Some(&name);
            log.entries().iter().filter(puts).count()
        });
        if seen != puts {
            writeln!(wrong, "{name}: {seen} PUTs and not {puts}").unwrap();
        }
        if reason == "Available" && status.id != object.as_ref().map(|object| object.id.clone()) {
            writeln!(wrong, "{name}: the status holds id {:?}", status.id).unwrap();
        }
        if reason == "AdoptionRefused" {
            let message = server.status.iter().flat_map(|status| &status.conditions).map(|it| it.message.clone());
            let told = message.collect::<String>();
            let field = if situation == Different { "mfaCertProfile" } else { "secret" };
            if !told.contains(field) || told.contains("another-ca") || status.id.is_some() {
                writeln!(wrong, "{name}: {} says {told:?}", says(&server, "Ready").unwrap_or_default()).unwrap();
            }
        }
    }
    // Whatever was not adopted is as it was, secrets included; and nothing was created twice.
    for before in foreign {
        let policy = before.name.rsplit('-').next().unwrap_or_default();
        let adopted = policy == "always" && before.folder == Folder::MobileUsers;
        let now = stage.simulator.objects().into_iter().find(|object| object.id == before.id);
        if !adopted && now.as_ref().map(|object| (&object.body, object.version)) != Some((&before.body, before.version))
        {
            writeln!(wrong, "{}: a foreign object was changed", before.name).unwrap();
        }
    }
    for (situation, policy) in cases() {
        let name = name(situation, policy);
        let all = stage.simulator.objects();
        let here = all.iter().filter(|object| object.name == name && object.folder == Folder::MobileUsers).count();
        if here != 1 {
            writeln!(wrong, "{name}: {here} objects").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}{}", stage.log_ends());
    drop(operator);
}
