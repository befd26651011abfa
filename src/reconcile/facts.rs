//! Pure: what is known of one resource, in types small enough to be compared, hashed and enumerated.
//!
//! The driver makes every comparison and reads every clock; what reaches these types is its result. No client, no time,
//! no secret and no Kubernetes type is named here, so the same functions run in production, in the golden table and
//! under a model checker.

mod learn;

use super::step::Verdict;

/// Whether two things are equal, as far as that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sameness {
    /// They are equal.
    Same,
    /// They differ.
    Differs,
    /// It cannot be told.
    Unknown,
}

/// How the resource was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sight {
    /// From the watch's cache, or the answer to a write of an earlier pass: it may be old.
    Cached,
    /// Read from the API server in this pass.
    Live,
    /// A write of this pass was refused because the resource had changed.
    Stale,
    /// It is gone, or another resource has its name by now.
    Gone,
}

/// The last attempt to create the object, as the resource's annotation and status tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Attempt {
    #[default]
    /// None, or its answer is in the status.
    None,
    /// Recorded, and certainly not acted on: not sent yet, or refused for a while. It can be sent as it is.
    Recorded,
    /// Perhaps on its way: its answer is not known, and it may still land.
    Open,
    /// Its answer is not known, and it cannot land any more.
    Settled,
}

/// What this process knows of an attempt's answer that no status holds yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Nothing that is not stored.
    None,
    /// The object was created and its id is known.
    Created,
    /// An object that stood there was taken as ours.
    Adopted,
    /// The tenant refused to create it.
    Refused(Class),
}

/// The classes of refusals and failures, each with its own way of trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Class {
    Credential,
    Forbidden,
    Input,
    Conflict,
    Referenced,
    Throttled,
    Busy,
    Server,
}

impl Class {
    /// It speaks of the tenant's or the network's state, not of this resource: the same call is worth another try.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::Throttled | Self::Busy | Self::Server)
    }
}

/// What keeps a Secret's value from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum SecretProblem {
    NotFound,
    KeyMissing,
    Invalid,
}

/// The secrets that the vendor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Secrets {
    /// Not read in this pass.
    Unread,
    /// Read and usable; also when none is needed.
    Ready,
    /// Not usable.
    Broken(SecretProblem),
}

/// What keeps a credential from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialProblem {
    /// The Secret cannot be used.
    Secret(SecretProblem),
    /// The token says itself that its time is over.
    Expired,
    /// The API answered 401 to it, and it is not yet time to try again.
    Rejected,
    /// The token endpoint answered 400 or 401.
    TokenRejected,
    /// The token endpoint gives no answer that can be used.
    TokenUnavailable,
    /// It has not for so long that what was true may not be.
    TokenUnavailableLong,
}

/// The credential that the resource uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// Being read, or its token being fetched, in a task of its own.
    Pending,
    /// A token is at hand.
    Ready,
    /// It cannot be used.
    Broken(CredentialProblem),
}

/// The tenant of the credential against the one that the resource is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tenant {
    /// The resource is bound to none yet.
    Unbound,
    /// The same.
    Same,
    /// Another one.
    Differs,
    /// The token tells no tenant and its Secret has changed: an absence proves nothing until one known id is seen.
    Unsure,
}

/// Who may act on the name and the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Claim {
    Ours,
    Taken,
}

/// The folder's list, as far as it answers this resource's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// None that began after the question; one is asked for.
    Pending,
    /// It could not be read.
    Failed(Class),
    /// It could not be read, and has not been for so long that what was true may not be.
    FailedLong(Class),
    /// It shows what is there, not what is absent.
    Incomplete,
    /// It shows all.
    Complete,
}

/// What the list shows of this resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Found {
    #[default]
    /// Neither the name nor the id.
    Absent,
    /// The object under the id that is ours.
    Ours,
    /// The name, under an id that we do not know, with what the open attempt sent.
    Attempted,
    /// The object that the `…/id` annotation names.
    Named,
    /// The `…/id` annotation names an object that is not there, or has another name or folder.
    NamedElsewhere,
    /// The name, under an id that is not ours.
    Other,
    /// The name, in an item that tells no folder and may be inherited.
    Untold,
}

/// What a GET by id showed in this pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Read {
    Unread,
    Present,
    Absent,
}

/// The right to one call towards the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Permit {
    None,
    Held,
    Queued,
}

/// The calls that were answered with 403.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Forbidden {
    pub post: bool,
    pub put: bool,
    pub delete: bool,
}

/// The definition of the resource (the CRD).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Definition {
    /// Not looked at in this pass.
    Unread,
    /// It stays, or cannot be seen.
    Stays,
    /// It is being deleted, and every resource with it: nobody asked for the objects to go.
    Dying,
}

/// `spec.adoptionPolicy`, or the consent that `…/id` gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Adoption {
    #[default]
    Never,
    IfIdentical,
    Always,
}

/// Everything that a decision may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Facts {
    /// This process may write to the tenant: it leads, and its lease has not run out.
    pub leading: bool,
    /// The API server failed a step of this pass; the pass is tried again.
    pub kube_failed: bool,
    /// How the resource was looked at.
    pub sight: Sight,
    /// It has a deletion timestamp.
    pub deleting: bool,
    /// It has our finalizer.
    pub finalizer: bool,
    /// The id of its object is known: from the status, from a create's answer, or adopted.
    pub id: bool,
    /// The last attempt to create it.
    pub attempt: Attempt,
    /// What is known of it and stored nowhere.
    pub answer: Answer,
    /// The status speaks of this generation, and said that the object equals it. Only then is a difference drift.
    pub was_in_order: bool,
    /// `spec.suspend`.
    pub suspended: bool,
    /// The `…/force-delete` annotation.
    pub force_delete: bool,
    /// `deletionPolicy: Retain`, or the CRD itself is being deleted.
    pub retain: bool,
    /// What may be adopted.
    pub adoption: Adoption,
    /// `driftPolicy: Report`.
    pub report_drift: bool,
    /// The same field was corrected too often within the hour.
    pub flapping: bool,
    /// The spec can be sent.
    pub spec_valid: bool,
    /// A delay of an earlier refusal has run out, or nothing is delayed.
    pub due: bool,
    /// The credential.
    pub credential: Credential,
    /// Its tenant.
    pub tenant: Tenant,
    /// The claim on name and id.
    pub claim: Claim,
    /// The vendor's secrets.
    pub secrets: Secrets,
    /// The Secrets' versions against those whose bytes were last sent.
    pub versions: Sameness,
    /// The right to a call.
    pub permit: Permit,
    /// The folder's list.
    pub list: List,
    /// What it shows.
    pub found: Found,
    /// What a GET by id showed.
    pub read: Read,
    /// The object's readable fields against the spec's.
    pub fields: Sameness,
    /// The secrets that the object echoes, or that are remembered to have been sent, against those of the Secrets.
    pub echo: Sameness,
    /// The object echoes secrets in a form that can be verified, and they have not been read at their present version.
    pub verifiable: bool,
    /// The object holds a secret that the spec does not give, so it cannot be written back.
    pub unwritable: bool,
    /// What the credential may not do in this folder, by the API's word; it is not asked again before its time.
    pub forbidden: Forbidden,
    /// The definition of the resource, looked at on deletion.
    pub definition: Definition,
    /// A call of this pass was refused.
    pub refused: Option<Class>,
    /// What the status says by now, if this pass has written or checked it.
    pub recorded: Option<Verdict>,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Outcome {
    /// The API server did not do it; nothing is known to have changed.
    KubeFailed,
    /// The API server refused a write because the resource had changed: look again.
    Conflicted,
    /// The resource is gone, or another has its name.
    Gone,
    /// The resource was read live; all that is stored is known anew.
    Looked(Stored, Seen),
    /// The Secrets were read. `echo` and `unwritable` are known with them.
    SecretsRead { secrets: Secrets, echo: Sameness, unwritable: bool },
    /// The definition was looked at.
    DefinitionSeen(Definition),
    /// A call may be made.
    Granted,
    /// The call's turn has not come.
    Queued,
    /// Finalizer and attempt are stored.
    Claimed,
    /// The finalizer is stored.
    Finalized,
    /// The tenant created the object and told its id.
    Created,
    /// The tenant says that it created the object, and told no id.
    CreatedUnseen,
    /// The tenant's answer is not known; it may have acted.
    Unknown(Class),
    /// The tenant refused, and has not acted.
    Refused(Class),
    /// The tenant refused the token, which can be fetched anew; nothing was done.
    Refreshing,
    /// The lease had run out; nothing was sent.
    NotLeading,
    /// GET showed the object.
    Present { fields: Sameness, echo: Sameness, unwritable: bool },
    /// The object is not there: the documented 404.
    Absent,
    /// The object was written.
    Replaced,
    /// The object that the list showed is taken as ours.
    Adopted,
    /// The object was deleted.
    Deleted,
    /// The status says this by now.
    Recorded(Verdict),
    /// The finalizer is gone.
    Released,
}

/// What the cluster stores of one resource: all that survives a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Stored {
    /// It has a deletion timestamp.
    pub deleting: bool,
    /// It has our finalizer.
    pub finalizer: bool,
    /// `status.id`.
    pub id: bool,
    /// The `…/attempt` annotation against `status.attempt`, and whether it can still land.
    pub attempt: Attempt,
    /// The status speaks of this generation and says that it is in order.
    pub was_in_order: bool,
    /// `spec.suspend`.
    pub suspended: bool,
    /// The `…/force-delete` annotation.
    pub force_delete: bool,
    /// `deletionPolicy: Retain`, or the CRD itself is being deleted.
    pub retain: bool,
    /// The effective adoption policy.
    pub adoption: Adoption,
    /// `driftPolicy: Report`.
    pub report_drift: bool,
}

/// What this process knows of a resource beside what is stored, before any step of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, clippy::struct_excessive_bools)]
pub struct Seen {
    pub spec_valid: bool,
    pub due: bool,
    pub flapping: bool,
    pub credential: Credential,
    pub tenant: Tenant,
    pub claim: Claim,
    pub versions: Sameness,
    pub list: List,
    pub found: Found,
    pub fields: Sameness,
    pub echo: Sameness,
    pub verifiable: bool,
    pub forbidden: Forbidden,
}
