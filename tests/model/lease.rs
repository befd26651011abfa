//! The election in the checker's world: two processes, each a real [`Candidate`] on a clock that ticks.

use std::time::Duration;

use mfa_operator::controller::lease::candidate::{Candidate, Move, Record, Timing};

/// Now, on every clock: only what lies around it counts.
pub(crate) const NOW: Duration = Duration::from_secs(10);

/// The lease's times, in ticks.
pub(crate) const TIMING: Timing =
    Timing { duration: Duration::from_secs(3), renew_deadline: Duration::from_secs(2), retry: Duration::from_secs(1) };

/// The lease as the cluster has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    /// Its version; 0 while it is not there.
    pub(crate) version: u8,
    pub(crate) holder: Option<u8>,
}

/// A process's part in the election.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leading {
    /// Nobody else's, as that of every process is.
    pub(crate) identity: u8,
    pub(crate) candidate: Candidate,
}

impl Leading {
    pub(crate) fn new(identity: u8, timing: Timing) -> Self {
        Self { identity, candidate: Candidate::new(format!("p{identity}"), timing) }
    }

    /// Whether a write may start, as `Deadline` has it.
    pub(crate) fn may_write(&self) -> bool {
        self.candidate.may_write_until().is_some_and(|until| NOW < until)
    }

    /// It has led: it works, or its work is about to be dropped.
    pub(crate) fn works(&self) -> bool {
        self.candidate.may_write_until().is_some()
    }

    pub(crate) fn next(&self) -> Move {
        self.candidate.next(NOW)
    }
}

impl Lease {
    fn record(&self) -> Option<Record> {
        (self.version > 0).then(|| Record {
            version: self.version.to_string(),
            holder: self.holder.map(|holder| format!("p{holder}")),
            duration: None,
        })
    }

    /// The move that a process makes now; whether it has begun to lead.
    pub(crate) fn elect(&mut self, leading: &mut Leading) -> bool {
        let identity = leading.identity;
        let candidate = &mut leading.candidate;
        match candidate.next(NOW) {
            Move::Look => {
                candidate.looks(NOW);
                candidate.saw(self.record(), NOW);
                false
            }
            Move::Acquire | Move::Renew => {
                let began = candidate.may_write_until().is_none();
                candidate.writes(NOW);
                // The write carries the version that was seen; the API server refuses it where that is not the present one.
                if candidate.seen_version().cloned() == self.record().map(|record| record.version) {
                    self.version += 1;
                    self.holder = Some(identity);
                    candidate.wrote(self.record().unwrap(), NOW);
                    began
                } else {
                    candidate.refused();
                    false
                }
            }
            Move::Wait(_) | Move::Lost(_) => false,
        }
    }

    /// Numbers the versions anew, as only that they differ counts.
    pub(crate) fn normalise<'a>(&mut self, leadings: impl Iterator<Item = &'a mut Leading>) {
        let mut seen: Vec<&mut String> = leadings.filter_map(|leading| leading.candidate.seen_version()).collect();
        let mut versions: Vec<u8> = seen.iter().map(|version| version.parse().unwrap()).collect();
        versions.extend([0, self.version]);
        versions.sort_unstable();
        versions.dedup();
        let rank = |version: u8| u8::try_from(versions.binary_search(&version).unwrap()).unwrap();
        for version in &mut seen {
            **version = rank(version.parse().unwrap()).to_string();
        }
        self.version = rank(self.version);
    }
}
