use std::collections::BTreeSet;

use super::*;

const SEED: &[u8] = br#"{"data":[{"id":"1","name":"a","mfa_vendor_type":{"x":{"y":"30"}}}],"total":1}"#;

/// Rolls that a lucky or unlucky die would show.
fn extremes() -> Vec<Vec<u8>> {
    let mut extremes = vec![Vec::new()];
    for byte in 0..=u8::MAX {
        extremes.push(vec![byte; 20_000]);
        extremes.push((0..20_000u32).map(|at| if at % 2 == 0 { byte } else { !byte }).collect());
    }
    let mut long = Vec::new();
    for seed in 0..64 {
        long.resize(20_000, 0);
        SmallRng::seed_from_u64(seed).fill_bytes(&mut long);
        extremes.push(long.clone());
    }
    extremes
}

#[test]
fn making_an_input_ends_whatever_is_rolled_and_it_is_of_bounded_length() {
    for rolled in extremes() {
        let text = mutate::text(SEED, &mut Rolls::new(&rolled));
        assert!(text.len() <= mutate::LONGEST);
        let answer = Answer::parse(b"HTTP/1.1 400\nDate: x\n\n{}").mutated(&mut Rolls::new(&rolled));
        assert!(answer.body.len() <= mutate::LONGEST && answer.headers.len() < 5);
        // The change of a change, as a corpus that grows would have it.
        let again = mutate::text(&text, &mut Rolls::new(&rolled));
        assert!(again.len() <= mutate::LONGEST);
    }
}

#[test]
fn the_same_rolls_make_the_same_input_and_others_make_many() {
    let mut made = BTreeSet::new();
    for rolled in extremes() {
        let text = mutate::text(SEED, &mut Rolls::new(&rolled));
        assert_eq!(text, mutate::text(SEED, &mut Rolls::new(&rolled)));
        made.insert(text);
    }
    assert!(made.len() > 100, "{} texts", made.len());
}

#[test]
fn most_of_what_is_made_is_still_json_and_some_of_it_holds_the_secret() {
    let (mut json, mut planted) = (0, 0);
    let mut bytes = Vec::new();
    for seed in 0..1000 {
        rolled(seed, &mut bytes);
        let text = mutate::text(SEED, &mut Rolls::new(&bytes));
        json += usize::from(serde_json::from_slice::<serde_json::Value>(&text).is_ok());
        planted += usize::from(tells_the_secret(&String::from_utf8_lossy(&text)));
    }
    assert!(json > 600, "{json} of 1000 are JSON");
    assert!(planted > 100, "{planted} of 1000 hold the secret");
}

#[test]
fn an_answer_is_read_as_the_corpus_writes_it() {
    let answer = Answer::parse(b"HTTP/1.1 429\nRetry-After: 120\n\n{\"a\":1}");
    assert_eq!((answer.status, answer.body.as_slice()), (429, &b"{\"a\":1}"[..]));
    assert_eq!(answer.headers, [("Retry-After".to_owned(), b"120".to_vec())]);
    assert_eq!(Answer::parse(b"HTTP/1.1 204").body, b"");
    assert_eq!(Answer::parse(b"HTTP/1.1 7\n\nx").body, b"HTTP/1.1 7\n\nx");
}

#[test]
fn a_piece_of_the_secret_is_recognised_and_other_text_is_not() {
    assert!(tells_the_secret(&format!("x{}", &PLANTED[..6])) && tells_the_secret(&PLANTED[PLANTED.len() - 6..]));
    assert!(!tells_the_secret("NameNotUnique (HTTP 409)"));
    let pieces = PLANTED.as_bytes().windows(5);
    assert!(pieces.into_iter().all(|piece| piece.contains(&b'@')));
}

#[test]
#[should_panic(expected = "seed ")]
fn a_property_that_does_not_hold_fails_and_names_the_input() {
    TestTarget::new(Repeatable("page")).for_each(|bytes: &[u8]| assert!(bytes.len() < 3000));
}
