//! What a pass knows of the object: the attempt to create it, what the lists show, and how that compares.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Pass;
use super::{cause, class};
use crate::crd::{ANNOTATION_ID, ANNOTATION_RECONCILE_REQUESTED_AT};
use crate::reconcile::attempt::Attempt as Record;
use crate::reconcile::compare::{all_same, differences, echoed, spec_path};
use crate::reconcile::desired::Desired;
use crate::reconcile::facts::{Attempt, Credential, CredentialProblem, Found, List, Sameness};
use crate::sse::inventory::Inventory;
use crate::sse::kept::Kept;
use crate::sse::lists::Look;
use crate::sse::types::{Remote, VENDOR};
use crate::sse::{self};

impl Pass {
    /// The last attempt. It settles once it cannot land any more: twice the request timeout after this process has first
    /// seen it, and for its question only a list counts that begins after that.
    pub(super) fn attempt(&mut self, record: Option<&Record>) -> Attempt {
        let Some(record) = record else {
            self.remember(|memory, _| memory.open = None);
            return Attempt::None;
        };
        let same = self.desired.as_ref().is_ok_and(|desired| record.sends(desired, &self.tenant_name()));
        let settles_after = self.context.settings.settles_after();
        let lists = Arc::clone(&self.context.lists);
        self.remember(|memory, _| {
            if memory.minted.as_ref().is_some_and(|minted| minted.nonce == record.nonce && !minted.acted) {
                return if same { Attempt::Recorded } else { Attempt::None };
            }
            if memory.open.as_ref().is_none_or(|(nonce, ..)| *nonce != record.nonce) {
                memory.open = Some((record.nonce.clone(), Instant::now(), false));
                memory.question = lists.mark();
            }
            let Some((_, since, settled)) = &mut memory.open else { return Attempt::Open };
            if since.elapsed() < settles_after {
                return Attempt::Open;
            }
            if !*settled {
                *settled = true;
                memory.question = lists.mark();
            }
            Attempt::Settled
        })
    }

    /// How long until an open attempt settles.
    pub(in crate::reconcile) fn settles_in(&mut self) -> Option<Duration> {
        let after = self.context.settings.settles_after();
        self.remember(|memory, _| {
            let (_, since, settled) = memory.open.as_ref()?;
            (!settled).then(|| after.saturating_sub(since.elapsed()))
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
        let asked = self.annotation(ANNOTATION_RECONCILE_REQUESTED_AT);
        let handled = self.status().last_handled_reconcile_at.clone();
        self.remember(|memory, _| {
            // A verb asks anew, once for each of its values.
            if asked.is_some() && asked != handled && memory.asked != asked {
                memory.asked.clone_from(&asked);
                memory.question = context.lists.mark();
            }
        });
        let ready = credential == Credential::Ready;
        // A suspended resource asks the tenant for nothing; what is known already is good enough to speak of.
        let look = if idle { Look::Pending } else { self.look_at_list(ready) };
        let list = match look {
            Look::Pending => List::Pending,
            Look::Listed { complete: true } => List::Complete,
            Look::Listed { complete: false } => List::Incomplete,
            Look::Failed { failure, long } => {
                // What is wrong with the credential comes before what it is wrong for.
                if ready {
                    self.cause = cause(&failure);
                }
                let class = class(failure.class);
                if long { List::FailedLong(class) } else { List::Failed(class) }
            }
        };
        let open = record.filter(|_| matches!(attempt, Attempt::Open | Attempt::Settled));
        let sight = context.lists.with(&self.key, self.folder, |inventory| self.find(inventory, open));
        let (found, shown, untold) = sight.unwrap_or_default();
        self.shown = shown;
        if found == Found::Ours {
            context.credentials.sighted(&self.key);
        }
        if untold && matches!(list, List::Complete | List::Incomplete) {
            return self.ask_parents(list, found, ready);
        }
        (list, found)
    }

    /// What is known of the folder's list; asks for one where there is none that answers.
    pub(in crate::reconcile) fn look_at_list(&mut self, ready: bool) -> Look {
        let question = self.remember(|memory, _| memory.question);
        self.context.lists.look(&self.key, self.folder, question, ready, &self.waiter)
    }

    /// What the folder's list shows of this resource; and whether it shows it without naming a folder.
    pub(super) fn find(&self, inventory: &Inventory<Kept>, open: Option<&Record>) -> (Found, Option<Remote>, bool) {
        let by_id = |id: &str| inventory.by_id(id).map(|kept| kept.to_remote(id));
        if let Some(remote) = self.id.as_deref().and_then(by_id) {
            return (Found::Ours, Some(remote), false);
        }
        let here = |remote: &Remote| remote.folder.as_deref().is_none_or(|folder| folder == self.folder.as_str());
        if self.id.is_none()
            && let Some(id) = self.annotation(ANNOTATION_ID)
        {
            let named = by_id(&id).filter(|remote| remote.name == self.effective_name && here(remote));
            return match named {
                Some(remote) => (Found::Named, Some(remote), false),
                None => (Found::NamedElsewhere, None, false),
            };
        }
        let of_name = inventory.by_name(&self.effective_name).map(|(id, kept)| kept.to_remote(id));
        let mut candidates: Vec<Remote> = of_name.filter(here).collect();
        let attempted = open.and_then(|record| candidates.iter().position(|it| record.sent.matches(&it.fields)));
        let found = match attempted {
            Some(_) => Found::Attempted,
            None if candidates.is_empty() => return (Found::Absent, None, false),
            None => Found::Other,
        };
        let remote = candidates.swap_remove(attempted.unwrap_or(0));
        let untold = remote.folder.is_none();
        (found, Some(remote), untold)
    }

    /// An item that names no folder is this folder's only if the lists of the parent folders lack it.
    pub(super) fn ask_parents(&mut self, list: List, found: Found, ready: bool) -> (List, Found) {
        let Some(id) = self.shown.as_ref().map(|remote| remote.id.clone()) else { return (list, found) };
        let lists = Arc::clone(&self.context.lists);
        for parent in self.folder.parents() {
            let look = lists.look(&self.key, *parent, sse::inventory::Mark::default(), ready, &self.waiter);
            let inherited = lists.with(&self.key, *parent, |inventory| inventory.by_id(&id).is_some());
            if inherited == Some(true) {
                self.shown = None;
                return (list, Found::Absent);
            }
            match look {
                Look::Pending => return (List::Pending, found),
                Look::Listed { complete: true } => {}
                Look::Failed { .. } | Look::Listed { complete: false } => return (list, Found::Untold),
            }
        }
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
        let Ok(desired) = &self.desired else { return Sameness::Unknown };
        let sent = match record {
            Some(record) if found == Found::Attempted => record.observed_secrets(),
            _ if self.status().id.is_some() => self.status().observed_secrets.clone(),
            _ => return Sameness::Unknown,
        };
        let same = desired.secrets.iter().zip(self.yields.secrets.iter().skip(1)).all(|(field, now)| {
            let sent = sent.iter().find(|observed| observed.name == field.secret);
            sent.is_some_and(|sent| Some(&sent.resource_version) == now.as_ref())
        });
        if same { Sameness::Same } else { Sameness::Differs }
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
