//! Golden files of the tests: compared, or written with `MFA_GENERATE=1` as `make generate` does.

use std::path::Path;

/// Fails unless the file, named from the repository's root, holds this text.
pub(crate) fn check(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("MFA_GENERATE").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{file} is stale: run `make generate` and read the difference. It should be:\n{text}");
}
