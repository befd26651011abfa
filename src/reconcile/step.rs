//! Pure: the steps, and [`next_step`]: the operator's whole behaviour, as named rules in order.
//!
//! The first rule that applies names the step. A rule looks at [`Facts`] alone; when a case is missing, it is a fact and a
//! rule that are missing. `tests/golden/steps.txt` shows what the rules make of every situation.

use super::facts::{
    Adoption, Answer, Attempt, Claim, Class, Credential, CredentialProblem, Definition, Facts, Found, List, Permit,
    Read, Sameness, SecretProblem, Secrets, Sight, Tenant,
};

/// One side effect, or the end of the pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Read the resource from the API server, past the cache.
    ReadLive,
    /// Read the Secrets that the vendor's fields refer to.
    ReadSecrets,
    /// Look whether the definition of the resource is being deleted.
    ReadDefinition,
    /// Ask for the right to one call.
    TakePermit,
    /// Store finalizer and attempt, in one patch that carries the resourceVersion.
    Claim,
    /// Store the finalizer alone: the object is known.
    AddFinalizer,
    /// POST.
    Create,
    /// GET by id.
    Get,
    /// PUT by id.
    Replace,
    /// DELETE by id.
    Delete,
    /// DELETE what was created for a resource that is gone.
    DeleteStray,
    /// Take the object that the list shows as ours; the next record stores its id.
    Adopt,
    /// Apply the status that says this.
    Record(Verdict),
    /// Remove the finalizer.
    DropFinalizer,
    /// The pass ends; the verdict names what is waited for.
    Done(Verdict),
}

/// Where a pass ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The tenant holds what the spec says; the folder's next list is waited for.
    InOrder,
    /// `spec.suspend`.
    Suspended,
    /// The spec cannot be sent.
    InvalidSpec,
    /// A vendor's secret cannot be used.
    Secret(SecretProblem),
    /// The credential cannot be used.
    Credential(CredentialProblem),
    /// The credential is for another tenant than the resource.
    TenantMismatch,
    /// Another resource owns the name or the id.
    DuplicateClaim,
    /// The name is another's in the tenant.
    NameTaken,
    /// The object in the tenant may not be taken as ours.
    AdoptionRefused,
    /// The object differs or is gone, and is left so.
    DriftReported,
    /// The object was corrected again and again.
    Flapping,
    /// The tenant refused, or failed.
    Refused(Class),
    /// A create may still land.
    OutcomeUnknown,
    /// The object was found in the tenant and taken as ours; what differs is written next.
    Adopted,
    /// Not recorded: the folder's list.
    List,
    /// Not recorded: the credential or its token.
    Token,
    /// Not recorded: the call's turn.
    Permit,
    /// Not recorded: a delay.
    Delay,
    /// Not recorded: the API server.
    Kube,
    /// Not recorded: leadership.
    Leader,
    /// Not recorded: nothing; nothing of ours is left.
    Released,
}

impl Verdict {
    /// Whether the status speaks of it. What a task of its own will answer soon is not worth a write.
    #[must_use]
    pub const fn is_recorded(self) -> bool {
        !matches!(
            self,
            Self::List | Self::Token | Self::Permit | Self::Delay | Self::Kube | Self::Leader | Self::Released
        )
    }
}

/// A named line of the operator's behaviour.
pub struct Rule {
    /// Its name, as the golden table shows it.
    pub name: &'static str,
    /// The step, where the rule applies.
    pub decide: fn(&Facts) -> Option<Step>,
}

/// The next step: the first rule that applies.
#[must_use]
pub fn next_step(facts: &Facts) -> Step {
    decide(RULES, facts).1
}

/// The first of these rules that applies, by name, and its step. What no rule speaks of is in order.
#[must_use]
pub fn decide(rules: &[Rule], facts: &Facts) -> (&'static str, Step) {
    rules
        .iter()
        .find_map(|rule| (rule.decide)(facts).map(|step| (rule.name, step)))
        .unwrap_or_else(|| ("in order", stop(facts, Verdict::InOrder)))
}

/// The pass ends here: recorded first, where it is to be recorded and is not.
fn stop(f: &Facts, verdict: Verdict) -> Step {
    if verdict.is_recorded() && f.recorded != Some(verdict) { Step::Record(verdict) } else { Step::Done(verdict) }
}

/// A call towards the tenant, once it may be made. What was forbidden is not asked for again before its time.
fn call(f: &Facts, step: Step) -> Step {
    let forbidden = match step {
        Step::Claim | Step::Create => f.forbidden.post,
        Step::Replace => f.forbidden.put,
        Step::Delete => f.forbidden.delete,
        _ => false,
    };
    if forbidden {
        return stop(f, Verdict::Refused(Class::Forbidden));
    }
    match f.permit {
        Permit::Held => step,
        Permit::None => Step::TakePermit,
        Permit::Queued => Step::Done(Verdict::Permit),
    }
}

/// The step once the secrets are read, or what keeps them from being used.
fn with_secrets(f: &Facts, then: impl FnOnce(&Facts) -> Step) -> Step {
    match f.secrets {
        Secrets::Unread => Step::ReadSecrets,
        Secrets::Broken(problem) => stop(f, Verdict::Secret(problem)),
        Secrets::Ready => then(f),
    }
}

fn differs(f: &Facts) -> bool {
    f.fields != Sameness::Same || f.echo == Sameness::Differs
}

/// The rules, in the order in which they are asked.
pub const RULES: &[Rule] = &[
    // ---- what comes before all else -------------------------------------------------------------------------------
    Rule { name: "only the leader acts", decide: |f| (!f.leading).then_some(Step::Done(Verdict::Leader)) },
    Rule {
        name: "the API server failed: try the pass again",
        decide: |f| f.kube_failed.then_some(Step::Done(Verdict::Kube)),
    },
    Rule {
        name: "created for a resource that is gone: delete it",
        decide: |f| {
            let stray = f.sight == Sight::Gone && f.answer == Answer::Created && !f.retain && f.refused.is_none();
            stray.then(|| call(f, Step::DeleteStray))
        },
    },
    Rule {
        name: "the resource is gone",
        decide: |f| (f.sight == Sight::Gone).then_some(Step::Done(Verdict::Released)),
    },
    Rule {
        name: "a write was refused because the resource changed: look again",
        decide: |f| (f.sight == Sight::Stale).then_some(Step::ReadLive),
    },
    Rule {
        name: "our finalizer, and no id or an attempt: the cache may lag behind, look",
        decide: |f| {
            let asked = f.finalizer && (!f.id || f.attempt != Attempt::None);
            (asked && f.sight == Sight::Cached).then_some(Step::ReadLive)
        },
    },
    Rule {
        name: "an answer to a create is recorded before anything else",
        decide: |f| match f.answer {
            Answer::Created => Some(stop(f, Verdict::InOrder)),
            Answer::Refused(class) => Some(stop(f, Verdict::Refused(class))),
            Answer::None | Answer::Adopted => None,
        },
    },
    // ---- deletion that needs no tenant ----------------------------------------------------------------------------
    Rule {
        name: "deleted, and the finalizer is not there",
        decide: |f| (f.deleting && !f.finalizer).then_some(Step::Done(Verdict::Released)),
    },
    Rule {
        name: "force-delete: drop the finalizer without a call",
        decide: |f| (f.deleting && f.force_delete).then_some(Step::DropFinalizer),
    },
    Rule {
        name: "is the definition itself being deleted?",
        decide: |f| {
            let asked = f.deleting && !f.retain && (f.id || f.attempt == Attempt::Open);
            (asked && f.definition == Definition::Unread).then_some(Step::ReadDefinition)
        },
    },
    Rule {
        name: "Retain: drop the finalizer, leave the object",
        decide: |f| (f.deleting && (f.retain || f.definition == Definition::Dying)).then_some(Step::DropFinalizer),
    },
    Rule {
        name: "the credential may be for another tenant: an absence proves nothing",
        decide: |f| {
            let unsure = f.id && f.read == Read::Absent && f.tenant == Tenant::Unsure;
            unsure.then(|| stop(f, Verdict::TenantMismatch))
        },
    },
    Rule {
        name: "deleted, and nothing of ours is in the tenant",
        decide: |f| {
            let unacted = matches!(f.attempt, Attempt::None | Attempt::Recorded);
            (f.deleting && !f.bound() && unacted).then_some(Step::DropFinalizer)
        },
    },
    // ---- what keeps a pass from the tenant ------------------------------------------------------------------------
    Rule { name: "suspended", decide: |f| (f.suspended && !f.deleting).then(|| stop(f, Verdict::Suspended)) },
    Rule { name: "not yet due", decide: |f| (!f.due).then_some(Step::Done(Verdict::Delay)) },
    Rule {
        name: "the spec cannot be sent",
        decide: |f| (!f.spec_valid && !f.deleting).then(|| stop(f, Verdict::InvalidSpec)),
    },
    Rule {
        name: "the credential is on its way",
        decide: |f| (f.credential == Credential::Pending).then_some(Step::Done(Verdict::Token)),
    },
    Rule {
        name: "an outage of the token endpoint leaves what was in order as it was",
        decide: |f| {
            let outage = f.credential == Credential::Broken(CredentialProblem::TokenUnavailable);
            (outage && f.was_in_order && !f.deleting).then_some(Step::Done(Verdict::Token))
        },
    },
    Rule {
        name: "the credential cannot be used",
        decide: |f| match f.credential {
            Credential::Broken(problem) => Some(stop(f, Verdict::Credential(problem))),
            Credential::Pending | Credential::Ready => None,
        },
    },
    Rule {
        name: "the credential is for another tenant",
        decide: |f| (f.tenant == Tenant::Differs).then(|| stop(f, Verdict::TenantMismatch)),
    },
    Rule {
        name: "another resource owns it: leave it to that one",
        decide: |f| {
            let taken = f.claim == Claim::Taken;
            taken.then(|| match f.attempt {
                Attempt::Open if f.deleting => stop(f, Verdict::OutcomeUnknown),
                _ if f.deleting => Step::DropFinalizer,
                _ => stop(f, Verdict::DuplicateClaim),
            })
        },
    },
    Rule {
        name: "a create whose answer is not known",
        decide: |f| (f.refused.is_some() && f.attempt == Attempt::Open).then(|| stop(f, Verdict::OutcomeUnknown)),
    },
    Rule { name: "the tenant refused or failed", decide: |f| f.refused.map(|class| stop(f, Verdict::Refused(class))) },
    // ---- deletion -------------------------------------------------------------------------------------------------
    Rule { name: "deleted: delete by id", decide: |f| (f.deleting && f.bound()).then(|| call(f, Step::Delete)) },
    // ---- the folder's list ----------------------------------------------------------------------------------------
    Rule {
        name: "a list that began after the question is on its way",
        decide: |f| (f.list == List::Pending).then_some(Step::Done(Verdict::List)),
    },
    Rule {
        name: "an outage leaves what was in order as it was",
        decide: |f| match f.list {
            List::Failed(Class::Server | Class::Busy | Class::Throttled) if f.was_in_order && !f.deleting => {
                Some(Step::Done(Verdict::List))
            }
            _ => None,
        },
    },
    Rule {
        name: "the list could not be read",
        decide: |f| match f.list {
            List::Failed(class) | List::FailedLong(class) => Some(stop(f, Verdict::Refused(class))),
            List::Pending | List::Incomplete | List::Complete => None,
        },
    },
    Rule {
        name: "what the open attempt sent stands there: it is ours",
        decide: |f| {
            let open = matches!(f.attempt, Attempt::Open | Attempt::Settled);
            (open && f.found == Found::Attempted).then_some(Step::Adopt)
        },
    },
    Rule {
        name: "an open attempt may still land",
        decide: |f| (f.attempt == Attempt::Open).then(|| stop(f, Verdict::OutcomeUnknown)),
    },
    Rule {
        name: "deleted, and the attempt never landed",
        decide: |f| (f.deleting && f.list == List::Complete).then_some(Step::DropFinalizer),
    },
    Rule {
        name: "deleted, and the list does not show all",
        decide: |f| f.deleting.then_some(Step::Done(Verdict::List)),
    },
    // ---- an object that is known ----------------------------------------------------------------------------------
    Rule {
        name: "a known object is guarded by the finalizer",
        decide: |f| (f.bound() && !f.finalizer).then_some(Step::AddFinalizer),
    },
    Rule {
        name: "the id is not in the list: ask for it by id",
        decide: |f| (f.id && f.found != Found::Ours && f.read == Read::Unread).then(|| call(f, Step::Get)),
    },
    Rule {
        name: "gone from the tenant, and drift is only reported",
        decide: |f| {
            let gone = f.id && f.read == Read::Absent && f.was_in_order && f.report_drift;
            gone.then(|| stop(f, Verdict::DriftReported))
        },
    },
    Rule {
        name: "an echo that can be verified: read the secrets",
        decide: |f| {
            let asked = f.bound() && f.verifiable && !differs(f) && f.versions == Sameness::Same;
            (asked && f.secrets == Secrets::Unread).then_some(Step::ReadSecrets)
        },
    },
    Rule {
        name: "equal to the spec, secrets included",
        decide: |f| {
            let equal = f.bound() && !differs(f) && (f.versions == Sameness::Same || f.echo == Sameness::Same);
            equal.then(|| stop(f, Verdict::InOrder))
        },
    },
    Rule {
        name: "drift is only reported",
        decide: |f| {
            let drift = f.bound() && f.was_in_order && f.versions == Sameness::Same && f.report_drift;
            drift.then(|| stop(f, Verdict::DriftReported))
        },
    },
    Rule {
        name: "corrected too often",
        // A change of the spec is no correction.
        decide: |f| (f.bound() && f.was_in_order && f.flapping && differs(f)).then(|| stop(f, Verdict::Flapping)),
    },
    Rule {
        name: "a write needs the secrets",
        decide: |f| (f.bound() && f.secrets != Secrets::Ready).then(|| with_secrets(f, |_| Step::ReadSecrets)),
    },
    Rule { name: "look before a write", decide: |f| (f.bound() && f.read == Read::Unread).then(|| call(f, Step::Get)) },
    Rule {
        name: "a secret that the spec does not give cannot be written back",
        decide: |f| {
            let verdict = if f.answer == Answer::Adopted { Verdict::AdoptionRefused } else { Verdict::DriftReported };
            (f.bound() && f.unwritable).then(|| stop(f, verdict))
        },
    },
    Rule {
        name: "what was taken as ours is recorded before it is changed",
        // An attempt knows its object by what it sent: once that is changed, the id alone tells whose it is.
        decide: |f| (f.bound() && f.answer == Answer::Adopted).then_some(Step::Record(Verdict::Adopted)),
    },
    Rule { name: "write what differs", decide: |f| f.bound().then(|| call(f, Step::Replace)) },
    // ---- a name that stands there ---------------------------------------------------------------------------------
    Rule { name: "consent by id: take it", decide: |f| (f.found == Found::Named).then_some(Step::Adopt) },
    Rule {
        name: "consent by id to what is not there, or has another name or folder",
        decide: |f| (f.found == Found::NamedElsewhere).then(|| stop(f, Verdict::AdoptionRefused)),
    },
    Rule {
        name: "the name is another's",
        decide: |f| {
            let taken = match f.found {
                Found::Other => f.adoption == Adoption::Never,
                Found::Untold | Found::Attempted => true,
                _ => false,
            };
            taken.then(|| stop(f, Verdict::NameTaken))
        },
    },
    Rule {
        name: "adopt what is identical, refuse what is not",
        decide: |f| {
            let asked = f.found == Found::Other && f.adoption == Adoption::IfIdentical;
            asked.then(|| {
                if f.fields != Sameness::Same {
                    return stop(f, Verdict::AdoptionRefused);
                }
                with_secrets(f, |f| match f.echo {
                    Sameness::Differs => stop(f, Verdict::AdoptionRefused),
                    Sameness::Same | Sameness::Unknown => Step::Adopt,
                })
            })
        },
    },
    Rule { name: "adopt what stands there", decide: |f| (f.found == Found::Other).then_some(Step::Adopt) },
    // ---- a name that is free --------------------------------------------------------------------------------------
    Rule {
        name: "an incomplete list proves no absence",
        decide: |f| (f.list == List::Incomplete).then_some(Step::Done(Verdict::List)),
    },
    Rule {
        name: "record the attempt, then create",
        decide: |f| {
            Some(with_secrets(f, |f| call(f, if f.attempt == Attempt::Recorded { Step::Create } else { Step::Claim })))
        },
    },
];

#[cfg(test)]
mod tests;
