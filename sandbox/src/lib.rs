//! Development only: what the operator is tried against.
//!
//! Nothing here imports anything of `mfa-operator`: the wire shapes come from the API's documents, so that a mistake in
//! the operator's own types fails a test instead of being shared by both sides.

pub mod control_plane;
pub mod demo;
pub mod e2e;
pub mod simulator;
