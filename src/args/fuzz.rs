//! What a person writes on the command line, made rubbish.

use super::*;

#[test]
fn a_duration_is_within_its_bounds_or_a_sentence_that_names_them() {
    mfa_fuzz::texts("duration", |text| {
        let text = String::from_utf8_lossy(text);
        match between::<10, 86_400>(&text) {
            Ok(duration) => assert!((10..=86_400).contains(&duration.as_secs()), "{duration:?}"),
            Err(refusal) => assert_eq!(refusal, "write a duration between 10s and 86400s, like 30s, 10m or 1h30m"),
        }
        assert_eq!(between::<1, 600>(&text), between::<1, 600>(&text));
        // The other texts that are taken as they stand.
        assert!(secret_name(&text).is_ok_and(|name| name == text) || secret_name(&text).is_err());
        assert!(
            secret_of_namespace(&text).is_ok_and(|of| format!("{}/{}", of.namespace, of.name) == text)
                || secret_of_namespace(&text).is_err()
        );
        assert!(lease_name(&text).is_ok_and(|name| name == text) || lease_name(&text).is_err());
        assert!(namespace(&text).is_ok_and(|name| name.len() <= 63 && name == text) || namespace(&text).is_err());
    });
}
