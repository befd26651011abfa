//! Integration tests: the operator's parts against a real kube-apiserver, and the files that are generated from them.
//!
//! They need the binaries that `make tools` builds; `make test` does all of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod bad_input;
mod crd;
mod errors;
mod generated;
mod harness;
mod operator;
