//! The `MfaServer` resource.
