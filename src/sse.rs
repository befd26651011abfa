//! The SSE configuration API: a client that does one request a call, its errors told apart, tokens, and the budget of
//! calls towards a tenant. Knows nothing of Kubernetes; a credential is an opaque [`CredentialKey`].

pub mod inventory;
pub mod types;
