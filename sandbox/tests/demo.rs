//! The demo's command line, as `make` gives it.

use std::process::Command;

#[test]
fn keep_is_asked_for_by_any_usual_yes_and_not_by_an_empty_value() {
    for keep in ["1", "true", "yes", "0", ""] {
        // Without a control plane it ends with 1, at once; a variable that is not understood is a wrong use: 2.
        let ended = Command::new(env!("CARGO_BIN_EXE_demo")).env_clear().env("KEEP", keep).output().expect("the demo");
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "KEEP={keep}: {told}");
        assert!(!told.contains("invalid value"), "KEEP={keep}: {told}");
    }
}
