//! What is shown, in order.

use serde_json::{Value, json};

use super::{
    Result,
    checks::{holds, object, same},
    scene::Scene,
};
use crate::simulator::{Documented, Folder, Position, Route, Rule};

/// What the examples define: the resource, and what it is in the tenant.
const EXAMPLES: [(&str, Folder, &str); 4] = [
    ("okta-adaptive", Folder::MobileUsers, "okta-adaptive"),
    ("duo-security", Folder::RemoteNetworks, "duo-security"),
    ("ping-identity", Folder::MobileUsersExplicitProxy, "ping-identity"),
    ("rsa-securid-access", Folder::Shared, "RSA SecurID Access"),
];

const OKTA_TIMEOUT: &str = "/mfa_vendor_type/okta_adaptive_v1/okta_timeout";
const OKTA_TOKEN: &str = "/mfa_vendor_type/okta_adaptive_v1/okta_token";

/// The folder of what is applied here and is no example.
macro_rules! manifest {
    ($name:literal) => {
        concat!("sandbox/src/demo/manifests/", $name, ".yaml")
    };
}

/// The whole demo, but for the deletion where all is to be kept.
pub(super) async fn play(scene: &mut Scene<'_>) -> Result {
    let partner = begin(scene).await?;
    four_vendors(scene).await?;
    refused_by_the_tenant(scene).await?;
    refused_before_the_tenant(scene).await?;
    drift(scene).await?;
    rotation(scene).await?;
    adoption(scene, &partner).await?;
    duplicate(scene).await?;
    if !scene.options.keep {
        deletion(scene).await?;
        stop(scene).await?;
    }
    scene.heading("What the tenant was asked")?;
    scene.show_requests()?;
    scene.conclude()
}

/// The tenant as others left it, and the cluster. Returns the id of what is to be adopted.
async fn begin(scene: &mut Scene<'_>) -> Result<String> {
    scene.heading("The operator starts")?;
    scene.say("Another administrator has made two objects in the tenant:")?;
    let tenant = scene.tenant();
    tenant.create(Folder::RemoteNetworks, Position::Pre, &Scene::by_hand("legacy-vpn", None))?;
    let okta = json!({"okta_adaptive_v1": {
        "okta_api_host": "old.okta.example.com",
        "okta_baseuri": "/api/v1",
        "okta_org": "partners",
        "okta_timeout": "120",
        "okta_token": scene.options.secrets.by_hand,
    }});
    let partner = Scene::by_hand("partner-portal", Some(okta));
    let partner = tenant.create(Folder::MobileUsers, Position::Pre, &partner)?;
    scene.show_tenant()?;

    scene.say("The definition of MfaServer, the operator, and the credentials of the tenant:")?;
    scene.kubectl(&["apply", "--server-side", "-f", "crds/mfaservers.yaml"]).await?;
    scene.kubectl(&["wait", "crd/mfaservers.sse.mfa-operator.io", "--for=condition=Established"]).await?;
    scene.start_operator()?;
    scene.kubectl(&["create", "namespace", "mfa"]).await?;
    scene.kubectl(&["config", "set-context", "--current", "--namespace=mfa"]).await?;
    let credentials = scene.credentials();
    let create = ["create", "secret", "generic", "prisma-access", "--from-env-file=/dev/stdin"];
    scene.kubectl_with(&create, "service-account.env", &credentials).await?;
    Ok(partner)
}

async fn four_vendors(scene: &mut Scene<'_>) -> Result {
    scene.heading("Four vendors become Ready")?;
    let files = EXAMPLES.map(|(resource, ..)| format!("examples/{resource}.yaml"));
    let mut apply = vec!["apply"];
    apply.extend(files.iter().flat_map(|file| ["-f", file]));
    scene.kubectl(&apply).await?;
    scene.kubectl(&["wait", "mfa", "--all", "--for=condition=Ready", "--timeout=60s"]).await?;
    scene.kubectl(&["get", "mfa"]).await?;
    let columns = "custom-columns=NAME:.metadata.name,REMOTE-ID:.status.id,NAME-IN-TENANT:.status.name";
    scene.kubectl(&["get", "mfa", "-o", columns]).await?;
    for (resource, folder, name) in EXAMPLES {
        let id = scene.resource(resource).await?["status"]["id"].as_str().unwrap_or_default().to_owned();
        let sight = object(&scene.tenant(), folder, name).and_then(|object| same(&id, &object.id));
        scene.check(&format!("the tenant holds {name} in {}, under that id", folder.as_str()), sight)?;
    }
    let sight = same(&scene.answers("POST", None), &vec![201; EXAMPLES.len()]);
    scene.check("one POST each, and not one more", sight)
}

async fn refused_by_the_tenant(scene: &mut Scene<'_>) -> Result {
    scene.heading("What the tenant refuses is told by the API's own name for it")?;
    scene.say("Another administrator's object has the name, as the folder's list has shown:")?;
    scene.kubectl(&["apply", "-f", manifest!("name-listed")]).await?;
    scene.until_refused("legacy-vpn", "NameNotUnique").await?;
    let sight = same(&scene.answers("POST", Some("legacy-vpn")), &Vec::new());
    scene.check("nothing was sent for it", sight)?;

    scene.say("Another administrator takes the name after the folder was listed, so only the API's 409 tells:")?;
    scene.tenant().create(Folder::MobileUsers, Position::Pre, &Scene::by_hand("contractors", None))?;
    scene.kubectl(&["apply", "-f", manifest!("name-since")]).await?;
    scene.until_refused("contractors", "NameNotUnique").await?;
    let sight = same(&scene.answers("POST", Some("contractors")), &vec![409]);
    scene.check("one POST, answered 409", sight)?;

    scene.say("A token that the API does not accept, in a Secret of its own:")?;
    let token = scene.options.secrets.bad_token.clone();
    scene.simulator.inject(Rule::documented(Documented::InvalidCredential).named("a bad token").token(&token));
    let create = ["create", "secret", "generic", "revoked-token", "--from-file=token=/dev/stdin"];
    scene.kubectl_with(&create, "revoked.token", &token).await?;
    scene.kubectl(&["apply", "-f", manifest!("bad-token")]).await?;
    scene.until_refused("bad-token", "InvalidCredential").await?;

    scene.say("An object that the API calls invalid:")?;
    let rule = Rule::documented(Documented::InvalidObject).named("an invalid object");
    scene.simulator.inject(rule.on("POST", Route::MfaServers).object("invalid-object"));
    scene.kubectl(&["apply", "-f", manifest!("invalid-object")]).await?;
    scene.until_refused("invalid-object", "InvalidObject").await
}

async fn refused_before_the_tenant(scene: &mut Scene<'_>) -> Result {
    scene.say("A Secret that is not there:")?;
    scene.kubectl(&["apply", "-f", manifest!("late-secret")]).await?;
    scene.until_refused("late-secret", "SecretNotFound").await?;

    scene.say("All of them together:")?;
    scene.kubectl(&["get", "mfa", "-l", "demo=refused"]).await?;
    let message = r#"MESSAGE:.status.conditions[?(@.type=="Ready")].message"#;
    let columns = format!("custom-columns=NAME:.metadata.name,{message}");
    scene.kubectl(&["get", "mfa", "-l", "demo=refused", "-o", &columns]).await?;

    let conditions = r#"jsonpath={range .status.conditions[*]}{.type}={.status} {.reason}{"\n"}{end}"#;
    scene.say("All conditions of one of them:")?;
    scene.kubectl(&["get", "mfa/bad-token", "-o", conditions]).await?;

    scene.say("The Secret appears, and nothing else has to be done:")?;
    let late = scene.options.secrets.late.clone();
    scene
        .kubectl_with(&["create", "secret", "generic", "late", "--from-file=secretKey=/dev/stdin"], "late.key", &late)
        .await?;
    scene.kubectl(&["wait", "mfa/late-secret", "--for=condition=Ready", "--timeout=60s"]).await?;

    scene.say("What can be seen to be wrong is refused by the API server itself, in a sentence:")?;
    let sentence = scene.kubectl_refused(&["apply", "-f", manifest!("wrong-folder")]).await?;
    let sight = holds(sentence.contains("spec.folder") && sentence.contains("Mobile Users"), || sentence);
    scene.check("it names the field and the folders that there are", sight)?;
    let sentence = scene.kubectl_refused(&["apply", "-f", manifest!("two-vendors")]).await?;
    let sight = holds(sentence.contains("must have exactly one of"), || sentence);
    scene.check("it says what to keep", sight)
}

async fn drift(scene: &mut Scene<'_>) -> Result {
    scene.heading("What is changed by hand is changed back, or told")?;
    let tenant = scene.tenant();
    scene.say(
        "Somebody sets okta_timeout of okta-adaptive to 600 in the tenant. The next list would show it; ask now:",
    )?;
    let okta = object(&tenant, Folder::MobileUsers, "okta-adaptive").map(|object| object.id).unwrap_or_default();
    tenant.edit(&okta, &json!({"mfa_vendor_type": {"okta_adaptive_v1": {"okta_timeout": "600"}}}))?;
    scene.reconcile_now("okta-adaptive").await?;
    let timeout = move |tenant: &crate::simulator::TenantHandle| {
        let found = tenant.get(&okta).and_then(|object| object.field(OKTA_TIMEOUT).cloned());
        same(&found, &Some(json!("60")))
    };
    scene.until_tenant("it is 60 again, as the spec says", timeout).await?;
    let sight = same(&scene.answers("PUT", None), &vec![200]);
    scene.check("one PUT", sight)?;

    scene.say("Somebody changes RSA SecurID Access, whose driftPolicy is Report:")?;
    let rsa = object(&tenant, Folder::Shared, "RSA SecurID Access").map(|object| object.id).unwrap_or_default();
    tenant.edit(&rsa, &json!({"mfa_cert_profile": "by-hand-ca"}))?;
    scene.reconcile_now("rsa-securid-access").await?;
    scene.until_refused("rsa-securid-access", "DriftReported").await?;
    let columns = "custom-columns=NAME:.metadata.name,DRIFT:.status.drift";
    scene.kubectl(&["get", "mfa/rsa-securid-access", "-o", columns]).await?;
    let drift = scene.resource("rsa-securid-access").await?["status"]["drift"].clone();
    scene.check("it names the field", same(&drift, &json!(["mfaCertProfile"])))?;
    let sight = same(&scene.answers("PUT", Some("RSA SecurID Access")), &Vec::new());
    scene.check("nothing was sent for it", sight)?;

    scene.say("Somebody changes it back:")?;
    tenant.edit(&rsa, &json!({"mfa_cert_profile": "corp-ca"}))?;
    scene.reconcile_now("rsa-securid-access").await?;
    scene.kubectl(&["wait", "mfa/rsa-securid-access", "--for=condition=Ready", "--timeout=60s"]).await?;
    Ok(())
}

async fn rotation(scene: &mut Scene<'_>) -> Result {
    scene.heading("A Secret is changed")?;
    let before = scene.answers("PUT", None).len();
    let rotated = scene.options.secrets.rotated.clone();
    let patch = json!({"stringData": {"token": rotated}}).to_string();
    let words = ["patch", "secret", "okta-api", "--type=merge", "--patch-file=/dev/stdin"];
    scene.kubectl_with(&words, "new-token.json", &patch).await?;
    let holds_it = |tenant: &crate::simulator::TenantHandle| {
        let object = object(tenant, Folder::MobileUsers, "okta-adaptive")?;
        let is_new = object.field(OKTA_TOKEN).and_then(Value::as_str) == Some(rotated.as_str());
        holds(is_new, || "it holds another token".to_owned())
    };
    scene.until_tenant("the tenant holds the new token", holds_it).await?;
    scene.reconcile_now("okta-adaptive").await?;
    scene.kubectl(&["wait", "mfa/okta-adaptive", "--for=condition=Ready", "--timeout=60s"]).await?;
    let sight = same(&scene.answers("PUT", None).get(before..), &Some([200].as_slice()));
    scene.check("one PUT, of the resource that uses it, and none of the others", sight)
}

async fn adoption(scene: &mut Scene<'_>, partner: &str) -> Result {
    scene.heading("What exists already is adopted, where that is wished")?;
    scene.kubectl(&["apply", "-f", manifest!("adopted")]).await?;
    scene.kubectl(&["wait", "mfa/partner-portal", "--for=condition=Ready", "--timeout=60s"]).await?;
    let id = scene.resource("partner-portal").await?["status"]["id"].clone();
    scene.check("it has the id of the object that was there", same(&id, &json!(partner)))?;
    let adopted = scene.tenant().get(partner);
    let field = |pointer| adopted.as_ref().and_then(|object| object.field(pointer)).cloned();
    let saw = [field("/mfa_cert_profile"), field(OKTA_TIMEOUT)];
    scene.check("its fields are the spec's", same(&saw, &[Some(json!("corp-ca")), Some(json!("30"))]))?;
    let saw = (scene.answers("POST", Some("partner-portal")), scene.answers("PUT", Some("partner-portal")));
    scene.check("no POST, one PUT", same(&saw, &(Vec::new(), vec![200])))
}

async fn duplicate(scene: &mut Scene<'_>) -> Result {
    scene.heading("One object has one owner")?;
    scene.kubectl(&["apply", "-f", manifest!("duplicate")]).await?;
    scene.until_refused("okta-copy", "DuplicateClaim").await?;
    scene.kubectl(&["get", "mfa", "okta-adaptive", "okta-copy"]).await?;
    let profile = object(&scene.tenant(), Folder::MobileUsers, "okta-adaptive")
        .map(|object| object.field("/mfa_cert_profile").cloned());
    scene.check("the object is as its owner says", same(&profile, &Ok(Some(json!("corp-ca")))))
}

async fn deletion(scene: &mut Scene<'_>) -> Result {
    scene.heading("What is deleted here is gone there, and nothing else")?;
    scene.kubectl(&["get", "mfa"]).await?;
    scene.say("The tenant before:")?;
    scene.show_tenant()?;

    scene.say("The duplicate owns nothing:")?;
    scene.kubectl(&["delete", "mfa/okta-copy", "--timeout=60s"]).await?;
    let sight = same(&scene.answers("DELETE", None), &Vec::new());
    scene.check("no DELETE was sent", sight)?;

    scene.say("All others:")?;
    scene.kubectl(&["delete", "mfa", "--all", "--timeout=60s"]).await?;
    scene.kubectl(&["get", "mfa"]).await?;
    scene.say("The tenant after:")?;
    scene.show_tenant()?;
    let mut left: Vec<(String, bool, u64)> =
        scene.tenant().objects().into_iter().map(|object| (object.name, object.by_hand, object.version)).collect();
    left.sort();
    // Changed by hand, and changed back.
    let retained = ("RSA SecurID Access".to_owned(), false, 3);
    let foreign = |name: &str| (name.to_owned(), true, 1);
    let sight = same(&left, &vec![retained, foreign("contractors"), foreign("legacy-vpn")]);
    scene.check("other administrators' objects are as they were, and deletionPolicy: Retain has left its own", sight)
}

async fn stop(scene: &mut Scene<'_>) -> Result {
    scene.say("The operator is asked to end, with SIGTERM:")?;
    if let Some(mut operator) = scene.operator.take() {
        let status = operator.stop().await;
        // Its log is needed if it did not end as it should.
        scene.operator = Some(operator);
        let status = status?;
        scene.check("it has ended in order", holds(status.success(), || format!("it ended with {status}")))?;
    }
    Ok(())
}
