//! The definition of `MfaServer`: its rules by themselves, and what a real API server makes of them.

mod cases;
mod rules;
mod server;
