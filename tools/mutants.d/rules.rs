//! Takes the place of `src/lib.rs` where mutants are tried: the pure files that need no other crate, or hardly any.
#![allow(dead_code, unused_imports, missing_docs)]

pub mod backoff;
pub mod claims;

pub mod controller {
    pub mod lease {
        pub mod candidate;
    }
}

pub mod reconcile {
    pub mod facts;
    #[cfg(test)]
    pub(crate) mod golden;
    pub mod step;
}

pub mod sse {
    pub mod budget {
        pub mod pace;
    }
    pub mod inventory;
}
