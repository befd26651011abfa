//! What a pass knows of the object: the attempt to create it, what the lists show, and how that compares.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Pass;
use super::{cause, class};
use crate::crd::ANNOTATION_ID;
use crate::reconcile::attempt::Attempt as Record;
use crate::reconcile::compare::{all_same, differences, echoed, spec_path};
use crate::reconcile::desired::Desired;
use crate::reconcile::facts::{Attempt, Credential, CredentialProblem, Found, List, Sameness};
use crate::reconcile::sight::{self, Parent, Sighting, Sought, find, untold};
use crate::sse::lists::Look;
use crate::sse::types::{Remote, VENDOR};
use crate::sse::{self};

impl Pass {
    /// The last attempt. It settles once it cannot land any more: twice the request timeout after this process has first
    /// seen it.
    pub(super) fn attempt(&mut self, record: Option<&Record>) -> Attempt {
        let tenant = self.tenant_name();
        let desired = self.desired.as_ref().ok();
        let same = record.zip(desired).is_some_and(|(record, desired)| record.sends(desired, &tenant));
        let settles_after = self.context.settings.settles_after();
        let settled = |since: &Instant| since.elapsed() >= settles_after;
        let lists = Arc::clone(&self.context.lists);
        self.remember(|memory, _| memory.course.standing(record, same, Instant::now(), settled, || lists.mark()))
    }

    /// How long until an open attempt settles.
    pub(in crate::reconcile) fn settles_in(&mut self) -> Option<Duration> {
        let after = self.context.settings.settles_after();
        self.remember(|memory, _| {
            let open = memory.course.open.as_ref()?;
            (!open.settled).then(|| after.saturating_sub(open.since.elapsed()))
        })
    }

    pub(super) fn list(
        &mut self,
        credential: Credential,
        idle: bool,
        record: Option<&Record>,
        attempt: Attempt,
    ) -> (List, Found) {
        if !idle && matches!(credential, Credential::Pending | Credential::Broken(CredentialProblem::Secret(_))) {
            return (List::Pending, Found::Absent);
        }
        let context = Arc::clone(&self.context);
        let ready = credential == Credential::Ready;
        // A suspended resource asks the tenant for nothing; what is known already is good enough to speak of.
        let look = if idle { Look::Pending } else { self.look_at_list(ready) };
        let list = listed(&look);
        // What is wrong with the credential comes before what it is wrong for.
        if let (Look::Failed { failure, .. }, true) = (&look, ready) {
            self.cause = cause(failure);
        }
        let open = record.filter(|_| matches!(attempt, Attempt::Open | Attempt::Settled));
        let named = self.annotation(ANNOTATION_ID);
        let sought = Sought {
            id: self.id.as_deref(),
            named: named.as_deref(),
            name: &self.effective_name,
            folder: self.folder,
            open,
        };
        let sighting = context
            .lists
            .with(&self.key, self.folder, |inventory| find(inventory, sought, |id, kept| kept.to_remote(id)));
        let sighting = sighting.unwrap_or_default();
        if sighting.found == Found::Ours {
            context.credentials.sighted(&self.key);
        }
        if sighting.untold && matches!(list, List::Complete | List::Incomplete) {
            return self.ask_parents(list, sighting, ready);
        }
        self.shown = sighting.shown;
        (list, sighting.found)
    }

    /// What is known of the folder's list; asks for one where there is none that answers.
    pub(in crate::reconcile) fn look_at_list(&mut self, ready: bool) -> Look {
        let question = self.remember(|memory, _| memory.course.question);
        self.context.lists.look(&self.key, self.folder, question, ready, &self.waiter)
    }

    /// An item that names no folder is this folder's only if the lists of the parent folders lack it.
    fn ask_parents(&mut self, list: List, sighting: Sighting<Remote>, ready: bool) -> (List, Found) {
        let id = sighting.shown.as_ref().map(|remote| remote.id.clone()).unwrap_or_default();
        let (lists, key, waiter) = (&self.context.lists, &self.key, &self.waiter);
        // Asked one after the other, as far as need be: looking at a list is asking for it.
        let parents = self.folder.parents().iter().map(|parent| {
            let look = lists.look(key, *parent, sse::inventory::Mark::default(), ready, waiter);
            let shows = lists.with(key, *parent, |inventory| inventory.by_id(&id).is_some());
            Parent::of(shows, listed(&look))
        });
        let (list, found, shown) = untold(list, sighting, parents);
        self.shown = shown;
        (list, found)
    }

    /// The object's readable fields against the spec's.
    pub(in crate::reconcile) fn compare(&mut self) -> Sameness {
        let (Some(shown), Ok(desired)) = (&self.shown, &self.desired) else {
            self.differing.clear();
            return Sameness::Unknown;
        };
        self.differing = differences(desired, &shown.fields);
        if self.differing.is_empty() { Sameness::Same } else { Sameness::Differs }
    }

    /// The Secrets' versions against those whose bytes were last sent.
    pub(super) fn versions(&self, record: Option<&Record>, found: Found) -> Sameness {
        let now = self.yields.secrets.get(1..).unwrap_or_default();
        sight::versions(self.desired.as_ref().ok(), self.status(), record, found, now)
    }

    /// What the list's echo tells of the secrets without reading them: known ones by their prints. And whether reading
    /// them would tell more.
    pub(super) fn echo(&self, versions: Sameness) -> (Sameness, bool) {
        let (Some(shown), Ok(desired), Sameness::Same) = (&self.shown, &self.desired, versions) else {
            return (Sameness::Unknown, false);
        };
        let mut verifiable = false;
        let digests = echoed(desired, &shown.fields);
        let each = desired.secrets.iter().zip(digests).zip(self.yields.secrets.iter().skip(1));
        let each: Vec<Sameness> = each
            .map(|((field, digest), version)| {
                let (Some(digest), Some(version)) = (digest, version) else { return Sameness::Unknown };
                match self.context.secrets.is_print(&self.namespace, field, version, digest) {
                    Some(true) => Sameness::Same,
                    Some(false) => Sameness::Differs,
                    None => {
                        verifiable = true;
                        Sameness::Unknown
                    }
                }
            })
            .collect();
        (all_same(each), verifiable)
    }

    /// The paths of the secrets, in the spec's names.
    pub(in crate::reconcile) fn secret_paths(&self) -> Vec<String> {
        let Ok(Desired { vendor: Some(vendor), secrets, .. }) = &self.desired else { return Vec::new() };
        secrets.iter().map(|secret| spec_path(&format!("{VENDOR}.{vendor}.{}", secret.field))).collect()
    }
}

/// What a look at a list comes to, in the words of the pure part.
const fn listed(look: &Look) -> List {
    match look {
        Look::Pending => List::Pending,
        Look::Listed { complete: true } => List::Complete,
        Look::Listed { complete: false } => List::Incomplete,
        Look::Failed { failure, long: true } => List::FailedLong(class(failure.class)),
        Look::Failed { failure, long: false } => List::Failed(class(failure.class)),
    }
}
