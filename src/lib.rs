//! `mfa-operator` keeps the multi-factor-authentication servers of Prisma Access equal to `MfaServer` resources.
//!
//! # The flow
//! A watch event or a wake-up starts a *pass* over one resource. The driver ([`reconcile`]) gathers what is known into
//! [`reconcile::facts::Facts`], asks the pure function [`reconcile::step::next_step`] for one step, performs it, lets the
//! facts learn the outcome and asks again, until the answer is to wait. What is known then becomes the status.
//!
//! # The modules
//! - [`args`], [`run`], [`telemetry`]: the command line, what is built of it, logs.
//! - [`controller`]: what is watched and what starts a pass. [`reconcile`]: the pass; its rules stand in
//!   [`reconcile::step`].
//! - [`crd`]: the resource. [`conditions`]: what its status says.
//! - [`claims`], [`backoff`]: who owns a name; when a refusal is tried again. Both pure.
//! - [`sse`]: the tenant's API: calls, errors, tokens, lists, budgets.
//! - [`admin`], [`health`], [`metrics`]: what is told to who probes and scrapes.
//!
//! # The dependency rule
//! `main → run → controller → reconcile (driver, pass, perform) → {sse, crd}`. The pure files (`attempt`, `course`,
//! `desired`, `compare`, `sight`, `report`, `claims`, `backoff`, `conditions`) see each other, `facts`, `step`, `crd`,
//! `sse::types` and `sse::inventory` at most;
//! `facts` and `step` see each other and nothing else. `sse` names neither kube nor `crd`; `crd` never names `sse`.
//! Whoever does IO counts into `metrics`, which names none of them, and neither does `health`.
//! `tests/it/dependency_rule.rs` holds it. `docs/architecture.md` says why.

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
