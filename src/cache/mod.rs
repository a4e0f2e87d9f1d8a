//! Two tiers of cache: memory (L1) and Redis (L2).
//!
//! [`Tiered`] is what the rest of the service uses. It is handed a loader, so it knows of no
//! database; it is handed keys to evict, so it knows of no bus.
//!
//! Architecture Invariant: nothing cached is served as current but under a deadline ([`Serving`])
//! that was loaded before it was read.
//!
//! Architecture Invariant: what a load has read enters a tier only if no eviction of its key came
//! in between (L1: epochs, see [`crate::coherence::Stripe`]; L2: leases, see [`l2`]).

mod bypass;
pub mod clock;
mod key;
mod l1;
pub mod l2;
mod sample;
mod serving;
mod stats;
mod tiered;
mod value;

pub use key::{ByIntegration, ByPhone, ByTenant, CredentialsOf, TokenOf, TypedKey};
pub use l1::{Cached, L1};
pub use sample::Sample;
pub use serving::Serving;
pub use stats::EvictedBy;
pub use tiered::{Found, LoadError, Loaded, Standing, Tiered, Ttl, Via};
pub use value::{CredentialViews, Document, LookupBody, TenantBody, TokenEntry};
