//! What happens around the work: outages, an orderly end, verbs, and whose resource and whose tenant it is.

mod claims;
mod outage;
mod tenants;
mod verbs;
