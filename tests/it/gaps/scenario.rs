//! What an operator is in the midst of when it is killed, and what must come of it all the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use mfa_operator::crd::{self, ANNOTATION_RECONCILE_REQUESTED_AT, FINALIZER};
use mfa_sandbox::simulator::{Apply, Documented, Options, Position, Reply, Route, Rule, TenantOptions, TokenShape};
use serde_json::{Value, json};

use crate::faults::{FOLDER, foreign, in_order, next_post, objects, only_object, wait_post};
use crate::invariants;
use crate::operator::{LIMIT, OKTA_TOKEN, Stage, TENANT, TOKEN, okta, okta_with};

/// The resource that it is all about.
pub(super) const CORP: &str = "corp";
/// Another one that claims the same name in the tenant.
const FIRST: &str = "first";
const OTHER_TENANT: &str = "1000000002";
const NEW_TOKEN: &str = "okta-token-of-the-day-after";
/// How long the answer to a create is held back, while its resource goes.
const HELD: Duration = Duration::from_secs(3);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scenario {
    /// A new resource.
    Create,
    /// The same, and the tenant's answer is lost.
    Unanswered,
    /// The same, and the spec is changed before it is known what came of it.
    Edited,
    /// Its spec has changed.
    Update,
    /// The vendor's Secret has changed.
    Rotate,
    /// The object was edited in the tenant.
    Drift,
    /// The object was deleted in the tenant.
    Gone,
    /// The resource is deleted.
    Delete,
    /// The same, and the object is to stay.
    Retain,
    /// Its object exists already and is to be taken over.
    Adopt,
    /// The resource goes, by force, while its object is being created.
    Stray,
    /// Somebody took the finalizer away.
    Unguarded,
    /// Its name is another's.
    NameTaken,
    /// The object that exists already is not as it should be.
    AdoptionRefused,
    /// The tenant refuses it.
    Refused,
    /// The vendor's Secret is missing.
    SecretMissing,
    /// The credentials are missing.
    CredentialMissing,
    /// The credentials are another tenant's.
    OtherTenant,
    /// Another resource owns the name.
    Duplicate,
    /// Drift is to be reported only.
    Reported,
    /// The object was edited again and again.
    Flapping,
    /// The resource is suspended.
    Suspended,
    /// An older definition let a spec through that cannot be sent.
    Invalid,
}

use Scenario::{
    Adopt, AdoptionRefused, Create, CredentialMissing, Delete, Drift, Duplicate, Edited, Flapping, Gone, Invalid,
    NameTaken, OtherTenant, Refused, Reported, Retain, Rotate, SecretMissing, Stray, Suspended, Unanswered, Unguarded,
    Update,
};

impl Scenario {
    pub(super) const ALL: &[Self] = &[
        Create,
        Unanswered,
        Edited,
        Update,
        Rotate,
        Drift,
        Gone,
        Delete,
        Retain,
        Adopt,
        Stray,
        Unguarded,
        NameTaken,
        AdoptionRefused,
        Refused,
        SecretMissing,
        CredentialMissing,
        OtherTenant,
        Duplicate,
        Reported,
        Flapping,
        Suspended,
        Invalid,
    ];

    /// Whether it is killed in every gap of it, or only where it was not killed in another one.
    pub(super) fn in_every_gap(self) -> bool {
        self < NameTaken
    }

    /// Whether the resource is in order before.
    pub(super) fn is_prepared(self) -> bool {
        matches!(
            self,
            Update
                | Rotate
                | Drift
                | Gone
                | Delete
                | Retain
                | Unguarded
                | OtherTenant
                | Duplicate
                | Reported
                | Flapping
                | Suspended
        )
    }

    /// Whether what the next operator does not know has to happen to it again.
    pub(super) fn starts_anew(self) -> bool {
        self == Flapping
    }

    pub(super) fn timeout(self) -> &'static str {
        if self == Stray { "30s" } else { "1s" }
    }

    pub(super) async fn stage(self) -> Stage {
        Stage::with(Options::single(TENANT, TOKEN).tenant(OTHER_TENANT, TenantOptions::default())).await
    }

    /// Until the resource is in order.
    pub(super) async fn prepare(self, stage: &Stage) {
        let spec = match self {
            Retain => json!({ "deletionPolicy": "Retain" }),
            Reported => json!({ "driftPolicy": "Report" }),
            OtherTenant => {
                credentials_of(stage, TENANT).await;
                json!({})
            }
            _ => json!({}),
        };
        if self == Duplicate {
            stage.apply(&okta_with(FIRST, &json!({ "name": CORP }))).await;
            stage.wait_ready(FIRST, "True", "Available").await;
        } else {
            stage.apply(&okta_with(CORP, &spec)).await;
            in_order(stage, CORP).await;
        }
    }

    /// What has happened by the time that the operator starts.
    pub(super) async fn act(self, stage: &Stage) {
        let create = |profile: &str| {
            stage.tenant.create(FOLDER, Position::Pre, &foreign(CORP, profile)).expect("an object");
        };
        match self {
            Unanswered | Edited => {
                stage.simulator.inject(next_post(CORP, Reply::Hang).apply(Apply::Yes));
            }
            Stray => {
                stage.simulator.inject(next_post(CORP, Reply::Usual).delay(HELD));
            }
            Refused => {
                let refuse = Rule::documented(Documented::InvalidObject).on("POST", Route::MfaServers).object(CORP);
                stage.simulator.inject(refuse);
            }
            Adopt | NameTaken | AdoptionRefused => create("theirs"),
            SecretMissing => stage.delete_secret("vendor").await,
            CredentialMissing => stage.delete_secret("prisma-access").await,
            Invalid => define(stage, &unchecked()).await,
            _ => {}
        }
        match self {
            Create | Unanswered | Edited | Stray | Refused | NameTaken | SecretMissing | CredentialMissing
            | Duplicate => {
                stage.apply(&okta(CORP)).await;
            }
            Adopt => drop(stage.apply(&okta_with(CORP, &json!({ "adoptionPolicy": "Always" }))).await),
            AdoptionRefused => drop(stage.apply(&okta_with(CORP, &json!({ "adoptionPolicy": "IfIdentical" }))).await),
            Update => new_profile(stage).await,
            Suspended => {
                stage.patch(CORP, &json!({ "spec": { "suspend": true, "mfaCertProfile": "new-ca" } })).await;
            }
            Rotate => drop(stage.secret("vendor", &[("token", NEW_TOKEN)]).await),
            Drift | Reported => edit(stage, "edited"),
            Gone => stage.tenant.delete(&only_object(stage, CORP).id).expect("an object to delete"),
            Delete | Retain => stage.delete(CORP).await,
            OtherTenant => credentials_of(stage, OTHER_TENANT).await,
            Unguarded => drop(stage.patch(CORP, &json!({ "metadata": { "finalizers": null } })).await),
            Flapping => {}
            Invalid => apply_invalid(stage).await,
        }
    }

    /// What happens while the operator is at it.
    pub(super) async fn meanwhile(self, stage: &Stage) {
        match self {
            Edited => {
                wait_post(stage, CORP).await;
                new_profile(stage).await;
            }
            Stray => {
                wait_post(stage, CORP).await;
                stage.delete(CORP).await;
                stage.patch(CORP, &json!({ "metadata": { "finalizers": null } })).await;
            }
            Flapping => {
                for _ in 0..3 {
                    edit(stage, "edited");
                    let value = ask(stage).await;
                    let corrected = |server: &crd::MfaServer| {
                        let status = server.status.as_ref();
                        let handled = status.and_then(|status| status.last_handled_reconcile_at.as_ref());
                        let profile = only_object(stage, CORP).field("/mfa_cert_profile") == Some(&json!("corp-ca"));
                        handled == Some(&value) && profile
                    };
                    stage.wait(CORP, "corrected", corrected).await;
                }
                edit(stage, "edited");
                ask(stage).await;
            }
            _ => {}
        }
    }

    /// Waits until the operator has come to what it has to say. `orphan`: nobody is left who knows of the object.
    pub(super) async fn reached(self, stage: &Stage, orphan: bool) {
        let is = |status, reason| async move {
            stage.wait_ready(CORP, status, reason).await;
        };
        match self {
            Create | Unanswered | Adopt => drop(in_order(stage, CORP).await),
            Edited | Update | Rotate | Drift | Gone | Unguarded => {
                let wanted = || match self {
                    Edited | Update => has(stage, "/mfa_cert_profile", "new-ca"),
                    Rotate => has(stage, "/mfa_vendor_type/okta_adaptive_v1/okta_token", NEW_TOKEN),
                    _ => has(stage, "/mfa_cert_profile", "corp-ca"),
                };
                let equal = |server: &crd::MfaServer| {
                    let status = server.status.as_ref();
                    let ids: Vec<_> = objects(stage, CORP).into_iter().map(|object| object.id).collect();
                    let guarded = server.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
                    wanted() && guarded && status.and_then(|status| status.id.clone()).into_iter().eq(ids)
                };
                // The status may say nothing new: so the operator is asked to look once more.
                ask(stage).await;
                stage.wait(CORP, "equal", equal).await;
                in_order(stage, CORP).await;
            }
            Delete | Retain => stage.wait_gone(CORP).await,
            Stray => {
                stage.wait_gone(CORP).await;
                if !orphan {
                    let deleted = |log: &mfa_sandbox::simulator::Log| log.answered("DELETE", Route::MfaServer, 200) > 0;
                    stage.wait_requests("the object's deletion", deleted).await;
                }
            }
            NameTaken => is("False", "NameNotUnique").await,
            AdoptionRefused => is("False", "AdoptionRefused").await,
            Refused => is("False", "InvalidObject").await,
            SecretMissing | CredentialMissing => is("False", "SecretNotFound").await,
            OtherTenant => is("False", "TenantMismatch").await,
            Duplicate => is("False", "DuplicateClaim").await,
            Reported => is("False", "DriftReported").await,
            Flapping => is("False", "Flapping").await,
            // Its spec has changed as well, so it is not what it was.
            Suspended => is("False", "Suspended").await,
            Invalid => is("False", "InvalidSpec").await,
        }
        if matches!(self, NameTaken | AdoptionRefused) {
            let object = only_object(stage, CORP);
            assert!(object.by_hand && object.version == 1, "another's object was changed: {object:?}");
        }
    }

    /// Takes away what is in the way, and waits until all is in order.
    pub(super) async fn mend(self, stage: &Stage) {
        match self {
            NameTaken | AdoptionRefused => {
                stage.tenant.delete(&only_object(stage, CORP).id).expect("an object to delete");
                ask(stage).await;
            }
            Refused => {
                stage.simulator.clear_rules();
                ask(stage).await;
            }
            SecretMissing => drop(stage.secret("vendor", &[("token", OKTA_TOKEN)]).await),
            CredentialMissing => drop(stage.secret("prisma-access", &[("token", TOKEN)]).await),
            OtherTenant => credentials_of(stage, TENANT).await,
            Duplicate => {
                stage.delete(FIRST).await;
                stage.wait_gone(FIRST).await;
            }
            Reported => drop(stage.patch(CORP, &json!({ "spec": { "driftPolicy": "Correct" } })).await),
            // Whoever changes the spec wants that to happen.
            Flapping => new_profile(stage).await,
            Suspended => drop(stage.patch(CORP, &json!({ "spec": { "suspend": false } })).await),
            Invalid => {
                let one = json!({ "spec": { "mfaVendorType": { "duoSecurityV2": null } } });
                stage.patch(CORP, &one).await;
            }
            _ => return,
        }
        in_order(stage, CORP).await;
    }

    /// While no operator runs: is what it made guarded by the finalizer?
    pub(super) async fn check_guard(self, stage: &Stage) {
        if matches!(self, Stray | Unguarded | Retain | Duplicate) {
            return;
        }
        if let Some(server) = stage.get(CORP).await
            && objects(stage, CORP).iter().any(|object| !object.by_hand)
        {
            let guarded = server.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
            assert!(guarded, "the object is in the tenant, and the resource could go without it");
        }
    }

    /// Whether nobody is left who knows of the object: the resource was forced away and the operator died.
    pub(super) fn may_orphan(self, died_after_that: bool, gap: Option<&str>) -> bool {
        self == Stray && died_after_that && gap.is_some_and(|gap| !gap.starts_with("DeleteStray>"))
    }

    /// The end: what the tenant holds, and what it was asked for.
    pub(super) async fn check(self, stage: &Stage, orphan: bool) {
        let objects = objects(stage, CORP);
        let server = stage.get(CORP).await;
        match self {
            Delete => assert!(server.is_none() && objects.is_empty(), "{objects:?}"),
            Stray => assert!(server.is_none() && objects.len() <= usize::from(orphan), "{objects:?}"),
            Retain => assert!(server.is_none() && objects.len() == 1, "{objects:?}"),
            _ => {
                let server = server.expect("the resource");
                let secret = |_: &str, _: &str| if self == Rotate { NEW_TOKEN } else { OKTA_TOKEN }.to_owned();
                assert_eq!(invariants::differences(&server, &only_object(stage, CORP), secret), Vec::<String>::new());
            }
        }
        let entries = stage.simulator.log().entries();
        assert_eq!(invariants::creates_beside_an_open_one(&entries), Vec::<String>::new());
        // The object was made once, and once more where it had been deleted in between.
        let made = entries.iter().filter(|entry| entry.method == "POST" && entry.applied_us.is_some()).count();
        let wanted = match self {
            Adopt => 0,
            Gone | Duplicate => 2,
            _ => 1,
        };
        assert_eq!(made, wanted, "{}", stage.log_ends());
        if matches!(self, Create | Unanswered | NameTaken) {
            assert!(!entries.iter().any(|entry| ["PUT", "DELETE"].contains(&entry.method.as_str())));
        }
        if self == Invalid {
            define(stage, &definition()).await;
        }
    }
}

/// Asks the operator to look again; answers with the verb's value.
async fn ask(stage: &Stage) -> String {
    static VALUES: AtomicU64 = AtomicU64::new(1);
    let value = VALUES.fetch_add(1, Ordering::SeqCst).to_string();
    stage.annotate(CORP, ANNOTATION_RECONCILE_REQUESTED_AT, &value).await;
    value
}

async fn new_profile(stage: &Stage) {
    stage.patch(CORP, &json!({ "spec": { "mfaCertProfile": "new-ca" } })).await;
}

fn edit(stage: &Stage, profile: &str) {
    let object = only_object(stage, CORP);
    stage.tenant.edit(&object.id, &json!({ "mfa_cert_profile": profile })).expect("an object to edit");
}

fn has(stage: &Stage, pointer: &str, value: &str) -> bool {
    let objects = objects(stage, CORP);
    objects.len() == 1 && objects[0].field(pointer) == Some(&json!(value))
}

/// The Secret holds a token that tells this tenant.
async fn credentials_of(stage: &Stage, tenant: &str) {
    let token = stage.simulator.tenant(tenant).issue_token(None, Duration::from_hours(1), TokenShape::Jwt);
    stage.secret("prisma-access", &[("token", &token)]).await;
}

fn definition() -> Value {
    serde_json::to_value(crd::crd()).expect("the definition")
}

/// A definition without any rule about the vendor, as an older one may be.
fn unchecked() -> Value {
    let mut definition = definition();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mfaVendorType";
    let vendor = definition.pointer_mut(spec).and_then(Value::as_object_mut).expect("the vendor's schema");
    vendor.remove("x-kubernetes-validations").expect("rules about the vendor");
    definition
}

async fn define(stage: &Stage, definition: &Value) {
    let definitions = Api::<CustomResourceDefinition>::all(stage.namespace.client.clone());
    let name = crd::crd().name_any();
    definitions
        .patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(definition))
        .await
        .expect("a definition");
}

/// Two vendors at once; the API server takes a moment to let them through.
async fn apply_invalid(stage: &Stage) {
    let mut server = okta(CORP);
    server["spec"]["mfaVendorType"]["duoSecurityV2"] = json!({
        "duoApiHost": "api-0.duosecurity.example.com",
        "duoIntegrationKey": "DIXXXXXXXXXXXXXXXXXX",
        "duoSecretKey": { "secretKeyRef": { "name": "vendor", "key": "token" } },
    });
    let applied = async {
        let params = PatchParams::apply("tests").force();
        while let Err(refused) = stage.servers().patch(CORP, &params, &Patch::Apply(&server)).await {
            assert!(matches!(&refused, kube::Error::Api(status) if status.code == 422), "{refused}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, applied).await.expect("a definition that lets two vendors through");
}
