//! Pure: the course of one object's creation, as this process remembers it: what was sent, what was answered, and from when
//! on a list counts as an answer.
//!
//! `T` is a point in time and `U` an answer that no status holds yet; both are only carried here, so that production and
//! the model checker share every rule.

use super::attempt::Attempt as Record;
use super::facts::{Attempt, Found, Outcome};
use crate::sse::inventory::Mark;

/// An attempt that this process recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Minted {
    /// Its nonce.
    pub nonce: String,
    /// It may have been acted on: sent, and not refused since.
    pub acted: bool,
}

/// An attempt whose answer is not known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Open<T> {
    /// Its nonce.
    pub nonce: String,
    /// Since when this process knows of it.
    pub since: T,
    /// It cannot land any more.
    pub settled: bool,
}

/// What this process remembers of the creation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Course<T, U> {
    /// A list has to have begun after this to answer the resource's question.
    pub question: Mark,
    /// The last attempt that this process recorded.
    pub minted: Option<Minted>,
    /// The attempt whose answer is not known.
    pub open: Option<Open<T>>,
    /// The answer to a create that no status holds yet.
    pub unrecorded: Option<U>,
}

impl<T, U> Default for Course<T, U> {
    fn default() -> Self {
        Self { question: Mark::default(), minted: None, open: None, unrecorded: None }
    }
}

impl<T, U> Course<T, U> {
    /// How the attempt stands whose answer no status holds. `same`: it sent what would be sent now. It settles once it
    /// cannot land any more, and for its question only a list counts that begins after that.
    pub fn standing(
        &mut self,
        record: Option<&Record>,
        same: bool,
        now: T,
        has_settled: impl FnOnce(&T) -> bool,
        mark: impl Fn() -> Mark,
    ) -> Attempt {
        let Some(record) = record else {
            self.open = None;
            return Attempt::None;
        };
        if self.minted.as_ref().is_some_and(|minted| minted.nonce == record.nonce && !minted.acted) {
            return if same { Attempt::Recorded } else { Attempt::None };
        }
        if self.open.as_ref().is_none_or(|open| open.nonce != record.nonce) {
            self.open = Some(Open { nonce: record.nonce.clone(), since: now, settled: false });
            self.question = mark();
        }
        let Some(open) = &mut self.open else { return Attempt::Open };
        if !has_settled(&open.since) {
            return Attempt::Open;
        }
        if !open.settled {
            open.settled = true;
            self.question = mark();
        }
        Attempt::Settled
    }

    /// The nonce of what this process recorded last, while nobody has acted on it. Whether the cluster took that record may
    /// not be known: the next one goes by the same nonce, so that it is known for not sent whichever of the two is stored.
    #[must_use]
    pub fn unsent(&self) -> Option<String> {
        self.minted.as_ref().filter(|minted| !minted.acted).map(|minted| minted.nonce.clone())
    }

    /// An attempt is about to be recorded.
    pub fn records(&mut self, nonce: String) {
        self.minted = Some(Minted { nonce, acted: false });
    }

    /// It is about to be sent.
    pub fn sends(&mut self, nonce: &str, now: T) {
        self.minted = Some(Minted { nonce: nonce.to_owned(), acted: true });
        self.open = Some(Open { nonce: nonce.to_owned(), since: now, settled: false });
    }

    /// It was refused without an effect: it can be sent as it is.
    pub fn unacted(&mut self, nonce: &str) {
        self.minted = Some(Minted { nonce: nonce.to_owned(), acted: false });
        self.open = None;
    }

    /// It was answered, and no status says so yet.
    pub fn answered(&mut self, answer: U) {
        self.unrecorded = Some(answer);
        self.open = None;
    }

    /// It was not created, or it is not known whether; this came of it.
    pub fn not_created(
        &mut self,
        nonce: &str,
        outcome: Outcome,
        answer: impl FnOnce() -> U,
        mark: impl FnOnce() -> Mark,
    ) {
        match outcome {
            Outcome::Refused(class) if class.is_passing() => self.unacted(nonce),
            Outcome::Refused(_) => {
                self.answered(answer());
                // Whatever stands in the way is to be seen in a newer list.
                self.question = mark();
            }
            _ => self.question = mark(),
        }
    }

    /// The id that is ours is not there. A list that showed it is older than that.
    pub fn absent(&mut self, found: Found, mark: impl FnOnce() -> Mark) {
        if found == Found::Ours {
            self.question = mark();
        }
    }
}

#[cfg(test)]
mod tests;
