//! Pure: who owns a name or an id in a tenant.
//!
//! Two resources that mean the same remote object must not both write it. The owner is, in this order: who holds the
//! remote object already by a stored id, who has an attempt that may still land, then the older resource, then the one with
//! the lower uid. An id is the operator's own word, in the status; an attempt is an annotation, which whoever may edit the
//! resource can write, and so never takes away what an id holds. The rule is derived anew from what the cluster holds, so
//! there is no table of claims to lose.

use std::cmp::Reverse;

/// What a resource has of the object; more is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// Nothing but the wish.
    None,
    /// An open attempt, with a credential that the API has taken.
    Attempt,
    /// `status.tenant` with `status.id`.
    Id,
}

/// One resource that means a certain remote object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant<U, T> {
    /// The resource's uid.
    pub uid: U,
    /// When it was created.
    pub created: T,
    /// What it has of the object already.
    pub hold: Hold,
    /// Its credential has made a successful call at its present version. One that has not takes part in no claim that it
    /// does not hold already: a token's own word about its tenant moves nobody.
    pub verified: bool,
}

/// The one that may act, if any of them may.
pub fn owner<U: Ord + Clone, T: Ord + Clone>(claimants: &[Claimant<U, T>]) -> Option<&U> {
    claimants
        .iter()
        .filter(|claimant| claimant.hold > Hold::None || claimant.verified)
        .min_by_key(|claimant| (Reverse(claimant.hold), claimant.created.clone(), claimant.uid.clone()))
        .map(|claimant| &claimant.uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimant(uid: &str, created: u8, holds: bool, verified: bool) -> Claimant<&str, u8> {
        Claimant { uid, created, hold: if holds { Hold::Id } else { Hold::None }, verified }
    }

    #[test]
    fn who_holds_the_object_comes_before_who_is_older() {
        let claimants = [claimant("a", 1, false, true), claimant("b", 2, true, true)];
        assert_eq!(owner(&claimants), Some(&"b"));
    }

    #[test]
    fn an_attempt_comes_before_who_is_older_and_never_before_a_stored_id() {
        let attempting = |uid, created| Claimant { hold: Hold::Attempt, ..claimant(uid, created, false, true) };
        assert_eq!(owner(&[claimant("a", 1, false, true), attempting("b", 2)]), Some(&"b"));
        assert_eq!(owner(&[attempting("a", 1), claimant("b", 2, true, true)]), Some(&"b"), "however old");
        assert_eq!(owner(&[attempting("a", 1), claimant("b", 1, true, false)]), Some(&"b"), "in one second, too");
        assert_eq!(owner(&[attempting("b", 1), attempting("a", 1)]), Some(&"a"));
    }

    #[test]
    fn the_older_comes_first_and_then_the_lower_uid() {
        assert_eq!(owner(&[claimant("a", 2, false, true), claimant("b", 1, false, true)]), Some(&"b"));
        assert_eq!(owner(&[claimant("b", 1, false, true), claimant("a", 1, false, true)]), Some(&"a"));
    }

    #[test]
    fn an_unverified_credential_makes_no_claim_and_loses_none() {
        assert_eq!(owner(&[claimant("a", 1, false, false), claimant("b", 2, false, true)]), Some(&"b"));
        assert_eq!(owner(&[claimant("a", 1, true, false), claimant("b", 2, false, true)]), Some(&"a"));
        assert_eq!(owner(&[claimant("a", 1, false, false)]), None);
    }

    #[test]
    fn in_whatever_order_they_are_asked_about_the_owner_is_the_same_no_matter_who_asks() {
        let mut claimants = vec![
            claimant("a", 3, false, true),
            claimant("b", 1, false, false),
            claimant("c", 2, true, false),
            claimant("d", 2, true, true),
            claimant("e", 1, false, true),
        ];
        for _ in 0..claimants.len() {
            claimants.rotate_left(1);
            assert_eq!(owner(&claimants), Some(&"c"));
        }
        claimants.retain(|claimant| claimant.hold == Hold::None);
        assert_eq!(owner(&claimants), Some(&"e"));
        assert_eq!(owner::<&str, u8>(&[]), None);
    }
}
