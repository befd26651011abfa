//! A Lease that somebody else has written, made rubbish.

use super::*;

#[test]
fn whatever_a_lease_says_a_candidate_reads_it_and_can_write_it() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    mfa_fuzz::texts("lease", |text| {
        let Ok(lease) = serde_json::from_slice::<Lease>(text) else { return };
        let seen = record(&lease);
        assert_eq!(seen, record(&lease));
        assert!(seen.holder.as_ref().is_none_or(|holder| !holder.is_empty()));
        assert!(seen.duration.is_none_or(|duration| duration >= Duration::from_secs(1)));
        // However long it asks others to wait, the clock does not run over.
        let mut candidate = Candidate::new("us".to_owned(), Timing::default());
        for at in [Duration::ZERO, Duration::from_secs(5)] {
            candidate.looks(at);
            candidate.saw(Some(seen.clone()), at);
            let _ = candidate.next(at);
        }
        let held = claimed(Some(&lease), "mfa-operator", "us", Timing::default(), now);
        assert_eq!(record(&held).holder.as_deref(), Some("us"));
        assert_eq!(held.metadata, lease.metadata, "the version above all");
        let again = claimed(Some(&held), "mfa-operator", "us", Timing::default(), now);
        assert_eq!(again, held, "a renewal is no other transition");
        assert_eq!(record(&released(&held, now)).holder, None);
    });
}
