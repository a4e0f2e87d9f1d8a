//! What the service does, without a transport: look-ups from cache, writes that every replica
//! learns of.

use std::sync::Arc;

use crate::cache::{CredentialViews, Document};
use crate::domain::{
    CredentialType, Credentials, IntegrationId, NewTenant, PhoneNumberId, Tenant, TenantId,
    TenantPatch,
};
use crate::store::{CredentialsSet, GenesysLink, Page, StoreError};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The database is out of reach: try again.
    #[error("the database is out of reach")]
    Unavailable(#[source] StoreError),
    /// Another tenant has this value already.
    #[error("another tenant has this {0}")]
    Conflict(&'static str),
    /// A defect of ours, or of what is stored.
    #[error("internal error")]
    Internal(#[source] StoreError),
}

/// Where an answer comes from: `Cache-Status` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Memory.
    L1,
    /// Redis.
    L2,
    /// The database.
    Store,
}

/// What was found, or `None` for what is absent (also out of cache).
#[derive(Debug)]
pub struct Resolved<T> {
    /// The answer.
    pub value: Option<T>,
    /// Its source.
    pub via: Via,
}

/// How the service and what it depends on are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Whether the database answers.
    pub database: bool,
    /// Whether Redis is connected; `None` if none is configured.
    pub redis: Option<bool>,
}

/// The service.
#[derive(Clone)]
pub struct Service {}

impl Service {
    /// The active tenant that has this phone number.
    pub async fn by_phone(&self, phone: PhoneNumberId) -> Result<Resolved<Document>, ServiceError> {
        unimplemented!()
    }
    pub async fn by_integration(&self, id: IntegrationId) -> Result<Resolved<Document>, ServiceError> {
        unimplemented!()
    }
    pub async fn tenant(&self, id: TenantId) -> Result<Resolved<Document>, ServiceError> {
        unimplemented!()
    }
    pub async fn credentials(&self, id: TenantId, kind: CredentialType) -> Result<Resolved<Arc<CredentialViews>>, ServiceError> {
        unimplemented!()
    }
    pub async fn tenants(&self, page: Page) -> Result<(Vec<Tenant>, u64), ServiceError> {
        unimplemented!()
    }
    /// The id is drawn by the service where the caller gave none.
    pub async fn create_tenant(&self, tenant: NewTenant) -> Result<Tenant, ServiceError> {
        unimplemented!()
    }
    pub async fn patch_tenant(&self, id: TenantId, patch: TenantPatch) -> Result<Option<Tenant>, ServiceError> {
        unimplemented!()
    }
    pub async fn delete_tenant(&self, id: TenantId) -> Result<bool, ServiceError> {
        unimplemented!()
    }
    pub async fn set_credentials(&self, id: TenantId, kind: CredentialType, credentials: Credentials, link: Option<GenesysLink>) -> Result<Option<CredentialsSet>, ServiceError> {
        unimplemented!()
    }
    /// Asks the database now; Redis by its connection.
    pub async fn health(&self) -> Health {
        unimplemented!()
    }
    /// Whether this replica may take traffic: the log has been read within the bound.
    pub fn ready(&self) -> Result<(), &'static str> {
        unimplemented!()
    }
}
