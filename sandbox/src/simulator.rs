//! A simulator of the SSE configuration API.
