//! `mfa-operator`.
