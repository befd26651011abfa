//! From a resource to one step after another.

pub mod compare;
pub mod desired;
pub mod facts;
#[cfg(test)]
mod golden;
pub mod report;
pub mod step;
