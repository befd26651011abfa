//! Integration tests: the operator's parts against a real kube-apiserver, and the files that are generated from them.
//!
//! They need the binaries that `make tools` builds; `make test` does all of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::manual_assert, missing_docs)]

mod admin;
mod adoption;
mod answers;
mod bad_input;
mod chart;
mod counts;
mod crd;
mod credentials;
mod deadline;
mod demo;
mod dependency_rule;
mod docs;
mod drift;
mod errors;
mod faults;
mod gaps;
mod generated;
mod harness;
mod invariants;
mod leader;
mod lifecycle;
mod no_secret;
mod operator;
mod soak;
mod steps;
mod stop;
