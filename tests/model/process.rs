//! What a process does: the driver of `reconcile` in the checker's world. Every decision and comparison is the operator's
//! own; here are only the calls, done to a world that is a value.

use std::cell::Cell;
use std::sync::Arc;

use jiff::Timestamp;

use crate::state::{Call, Flight, Held, Item, Mind, Pass, Reply, State, Unrecorded, Wrong};
use crate::world::{World, bit, folder_of, name_of, tenant_name, uid_of};
use mfa_operator::crd::{
    ANNOTATION_ATTEMPT, ANNOTATION_ID, AdoptionPolicy, DeletionPolicy, FINALIZER, MfaServer, MfaServerStatus,
};
use mfa_operator::reconcile::attempt::Attempt as Record;
use mfa_operator::reconcile::compare;
use mfa_operator::reconcile::desired::{Desired, desired};
use mfa_operator::reconcile::facts::{
    Answer, Attempt, Class, Credential, Definition, Facts, Forbidden, Found, List, Outcome, Sameness, Secrets, Seen,
    Stored,
};
use mfa_operator::reconcile::peers::{Peer, Peers};
use mfa_operator::reconcile::report::{Cause, Known, Object, report};
use mfa_operator::reconcile::sight::{self, Asking, Binding, Parent, Sought, Tenancy};
use mfa_operator::reconcile::step::{Step, Verdict};
use mfa_operator::sse::credentials::Wakes;
use mfa_operator::sse::inventory::{Mark, Write};
use mfa_operator::sse::types::Remote;

pub(crate) fn status(server: &MfaServer) -> MfaServerStatus {
    server.status.clone().unwrap_or_default()
}

pub(crate) fn id_text(id: u8) -> String {
    format!("o{id}")
}

pub(crate) fn id_number(id: &str) -> u8 {
    id[1..].parse().unwrap()
}

pub(crate) fn has_finalizer(server: &MfaServer) -> bool {
    server.metadata.finalizers.as_ref().is_some_and(|finalizers| finalizers.iter().any(|name| name == FINALIZER))
}

pub(crate) fn is_deleting(server: &MfaServer) -> bool {
    server.metadata.deletion_timestamp.is_some()
}

pub(crate) fn credential_of(server: &MfaServer) -> u8 {
    server.spec.credentials_secret_ref.as_ref().map_or(0, |secret| secret.name[1..].parse().unwrap())
}

pub(crate) fn content_of(server: &MfaServer) -> u8 {
    server.spec.mfa_cert_profile[2..].parse().unwrap()
}

fn policy_of(server: &MfaServer) -> DeletionPolicy {
    server.spec.deletion_policy.unwrap_or(DeletionPolicy::Delete)
}

fn same(server: &MfaServer, remote: &Remote) -> Sameness {
    let desired = desired(server).unwrap();
    if compare::differences(&desired, &remote.fields).is_empty() { Sameness::Same } else { Sameness::Differs }
}

/// Facts, and what goes with them.
struct Looked {
    stored: Stored,
    seen: Seen,
    shown: Option<Item>,
}

/// One process and one of its resources.
pub(crate) struct Hand<'a> {
    pub(crate) world: &'a World,
    pub(crate) state: &'a mut State,
    pub(crate) process: usize,
    pub(crate) slot: usize,
}

impl Hand<'_> {
    fn mind(&mut self) -> &mut Mind {
        &mut self.state.processes[self.process].minds[self.slot]
    }

    fn pass(&mut self) -> &mut Pass {
        self.mind().pass.as_mut().unwrap()
    }

    fn mark(&mut self) -> Mark {
        self.state.processes[self.process].mark()
    }

    fn may_write(&self) -> bool {
        self.world.may_write(&self.state.processes[self.process])
    }

    fn tenant(&self, server: &MfaServer) -> u8 {
        self.world.credentials[usize::from(credential_of(server))]
    }

    fn shelf(&self, server: &MfaServer, parent: bool) -> Option<usize> {
        self.state.processes[self.process].shelf(credential_of(server), parent)
    }

    fn desired(&self, server: &MfaServer) -> Desired {
        desired(server).unwrap()
    }

    fn is_verified(&self, credential: u8) -> bool {
        self.state.processes[self.process].verified & (1 << credential) != 0
    }

    fn now_verified(&mut self) {
        let credential = credential_of(&self.pass().server.server);
        self.state.processes[self.process].verified |= 1 << credential;
    }

    /// What is known of this resource.
    fn look(&mut self, server: &MfaServer, own: Option<u8>) -> Looked {
        let wanted = self.desired(server);
        let tenant = tenant_name(self.tenant(server));
        let now = status(server);
        let record = (self.world.mutant.unanswered)(server);
        let sends_same = record.as_ref().is_some_and(|record| record.sends(&wanted, &tenant));
        let next = Cell::new(self.state.processes[self.process].mark);
        let mark = || {
            next.set(next.get() + 1);
            Mark(next.get() - 1)
        };
        let settled = self.world.mutant.settled;
        let attempt = self.mind().course.standing(record.as_ref(), sends_same, false, |since| settled(*since), mark);
        self.state.processes[self.process].mark = next.get();
        let question = self.mind().course.question;
        let open = record.as_ref().filter(|_| matches!(attempt, Attempt::Open | Attempt::Settled));
        let id = own.map(id_text);
        let shelf = self.shelf(server, false).unwrap();
        let parent = self.shelf(server, true);
        let process = &self.state.processes[self.process];
        let inventory = &process.shelves[shelf].inventory;
        let list = (self.world.mutant.list)(sight::answer(inventory.answer(question)));
        let name = name_of(self.slot, self.world);
        let sighting = sight::find(
            inventory,
            Sought {
                id: id.as_deref(),
                named: sight::annotation(server, ANNOTATION_ID),
                name: &name,
                folder: wanted.folder,
                open,
            },
            |_, item| item.clone(),
        );
        let (list, found, shown) = if sighting.untold && matches!(list, List::Complete | List::Incomplete) {
            let parents = parent.map(|parent| {
                let inventory = &process.shelves[parent].inventory;
                let item = sighting.shown.as_ref().unwrap();
                let shows = inventory.listed().map(|_| inventory.by_id(&item.remote.id).is_some());
                Parent::of(shows, sight::answer(inventory.answer(Mark::default())))
            });
            sight::untold(list, sighting, parents)
        } else {
            (list, sighting.found, sighting.shown)
        };
        let fields = shown.as_ref().map_or(Sameness::Unknown, |item| same(server, &item.remote));
        let versions = sight::versions(Some(&wanted), &now, record.as_ref(), found, &[]);
        // Without secrets, an object that is shown echoes all of them.
        let echo = if shown.is_some() && versions == Sameness::Same { Sameness::Same } else { Sameness::Unknown };
        let verified = self.is_verified(credential_of(server));
        let tenancy = Tenancy { name: &tenant, told: true, verified };
        let seen = Seen {
            spec_valid: true,
            due: true,
            flapping: false,
            credential: Credential::Ready,
            tenant: sight::tenant(&now, record.as_ref(), Some(tenancy), || true),
            claim: self.claim(server, id.as_deref(), shown.as_ref(), &tenant),
            versions,
            list,
            found,
            fields,
            echo,
            verifiable: false,
            forbidden: Forbidden::default(),
        };
        Looked { stored: sight::stored(server, attempt, policy_of(server)), seen, shown }
    }

    fn claim(
        &self,
        server: &MfaServer,
        own: Option<&str>,
        shown: Option<&Item>,
        tenant: &str,
    ) -> mfa_operator::reconcile::facts::Claim {
        let (wakes, _woken) = Wakes::channel();
        let peers = Peers::new(wakes);
        let process = &self.state.processes[self.process];
        for held in process.cache.iter().flatten() {
            peers.applied(&held.server);
        }
        let id = own.or(shown.map(|item| item.remote.id.as_str()));
        let at = peers.at(server.spec.folder, server.effective_name(), id);
        let tenancies: Vec<(Arc<Peer>, String, bool)> = at
            .into_iter()
            .map(|peer| {
                let credential: u8 = peer.secret.as_ref().map_or(0, |name| name[1..].parse().unwrap());
                let tenant = tenant_name(self.world.credentials[usize::from(credential)]);
                (peer, tenant, self.is_verified(credential))
            })
            .collect();
        let contenders = tenancies.iter().map(|(peer, tenant, verified)| {
            peer.contender(Some(Tenancy { name: tenant, told: true, verified: *verified }))
        });
        let uid = server.metadata.uid.clone().unwrap();
        let holds = server.status.as_ref().is_some_and(|status| status.id.is_some());
        let claim = sight::claim(Asking { uid: &uid, id: own, holds, tenant: Some(tenant) }, contenders);
        (self.world.mutant.claim)(claim)
    }

    /// A pass begins.
    pub(crate) fn begin(&mut self) {
        let Some(cached) = self.state.processes[self.process].cache[self.slot].clone() else { return };
        let uid = uid_of(&cached.server);
        if self.mind().uid != Some(uid) {
            *self.mind() = Mind { uid: Some(uid), ..Mind::default() };
        }
        let newer = |written: &Held, cached: &Held| {
            written.server.metadata.uid == cached.server.metadata.uid && written.version > cached.version
        };
        let server = sight::freshest(&mut self.mind().newest, cached, newer);
        let unrecorded = self.mind().course.unrecorded.clone();
        let id = status(&server.server).id.as_deref().map(id_number);
        let looked = self.look(&Arc::clone(&server.server), id);
        let facts = Facts::from_stored(looked.stored).seeing(looked.seen);
        let mut pass = Pass {
            facts,
            spoken: server.clone(),
            server,
            id,
            shown: looked.shown,
            answered: None,
            wrote: false,
            waiting: false,
        };
        if let Some(unrecorded) = unrecorded {
            self.world.reach("an answer that no status holds is taken up by a later pass");
            pass.answered = Record::of(&unrecorded.server.server);
            pass.spoken = unrecorded.server;
            match unrecorded.answer {
                Ok(id) => {
                    pass.id = Some(id);
                    pass.facts.resume(Outcome::Created);
                    pass.wrote = true;
                }
                Err(class) => pass.facts.resume(Outcome::Refused(class)),
            }
        }
        pass.facts.leading = self.may_write();
        self.mind().pass = Some(pass);
        self.go_on();
    }

    /// What the rules say next.
    pub(crate) fn next(&self) -> (&'static str, Step) {
        let pass = self.state.processes[self.process].minds[self.slot].pass.as_ref().unwrap();
        (self.world.mutant.decide)(&pass.facts)
    }

    /// Learns what came of a step, and takes the steps that touch nothing outside of the process.
    fn learn(&mut self, outcome: Outcome) {
        (self.world.mutant.learn)(&mut self.pass().facts, outcome);
        self.go_on();
    }

    fn go_on(&mut self) {
        loop {
            let outcome = match self.next().1 {
                Step::Done(verdict) => return self.end(verdict),
                Step::TakePermit => Outcome::Granted,
                Step::ReadSecrets => {
                    Outcome::SecretsRead { secrets: Secrets::Ready, echo: self.echo(), unwritable: false }
                }
                Step::ReadDefinition => Outcome::DefinitionSeen(Definition::Stays),
                Step::Adopt => self.adopt(),
                _ => return,
            };
            (self.world.mutant.learn)(&mut self.pass().facts, outcome);
        }
    }

    /// The echo of no secrets.
    fn echo(&mut self) -> Sameness {
        let pass = self.pass();
        let Some(shown) = &pass.shown else { return Sameness::Unknown };
        let wanted = desired(&pass.spoken.server).unwrap();
        compare::echo(&wanted, &[], &shown.remote.fields)
    }

    fn end(&mut self, verdict: Verdict) {
        if verdict == Verdict::OutcomeUnknown {
            let mark = self.mark();
            self.mind().course.question = mark;
        }
        self.mind().pass = None;
        // What is remembered goes with the resource; whatever wakes it looks at the cache.
        if verdict == Verdict::Released || self.state.processes[self.process].cache[self.slot].is_none() {
            *self.mind() = Mind::default();
        }
    }

    fn adopt(&mut self) -> Outcome {
        let shown = self.pass().shown.clone();
        let server = Arc::clone(&self.pass().server.server);
        if let Some(item) = &shown {
            self.pass().id = Some(item.key.0);
            self.consent(&server, item);
        }
        if let Some(record) = (self.world.mutant.unanswered)(&server) {
            if self.pass().facts.found == Found::Attempted {
                self.pass().wrote = true;
            }
            self.pass().answered = Some(record);
            self.mind().course.open = None;
        }
        Outcome::Adopted
    }

    /// Whether the object that is taken may be taken, by the policies' own words.
    fn consent(&mut self, server: &MfaServer, item: &Item) {
        let uid = uid_of(server);
        let found = self.pass().facts.found;
        let identical = same(server, &item.remote) == Sameness::Same;
        let ghost = self.state.ghost;
        let Some(object) = self.state.objects.iter_mut().find(|object| object.id == item.key.0) else { return };
        if object.maker == Some(uid) {
            self.world.reach("what a lost POST made is found again");
            return;
        }
        let agreed = match server.spec.adoption_policy {
            AdoptionPolicy::Never => false,
            AdoptionPolicy::IfIdentical => identical,
            AdoptionPolicy::Always => true,
        };
        if found == Found::Attempted && object.twin & ghost.lost & bit(uid) != 0 {
            // The one stated exception: a twin of what was sent, and the answer lost.
            self.world.reach("a twin is taken for what was sent");
            object.consent |= bit(uid);
            self.state.ghost.twinned |= bit(uid);
        } else if agreed {
            self.world.reach("an object of somebody else is adopted");
            object.consent |= bit(uid);
        }
    }

    /// A write to the cluster under the version that was seen, as the API server takes it.
    fn write(&mut self, change: impl FnOnce(&mut MfaServer)) -> Result<(), Outcome> {
        let seen = self.pass().server.clone();
        let Some(live) = self.state.servers[self.slot].clone() else { return Err(Outcome::Gone) };
        if live != seen {
            self.world.reach("a write to the cluster is refused, for the resource has changed");
            return Err(Outcome::Conflicted);
        }
        let mut server = (*live.server).clone();
        change(&mut server);
        let next = self.world.store(self.state, self.slot, server);
        let pass = self.pass();
        pass.server = next.clone();
        self.mind().newest = Some(next);
        Ok(())
    }

    /// Takes the step that the rules say. `lost`: the cluster does it, and its answer is lost.
    pub(crate) fn step(&mut self, lost: bool) {
        let (_, step) = self.next();
        let before = (self.pass().server.clone(), self.mind().newest.clone());
        let outcome = match step {
            Step::ReadLive => self.read_live(),
            Step::Claim => self.claim_name(),
            Step::AddFinalizer => self
                .write(|server| server.metadata.finalizers = Some(vec![FINALIZER.to_owned()]))
                .map_or_else(|outcome| outcome, |()| Outcome::Finalized),
            Step::DropFinalizer => self.drop_finalizer(),
            Step::Record(verdict) => {
                let unrecorded = self.mind().course.unrecorded.clone();
                let outcome = self.record(verdict);
                if lost {
                    self.mind().course.unrecorded = unrecorded;
                }
                outcome
            }
            Step::Get => self.get(),
            Step::Create | Step::Replace | Step::Delete | Step::DeleteStray => match self.call(step) {
                Ok(()) => return,
                Err(outcome) => outcome,
            },
            local => unreachable!("{local:?}"),
        };
        if lost && self.state.processes[self.process].minds[self.slot].pass.is_some() {
            (self.pass().server, self.mind().newest) = before;
            return self.learn(Outcome::KubeFailed);
        }
        self.learn(outcome);
    }

    fn read_live(&mut self) -> Outcome {
        let uid = uid_of(&self.pass().server.server);
        let live = self.state.servers[self.slot].clone().filter(|live| uid_of(&live.server) == uid);
        let Some(live) = live else { return Outcome::Gone };
        let unrecorded = self.pass().facts.answer != Answer::None;
        self.pass().server = live.clone();
        let id = status(&live.server).id.as_deref().map(id_number);
        let looked = self.look(&Arc::clone(&live.server), id);
        let pass = self.pass();
        pass.shown = looked.shown;
        if !unrecorded {
            (pass.spoken, pass.id) = (live, id);
        }
        Outcome::Looked(looked.stored, looked.seen)
    }

    fn claim_name(&mut self) -> Outcome {
        if !self.may_write() {
            return Outcome::NotLeading;
        }
        let unsent = self.mind().course.unsent();
        let nonce = unsent.unwrap_or_else(|| self.state.fresh_nonce());
        let pass = self.pass();
        let (server, wanted) = (Arc::clone(&pass.server.server), desired(&pass.spoken.server).unwrap());
        let uid = server.metadata.uid.clone().unwrap();
        let record = Record::new(&uid, nonce.clone(), &tenant_name(self.tenant(&server)), &wanted, &[]);
        let text = serde_json::to_string(&record).unwrap();
        self.mind().course.records(nonce);
        // The list that this pass works from showed the name free: what has it now came after that.
        let uid_number = uid_of(&server);
        let free = self.pass().facts.found == Found::Absent;
        for object in self.state.objects.iter_mut().filter(|object| free && object.maker.is_none()) {
            if record.sent.matches(&self.world.item(object).remote.fields) {
                object.twin |= bit(uid_number);
            }
        }
        let claimed = self.write(|server| {
            server.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
            server.metadata.annotations.get_or_insert_default().insert(ANNOTATION_ATTEMPT.to_owned(), text);
        });
        claimed.map_or_else(|outcome| outcome, |()| Outcome::Claimed)
    }

    fn drop_finalizer(&mut self) -> Outcome {
        let server = Arc::clone(&self.pass().server.server);
        let uid = uid_of(&server);
        let dropped = self.write(|server| server.metadata.finalizers = None);
        match dropped {
            Ok(()) if policy_of(&server) == DeletionPolicy::Retain => {
                self.state.ghost.retained |= bit(uid);
                Outcome::Released
            }
            Ok(()) => {
                let held = status(&server).id.as_deref().map(id_number);
                let other = self.state.servers.iter().flatten().any(|other| {
                    let id = status(&other.server).id.as_deref().map(id_number);
                    uid_of(&other.server) != uid && id.is_some() && id == held
                });
                // An object that was taken with consent, and is still there.
                let ours = |object: &&crate::state::Object| Some(object.id) == held && object.consent & bit(uid) != 0;
                if self.state.objects.iter().any(|object| ours(&object)) && !other {
                    self.state.ghost.wrong = Some(Wrong::Finalizer);
                }
                Outcome::Released
            }
            Err(Outcome::Gone) => Outcome::Released,
            Err(outcome) => outcome,
        }
    }

    fn record(&mut self, verdict: Verdict) -> Outcome {
        let pass = self.pass().clone();
        let server = Arc::clone(&pass.server.server);
        let previous = status(&server);
        let tenant = tenant_name(self.tenant(&server));
        let id = pass.id.map(id_text);
        let Binding { id, tenant, attempt } =
            sight::binding(verdict, &previous, &pass.facts, id.as_deref(), Some(&tenant), pass.answered.as_ref());
        let wanted = self.desired(&pass.spoken.server);
        let facts = &pass.facts;
        let reason = match verdict {
            Verdict::NameTaken | Verdict::Refused(Class::Conflict) => "NameNotUnique",
            Verdict::Refused(_) => "Busy",
            _ => "",
        };
        let known = Known {
            generation: pass.spoken.server.metadata.generation.unwrap_or_default(),
            previous: &previous,
            verdict,
            cause: Cause { reason, message: reason.to_owned(), error: None },
            repeated: false,
            stale: false,
            differs: facts.id && [facts.fields, facts.echo, facts.versions].contains(&Sameness::Differs),
            equals: facts.id && facts.fields == Sameness::Same,
            authenticated: Some(true),
            object: Object {
                id,
                tenant,
                name: wanted.name,
                folder: wanted.folder.as_str().to_owned(),
                position: wanted.position.as_str().to_owned(),
                vendor: None,
            },
            attempt,
            wrote: pass.wrote,
            drift: Vec::new(),
            observed_secrets: Vec::new(),
            handled: None,
            now: Timestamp::UNIX_EPOCH,
        };
        let (status, _) = report(&known);
        if previous != status
            && let Err(outcome) = self.write(|server| server.status = Some(status))
        {
            return outcome;
        }
        self.mind().course.unrecorded = None;
        self.pass().wrote = false;
        Outcome::Recorded(verdict)
    }

    fn get(&mut self) -> Outcome {
        let Some(id) = self.pass().id else { return Outcome::KubeFailed };
        self.now_verified();
        let server = Arc::clone(&self.pass().server.server);
        let tenant = self.tenant(&server);
        let object = self.state.objects.iter().find(|object| object.id == id && object.tenant == tenant);
        let Some(item) = object.map(|object| self.world.item(object)) else { return self.absent(id) };
        let fields = same(&self.pass().spoken.server.clone(), &item.remote);
        self.pass().shown = Some(item);
        Outcome::Present { fields, echo: self.echo(), unwritable: false }
    }

    fn absent(&mut self, id: u8) -> Outcome {
        self.wrote_to_list(Write::Deleted(id_text(id)));
        let found = self.pass().facts.found;
        if found == Found::Ours {
            self.pass().shown = None;
        }
        let mark = self.mark();
        self.mind().course.absent(found, || mark);
        Outcome::Absent
    }

    fn wrote_to_list(&mut self, write: Write<Item>) {
        let server = Arc::clone(&self.pass().server.server);
        let shelf = self.shelf(&server, false).unwrap();
        let mark = self.mark();
        let mark = (self.world.mutant.write_mark)(mark);
        self.state.processes[self.process].shelves[shelf].inventory.take_write(mark, write);
    }

    /// Sends a write to the tenant; its answer comes later.
    fn call(&mut self, step: Step) -> Result<(), Outcome> {
        if !(self.world.mutant.obeys)(self.may_write()) {
            return Err(Outcome::NotLeading);
        }
        let pass = self.pass();
        let server = Arc::clone(&pass.server.server);
        let spoken = Arc::clone(&pass.spoken.server);
        let call = match step {
            Step::Create => {
                let Some(record) = Record::of(&server) else { return Err(Outcome::KubeFailed) };
                self.mind().course.sends(&record.nonce, false);
                let name = self.world.slots[self.slot].name;
                Call::Post { nonce: record.nonce, name, content: content_of(&spoken) }
            }
            Step::Replace => {
                let Some(id) = pass.id.filter(|_| pass.shown.is_some()) else { return Err(Outcome::KubeFailed) };
                Call::Put { id, content: content_of(&spoken) }
            }
            _ => {
                let Some(id) = pass.id else { return Err(Outcome::KubeFailed) };
                Call::Delete { id }
            }
        };
        self.pass().waiting = true;
        self.state.flights.push(Flight {
            call,
            slot: u8::try_from(self.slot).unwrap(),
            uid: uid_of(&server),
            tenant: self.tenant(&server),
            waiting: Some(u8::try_from(self.process).unwrap()),
            reply: None,
        });
        Ok(())
    }

    /// The answer of the call comes, or is lost.
    pub(crate) fn answer(&mut self, call: &Call, reply: Reply) {
        self.pass().waiting = false;
        let uid = uid_of(&self.pass().server.server);
        if reply == Reply::Lost {
            if matches!(call, Call::Post { .. }) {
                self.state.ghost.lost |= bit(uid);
            }
        } else {
            self.now_verified();
        }
        let outcome = match (call, reply) {
            (_, Reply::Lost) => Outcome::Unknown(Class::Server),
            (_, Reply::Busy) => Outcome::Refused(Class::Busy),
            (_, Reply::Conflict) => Outcome::Refused(Class::Conflict),
            (_, Reply::Created(id)) => {
                self.holds(id);
                Outcome::Created
            }
            (Call::Put { id, .. }, Reply::Done) => {
                self.holds(*id);
                Outcome::Replaced
            }
            (Call::Put { id, .. }, Reply::Missing) => self.absent(*id),
            (_, Reply::Done) => self.deleted(call, Outcome::Deleted),
            (_, Reply::Missing) => self.deleted(call, Outcome::Absent),
        };
        if let Call::Post { nonce, .. } = call {
            self.answer_create(nonce, outcome);
        }
        self.learn(outcome);
    }

    fn answer_create(&mut self, nonce: &str, outcome: Outcome) {
        let server = self.pass().server.clone();
        let mark = self.mark();
        let record = Record::of(&server.server);
        let answer = |answer| Unrecorded { answer, server };
        match outcome {
            Outcome::Created => {
                let id = self.pass().id.unwrap();
                self.pass().answered = record.clone();
                self.mind().course.answered(answer(Ok(id)));
            }
            outcome => {
                let class = match outcome {
                    Outcome::Refused(class) => class,
                    _ => Class::Server,
                };
                if outcome == Outcome::Refused(class) && !class.is_passing() {
                    self.pass().answered = record.clone();
                }
                self.mind().course.not_created(nonce, outcome, || answer(Err(class)), || mark);
            }
        }
    }

    fn deleted(&mut self, call: &Call, outcome: Outcome) -> Outcome {
        let Call::Delete { id } = call else { unreachable!() };
        self.pass().wrote = true;
        self.wrote_to_list(Write::Deleted(id_text(*id)));
        self.pass().shown = None;
        self.mind().course.unrecorded = None;
        outcome
    }

    /// The tenant holds what was sent.
    fn holds(&mut self, id: u8) {
        let spoken = Arc::clone(&self.pass().spoken.server);
        let name = self.world.slots[self.slot].name;
        let item = self.world.thing(id, name, Some(folder_of(false)), content_of(&spoken));
        self.pass().wrote = true;
        self.pass().id = Some(id);
        self.pass().shown = Some(item.clone());
        self.wrote_to_list(Write::Put(id_text(id), item));
    }
}
