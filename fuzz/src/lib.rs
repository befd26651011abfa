//! What feeds rubbish to everything that decodes what others send.
//!
//! # The flow
//! A target is a test of the operator's, beside what it tests. It calls [`texts`] or [`answers`] with a property: a
//! function that fails where something does not hold. Half of the inputs are rolled bytes as they are, the other half are
//! documented texts, changed as other bytes say ([`mutate`]). The documented texts are the corpus, `__fuzz__/<target>/corpus`,
//! one a file; each is an input as it stands too.
//!
//! # Guarantees
//! - Under `cargo test` the inputs are the same each time, and few. With `MFA_FUZZ` set, which `make fuzz` does, bolero rolls
//!   others for as long as it is told, and makes one that fails small.
//! - Whatever is rolled, making an input of it ends, and the input is at most [`mutate::LONGEST`] long.

use std::cell::RefCell;
use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};

use bolero::{DefaultEngine, Engine, TargetLocation, Test, TestTarget};
use bolero_engine::driver::Options;
use bolero_engine::input::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

mod answer;
pub mod mutate;
mod rolls;

pub use answer::Answer;
pub use rolls::Rolls;

/// How many inputs a target is fed under `cargo test`, beside the corpus.
const INPUTS: u64 = 400;

/// The most memory, in KiB, that a process may have held when a target was fed for long.
const MOST_MEMORY: u64 = 512 * 1024;

/// A secret that is planted wherever a text may stand. Whatever of it is five characters long or more holds an `@`, which no
/// code, id or name may hold that is shown.
pub const PLANTED: &str = "pl@nt3@d.s3@cr3t@w0rd@";

/// Whether a text holds the planted secret, or as much of it as could be of use.
#[must_use]
pub fn tells_the_secret(text: &str) -> bool {
    (0..=PLANTED.len() - 6).any(|at| text.contains(&PLANTED[at..at + 6]))
}

/// Feeds texts: what is documented, changed, and rolled bytes.
pub fn texts(name: &'static str, property: impl Fn(&[u8]) + RefUnwindSafe + UnwindSafe) {
    let corpus = corpus(name);
    run(name, move |rolled| {
        let text = match chosen(&corpus, rolled) {
            Some((seed, mut rolls)) => mutate::text(seed, &mut rolls),
            None => rolled.to_vec(),
        };
        property(&text);
    });
}

/// Feeds answers over HTTP: what is documented, changed, and rolled bytes.
pub fn answers(name: &'static str, property: impl Fn(&Answer) + RefUnwindSafe + UnwindSafe) {
    let corpus = corpus(name);
    run(name, move |rolled| {
        let answer = match chosen(&corpus, rolled) {
            Some((seed, mut rolls)) => Answer::parse(seed).mutated(&mut rolls),
            None => Answer::parse(rolled),
        };
        property(&answer);
    });
}

/// The documented text that these bytes change, and what is left of them; none, where they stand for themselves, as each
/// text of the corpus does.
fn chosen<'a, 'b>(corpus: &'a [Vec<u8>], rolled: &'b [u8]) -> Option<(&'a [u8], Rolls<'b>)> {
    let (first, rest) = rolled.split_first()?;
    if first.is_ascii() || corpus.is_empty() {
        return None;
    }
    let mut rolls = Rolls::new(rest);
    let seed = &corpus[rolls.below(corpus.len())];
    Some((seed, rolls))
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("__fuzz__").join(name).join("corpus")
}

/// The documented texts of a target, in the order of their names.
///
/// A target without any is a mistake: it fails.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(name))
        .map(|files| files.filter_map(|file| Some(file.ok()?.path())).collect())
        .unwrap_or_default();
    files.sort();
    let texts: Vec<Vec<u8>> = files.iter().filter_map(|file| std::fs::read(file).ok()).collect();
    assert!(!texts.is_empty(), "there is no text in {}", folder(name).display());
    texts
}

fn run(name: &'static str, property: impl Fn(&[u8]) + RefUnwindSafe + UnwindSafe) {
    if std::env::var_os("MFA_FUZZ").is_none() {
        return TestTarget::new(Repeatable(name)).for_each(property);
    }
    let location = TargetLocation {
        package_name: env!("CARGO_PKG_NAME"),
        manifest_dir: env!("CARGO_MANIFEST_DIR"),
        module_path: module_path!(),
        // bolero looks for the corpus beside this file.
        file: concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        line: line!(),
        item_path: "mfa_fuzz::run::__bolero_item_path__",
        test_name: Some(name.to_owned()),
    };
    TestTarget::new(DefaultEngine::new(location)).for_each(property);
    if let Some(held) = most_memory() {
        assert!(held <= MOST_MEMORY, "{name}: the process held {held} KiB");
    }
}

/// The most memory that this process has held, in KiB, where the system tells it.
fn most_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The same inputs each time: the corpus, and rolled bytes of fixed seeds.
struct Repeatable(&'static str);

impl<T: Test> Engine<T> for Repeatable
where
    T::Value: Debug,
{
    type Output = ();

    fn run(self, mut test: T, options: Options) {
        thread_local! {
            static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let mut feed = |bytes: &[u8], what: &str| {
            let failed = test.test(&mut Bytes::new(bytes, &options)).err();
            let name = self.0;
            assert!(failed.is_none(), "{name}, {what}, {:?}: {failed:?}", String::from_utf8_lossy(bytes));
        };
        for text in corpus(self.0) {
            feed(&text, "corpus");
        }
        for seed in 0..INPUTS {
            INPUT.with_borrow_mut(|bytes| {
                rolled(seed, bytes);
                feed(bytes, &format!("seed {seed}"));
            });
        }
    }
}

/// Bytes of a seed: short ones and long ones in turn.
fn rolled(seed: u64, bytes: &mut Vec<u8>) {
    let mut random = SmallRng::seed_from_u64(seed);
    let most = [16, 64, 512, 4096][usize::try_from(seed % 4).unwrap_or_default()];
    bytes.resize(random.random_range(0..=most), 0);
    random.fill_bytes(bytes);
}

#[cfg(test)]
mod tests;
