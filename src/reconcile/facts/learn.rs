//! Pure: what a step's outcome changes in what is known.

use super::{
    Adoption, Answer, Attempt, Claim, Credential, Definition, Facts, Forbidden, Found, List, Outcome, Permit, Read,
    Sameness, Secrets, Seen, Sight, Stored, Tenant,
};

impl Facts {
    /// The facts at the start of a pass: what is stored, and nothing known of the rest.
    #[must_use]
    pub fn from_stored(stored: Stored) -> Self {
        Self {
            leading: true,
            kube_failed: false,
            sight: Sight::Cached,
            deleting: stored.deleting,
            finalizer: stored.finalizer,
            id: stored.id,
            attempt: stored.attempt,
            answer: Answer::None,
            was_in_order: stored.was_in_order,
            suspended: stored.suspended,
            force_delete: stored.force_delete,
            retain: stored.retain,
            adoption: stored.adoption,
            report_drift: stored.report_drift,
            flapping: false,
            spec_valid: true,
            due: true,
            credential: Credential::Pending,
            tenant: Tenant::Unbound,
            claim: Claim::Ours,
            secrets: Secrets::Unread,
            versions: Sameness::Unknown,
            permit: Permit::None,
            list: List::Pending,
            found: Found::Absent,
            read: Read::Unread,
            fields: Sameness::Unknown,
            echo: Sameness::Unknown,
            verifiable: false,
            unwritable: false,
            forbidden: Forbidden::default(),
            definition: Definition::Unread,
            refused: None,
            recorded: None,
        }
    }

    /// The same facts with what this process knows already.
    #[must_use]
    pub fn seeing(self, seen: Seen) -> Self {
        Self {
            spec_valid: seen.spec_valid,
            due: seen.due,
            flapping: seen.flapping,
            credential: seen.credential,
            tenant: seen.tenant,
            claim: seen.claim,
            versions: seen.versions,
            list: seen.list,
            found: seen.found,
            fields: seen.fields,
            echo: seen.echo,
            verifiable: seen.verifiable,
            forbidden: seen.forbidden,
            ..self
        }
    }

    /// What is stored, looked at again; what this pass knows beyond it stays.
    fn look_again(&mut self, stored: Stored, seen: Seen) {
        self.sight = Sight::Live;
        self.deleting = stored.deleting;
        self.finalizer = stored.finalizer;
        self.was_in_order = stored.was_in_order;
        self.suspended = stored.suspended;
        self.force_delete = stored.force_delete;
        self.retain = stored.retain;
        self.adoption = stored.adoption;
        self.report_drift = stored.report_drift;
        self.recorded = None;
        // An answer that no status holds yet is newer than what is stored.
        if self.answer == Answer::None {
            self.id = stored.id;
            self.attempt = stored.attempt;
            // The spec may be another one: what was read and compared for the old one is void.
            self.secrets = Secrets::Unread;
            self.echo = Sameness::Unknown;
            self.unwritable = false;
            self.definition = Definition::Unread;
            self.read = Read::Unread;
            *self = self.seeing(seen);
        }
    }

    /// What is known after a step of which this came.
    pub fn learn(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::KubeFailed => self.kube_failed = true,
            Outcome::Conflicted => self.sight = Sight::Stale,
            Outcome::Gone => self.sight = Sight::Gone,
            Outcome::Looked(stored, seen) => self.look_again(stored, seen),
            Outcome::SecretsRead { secrets, echo, unwritable } => {
                self.secrets = secrets;
                self.echo = echo;
                self.unwritable = unwritable;
            }
            Outcome::DefinitionSeen(definition) => self.definition = definition,
            Outcome::Granted => self.permit = Permit::Held,
            Outcome::Queued => self.permit = Permit::Queued,
            Outcome::Claimed => {
                // The patch carried the resourceVersion and answered with the resource: that is a live look.
                self.sight = Sight::Live;
                self.finalizer = true;
                self.attempt = Attempt::Recorded;
            }
            Outcome::Finalized => {
                self.sight = Sight::Live;
                self.finalizer = true;
            }
            Outcome::Created => {
                self.permit = Permit::None;
                self.id = true;
                self.read = Read::Unread;
                self.attempt = Attempt::None;
                self.answer = Answer::Created;
                self.in_order();
            }
            Outcome::CreatedUnseen => {
                self.permit = Permit::None;
                self.attempt = Attempt::Open;
                self.list = List::Pending;
            }
            Outcome::Unknown(class) => {
                self.permit = Permit::None;
                self.refused = Some(class);
                if self.attempt == Attempt::Recorded {
                    self.attempt = Attempt::Open;
                    self.list = List::Pending;
                }
            }
            Outcome::Refused(class) => {
                self.permit = Permit::None;
                self.refused = Some(class);
                // A passing refusal leaves the attempt as it was recorded: the next try costs no write of its own.
                if self.attempt == Attempt::Recorded && !class.is_passing() {
                    self.attempt = Attempt::None;
                    self.answer = Answer::Refused(class);
                }
            }
            Outcome::Refreshing => {
                self.permit = Permit::None;
                self.credential = Credential::Pending;
            }
            Outcome::NotLeading => self.leading = false,
            Outcome::Present { fields, echo, unwritable } => {
                self.permit = Permit::None;
                self.read = Read::Present;
                self.found = Found::Ours;
                self.fields = fields;
                self.echo = echo;
                self.unwritable = unwritable;
            }
            Outcome::Absent => {
                self.permit = Permit::None;
                self.read = Read::Absent;
                if self.found == Found::Ours {
                    // The list that showed it is older than this answer: it tells nothing of the name any more.
                    self.found = Found::Absent;
                    self.list = List::Pending;
                }
            }
            Outcome::Replaced => {
                self.permit = Permit::None;
                self.in_order();
            }
            Outcome::Adopted => {
                // Consent to what is identical is no consent to a write: the secrets count as those that are there.
                if self.found == Found::Other && self.adoption == Adoption::IfIdentical {
                    self.versions = Sameness::Same;
                }
                self.id = true;
                self.read = Read::Unread;
                self.attempt = Attempt::None;
                self.answer = Answer::Adopted;
                self.found = Found::Ours;
            }
            Outcome::Deleted => {
                self.permit = Permit::None;
                self.read = Read::Absent;
                // It was there, so this is its tenant.
                self.tenant = Tenant::Same;
                self.answer = Answer::None;
            }
            Outcome::Recorded(verdict) => {
                self.answer = Answer::None;
                self.recorded = Some(verdict);
            }
            Outcome::Released => self.finalizer = false,
        }
    }

    /// An object of ours is known, and nothing showed that it is gone.
    #[must_use]
    pub fn bound(&self) -> bool {
        self.id && self.read != Read::Absent
    }

    /// The tenant holds what the spec and the Secrets say: it has just taken it.
    fn in_order(&mut self) {
        self.found = Found::Ours;
        self.fields = Sameness::Same;
        self.echo = Sameness::Same;
        self.versions = Sameness::Same;
    }
}

#[cfg(test)]
mod tests;
