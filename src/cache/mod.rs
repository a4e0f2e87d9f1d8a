//! Two tiers of cache: memory (L1) and Redis (L2).

mod value;

pub use value::{CredentialViews, Document, LookupBody, TenantBody};
