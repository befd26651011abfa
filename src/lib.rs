//! `mfa-operator` keeps the multi-factor-authentication servers of Prisma Access equal to `MfaServer` resources.
//!
//! # The flow
//! A watch event or a wake-up starts a *pass* over one resource. The driver ([`reconcile`]) gathers what is known into
//! [`reconcile::facts::Facts`], asks the pure function [`reconcile::step::next_step`] for one step, performs it, lets the
//! facts learn the outcome and asks again, until the answer is to wait. What is known then becomes the status.
//!
//! # The dependency rule
//! `main → run → controller → reconcile (driver, perform) → {sse, crd}`. The pure files (`facts`, `step`, `desired`, `compare`,
//! `report`, `claims`, `backoff`, `conditions`) see each other, `crd` and `sse::types` at most. `sse` names neither kube
//! nor `crd`; `crd` never names `sse`. `metrics` names none of them: who does IO counts into it. `tests/it/dependency_rule.rs` holds it.

pub mod admin;
pub mod args;
pub mod backoff;
pub mod claims;
pub mod conditions;
pub mod controller;
pub mod crd;
pub mod health;
pub mod metrics;
pub mod reconcile;
pub mod run;
pub mod sse;
pub mod telemetry;
