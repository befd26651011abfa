//! Whether every state is near a fixed point that is as it should be: a run from it in which nothing fails.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::process::{content_of, credential_of, id_number, is_deleting, status};
use crate::state::State;
use crate::world::{Action, World, tenant_name, uid_of};
use mfa_operator::conditions::{self, READY, reason};
use mfa_operator::crd::{AdoptionPolicy, DriftPolicy};

/// More steps than any run without faults takes until nothing is under way.
const STEPS: usize = 200;
/// More rounds of lists and passes than any run without faults takes until nothing changes.
const ROUNDS: usize = 12;

fn key(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

impl World {
    /// Whether a run without faults from here comes to rest, and rests where it should.
    pub(crate) fn settles(&self, state: &State) -> bool {
        let mut path = Vec::new();
        let mut now = state.clone();
        let found = self.run(&mut now, &mut path);
        match found {
            Ok(()) => {
                self.settled.lock().unwrap().extend(path);
                true
            }
            Err(wrong) => {
                let story = format!("{wrong}\n  it rests at {}", self.show(&now));
                self.unsettled.lock().unwrap().get_or_insert(story);
                false
            }
        }
    }

    fn run(&self, now: &mut State, path: &mut Vec<u64>) -> Result<(), String> {
        for _ in 0..ROUNDS {
            if self.rest(now, path)? {
                return Ok(());
            }
            let before = now.clone();
            // A round: a new list of every folder, then a pass over every resource, then time.
            for kind in 0..3 {
                for action in self.round(now) {
                    let takes = match action {
                        Action::ListBegin(..) => kind == 0,
                        Action::Begin(..) => kind == 1,
                        _ => kind == 2,
                    };
                    if !takes || !self.round(now).contains(&action) {
                        continue;
                    }
                    self.act(now, action);
                    self.normalise(now);
                    if self.rest(now, path)? {
                        return Ok(());
                    }
                }
            }
            if *now == before {
                return self.judge(now);
            }
        }
        Err(format!("{ROUNDS} rounds of lists and passes change it again and again"))
    }

    /// Lets everything end that is under way; whether a state was met from which it is known to end well.
    fn rest(&self, now: &mut State, path: &mut Vec<u64>) -> Result<bool, String> {
        for _ in 0..STEPS {
            let key = key(now);
            if self.settled.lock().unwrap().contains(&key) {
                return Ok(true);
            }
            path.push(key);
            let Some(action) = self.lead(now).or_else(|| self.fair(now)) else { return Ok(false) };
            self.act(now, action);
            self.normalise(now);
        }
        Err(format!("{STEPS} steps without a fault do not come to rest"))
    }

    /// Somebody leads, in a run without faults: what is not known of the lease is looked at, and time goes on until then.
    fn lead(&self, now: &State) -> Option<Action> {
        let elections = self.elect(now);
        if elections.is_empty() {
            return None;
        }
        let ended = elections.iter().find(|action| matches!(action, Action::End(_)));
        let moves = elections.iter().find(|action| matches!(action, Action::Elect(_)));
        let led = now.processes.iter().any(|process| self.may_write(process));
        ended.or(moves).or((!led).then_some(&Action::Tick)).copied()
    }

    /// What is wrong with a state in which nothing changes any more.
    fn judge(&self, state: &State) -> Result<(), String> {
        for (slot, held) in state.servers.iter().enumerate() {
            let Some(held) = held else { continue };
            let server = &held.server;
            let uid = uid_of(server);
            let status = status(server);
            let tenant = self.credentials[usize::from(credential_of(server))];
            let generation = server.metadata.generation.unwrap();
            let ready = conditions::current(&status.conditions, READY, generation);
            let Some(ready) = ready.filter(|_| status.observed_generation == Some(generation)) else {
                return Err(format!("uid {uid} is not spoken of at its generation"));
            };
            let mine = status.id.as_deref().map(id_number);
            let object = state.objects.iter().find(|object| Some(object.id) == mine && object.tenant == tenant);
            let here = |parent: bool| {
                state.objects.iter().filter(move |object| {
                    object.tenant == tenant && object.parent == parent && object.name == self.slots[slot].name
                })
            };
            let others = here(false).filter(|object| Some(object.id) != mine);
            let moved = status.tenant.as_ref().is_some_and(|bound| *bound != tenant_name(tenant));
            let fits = match ready.reason.as_str() {
                reason::AVAILABLE => {
                    object.is_some_and(|object| object.content == content_of(server)) && !is_deleting(server)
                }
                "NameNotUnique" => others.clone().next().is_some() && object.is_none() && !is_deleting(server),
                reason::ADOPTION_REFUSED => {
                    server.spec.adoption_policy == AdoptionPolicy::IfIdentical
                        && others.clone().any(|object| object.content != content_of(server))
                        && !is_deleting(server)
                }
                reason::DUPLICATE_CLAIM => {
                    let same = |(other, held): (usize, &Option<crate::state::Held>)| {
                        other != slot
                            && self.slots[other].name == self.slots[slot].name
                            && held.as_ref().is_some_and(|held| {
                                self.credentials[usize::from(credential_of(&held.server))] == tenant
                                    || status.tenant.is_some()
                            })
                    };
                    state.servers.iter().enumerate().any(same) && !is_deleting(server)
                }
                reason::DRIFT_REPORTED => {
                    server.spec.drift_policy == DriftPolicy::Report
                        && object.is_none_or(|object| object.content != content_of(server))
                        && !is_deleting(server)
                }
                reason::TENANT_MISMATCH => moved || (status.tenant.is_none() && self.credentials.len() > 1),
                _ => false,
            };
            if !fits {
                return Err(format!("uid {uid} says {:?}, which does not fit", ready.reason));
            }
        }
        Ok(())
    }
}
