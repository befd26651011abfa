//! Takes the place of `src/lib.rs` where mutants are tried: the pure files that know the resource.
#![allow(dead_code, unused_imports, missing_docs)]

pub mod claims;
pub mod conditions;
pub mod crd;

pub mod controller {
    pub mod merge;
}

pub mod reconcile {
    pub mod attempt;
    pub mod compare;
    pub mod course;
    pub mod desired;
    pub mod facts;
    #[cfg(test)]
    pub(crate) mod golden;
    pub mod report;
    pub mod sight;
    pub mod step;
}

pub mod sse {
    pub mod error;
    pub mod inventory;
    pub mod kept;
    pub mod types;

    pub use error::{Acted, Class, Failure, Method, Reason};
}
