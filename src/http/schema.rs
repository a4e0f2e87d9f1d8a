//! The documents of the API as JSON schemas, with made-up examples.
//!
//! Never constructed: answers out of a cache are bytes, and bodies are read by hand. A test
//! compares each schema with what is really sent.

mod tokens;

use utoipa::ToSchema;

pub use self::tokens::{MintedToken, NewToken, RotateToken, Scope, Token, TokenStatus, Tokens};

/// Why a request was not served: RFC 9457, with three members of our own.
#[derive(ToSchema)]
#[schema(example = json!({
    "type": "about:blank",
    "title": "Not Found",
    "status": 404,
    "detail": "Tenant not found",
    "error": "Tenant not found",
    "code": "tenant_not_found",
    "request_id": "4f1c9a7e2b5d8036"
}))]
pub struct Problem {
    /// Always `about:blank`: `code` says what it is.
    pub r#type: String,
    /// The name of the status.
    pub title: String,
    /// The status.
    pub status: u16,
    /// A sentence for people.
    pub detail: String,
    /// The same sentence, where older clients look for it.
    pub error: String,
    /// What it is, stable and machine-readable.
    pub code: String,
    /// The `X-Request-Id` of the answer.
    pub request_id: String,
}

/// Whose phone number or integration it is.
#[derive(ToSchema)]
#[schema(example = json!({
    "id": "demo-tenant-001",
    "tenantId": "demo-tenant-001",
    "name": "Demo Organization",
    "phone_number_id": "123456789",
    "genesys_integration_id": "demo-integration-001",
    "status": "active"
}))]
pub struct Lookup {
    /// The tenant's id.
    pub id: String,
    /// The same again, under the name that the webhook services read.
    #[schema(rename = "tenantId")]
    pub tenant_id: String,
    /// Its name.
    pub name: String,
    /// Its WhatsApp phone number, by Meta's id.
    #[schema(required = true)]
    pub phone_number_id: Option<String>,
    /// Its Genesys integration.
    #[schema(required = true)]
    pub genesys_integration_id: Option<String>,
    /// Always `active`: no other tenant resolves.
    pub status: Status,
}

/// Whether a tenant takes part. One that is suspended does not resolve, and its credentials
/// answer as absent.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Status {
    /// Resolves.
    Active,
    /// Looks absent.
    Suspended,
}

/// A tenant.
#[derive(ToSchema)]
#[schema(example = json!({
    "id": "demo-tenant-001",
    "name": "Demo Organization",
    "email": "ops@demo.example",
    "status": "active",
    "phone_number_id": "123456789",
    "display_phone_number": "+1 555 0100",
    "genesys_integration_id": "demo-integration-001",
    "genesys_org_id": null,
    "genesys_region": "mypurecloud.de",
    "settings": {"locale": "en"},
    "created_at": "2026-01-02T03:04:05.000006Z",
    "updated_at": "2026-01-02T03:04:05.000006Z"
}))]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// A contact address.
    #[schema(required = true)]
    pub email: Option<String>,
    /// Whether it takes part.
    pub status: Status,
    /// Its WhatsApp phone number, by Meta's id; no other tenant has it.
    #[schema(required = true)]
    pub phone_number_id: Option<String>,
    /// The phone number as people write it.
    #[schema(required = true)]
    pub display_phone_number: Option<String>,
    /// Its Genesys integration; no other tenant has it.
    #[schema(required = true)]
    pub genesys_integration_id: Option<String>,
    /// Its Genesys organisation.
    #[schema(required = true)]
    pub genesys_org_id: Option<String>,
    /// The domain of its Genesys region.
    #[schema(required = true)]
    pub genesys_region: Option<String>,
    /// Whatever its owner keeps here.
    #[schema(value_type = Object)]
    pub settings: (),
    /// When it was created.
    #[schema(format = "date-time")]
    pub created_at: String,
    /// When its data last changed.
    #[schema(format = "date-time")]
    pub updated_at: String,
}

/// One page of tenants, by age.
#[derive(ToSchema)]
pub struct Tenants {
    /// The page.
    pub tenants: Vec<Tenant>,
    /// How many there are on all pages. A page has fewer than its `limit` and this allow if a
    /// tenant can't be read, which only a write to the database by hand can bring about.
    pub total: u64,
    /// The `limit` that was applied.
    pub limit: u32,
    /// The `offset` that was applied.
    pub offset: u64,
}

/// A tenant to be created. Only `name` is required; null is as good as absent.
#[derive(ToSchema)]
#[schema(example = json!({
    "id": "demo-tenant-001",
    "name": "Demo Organization",
    "phone_number_id": "123456789",
    "genesys_integration_id": "demo-integration-001",
    "genesys_region": "euc1"
}))]
pub struct NewTenant {
    /// Its id; without one, `t_` and 16 hexadecimal digits are drawn.
    pub id: Option<String>,
    /// Its name.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// A contact address.
    #[schema(max_length = 254)]
    pub email: Option<String>,
    /// `active` unless said otherwise.
    pub status: Option<Status>,
    /// Its WhatsApp phone number, by Meta's id.
    pub phone_number_id: Option<String>,
    /// The phone number as people write it.
    #[schema(max_length = 128)]
    pub display_phone_number: Option<String>,
    /// Its Genesys integration.
    #[schema(max_length = 128)]
    pub genesys_integration_id: Option<String>,
    /// Its Genesys organisation.
    #[schema(max_length = 128)]
    pub genesys_org_id: Option<String>,
    /// Its Genesys region: a domain (`mypurecloud.de`), an AWS region (`eu-central-1`) or its
    /// short name (`euc1`). Stored as the domain.
    pub genesys_region: Option<String>,
    /// Whatever its owner keeps here: at most 64 KiB of JSON, nested at most 31 deep.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<()>,
}

/// A merge patch (RFC 7396): absent keeps, null clears. `name` and `status` can't be cleared.
#[derive(ToSchema)]
#[schema(example = json!({"status": "suspended", "display_phone_number": null}))]
pub struct TenantPatch {
    /// Its name.
    #[schema(min_length = 1, max_length = 200, nullable = false)]
    pub name: Option<String>,
    /// A contact address.
    #[schema(max_length = 254)]
    pub email: Option<String>,
    /// Whether it takes part.
    #[schema(value_type = Status, required = false)]
    pub status: Option<Status>,
    /// Its WhatsApp phone number, by Meta's id.
    pub phone_number_id: Option<String>,
    /// The phone number as people write it.
    #[schema(max_length = 128)]
    pub display_phone_number: Option<String>,
    /// Its Genesys integration.
    #[schema(max_length = 128)]
    pub genesys_integration_id: Option<String>,
    /// Its Genesys organisation.
    #[schema(max_length = 128)]
    pub genesys_org_id: Option<String>,
    /// Its Genesys region, in any of its names.
    pub genesys_region: Option<String>,
    /// A merge patch of the settings; null empties them. What comes of it is at most 64 KiB of JSON.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<()>,
}

/// A type of credentials.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum CredentialType {
    /// Access to the WhatsApp Business platform of Meta.
    Whatsapp,
    /// An OAuth client of Genesys Cloud.
    Genesys,
}

/// Credentials to be set. They replace those of the same type as a whole.
#[derive(ToSchema)]
#[schema(example = json!({
    "type": "whatsapp",
    "credentials": {"access_token": "EXAMPLE-not-a-real-token-4567", "phone_number_id": "123456789"},
    "expires_at": "2099-01-02T03:04:05Z"
}))]
pub struct SetCredentials {
    /// Their type.
    pub r#type: CredentialType,
    /// Any object with at least one field. A value that looks like a mask is refused; so is a
    /// number that a 64-bit integer or a double can't hold to the last digit: send it as text. Of
    /// genesys credentials, `region` is stored as the domain, whichever of its names is given.
    #[schema(value_type = Object)]
    pub credentials: (),
    /// Until when they are good, in the future; absent or null: no end. Kept to the millisecond, and shown
    /// in the list of versions. A `credentials.expiring` tells of it 30, 7 and 1 days ahead; they are served
    /// all the same, also afterwards.
    #[schema(format = "date-time")]
    pub expires_at: Option<String>,
}

/// Credentials were set.
#[derive(ToSchema)]
#[schema(example = json!({"message": "Credentials updated successfully", "version": 2}))]
pub struct CredentialsSet {
    /// A sentence for people.
    pub message: String,
    /// The credential's own counter.
    pub version: i64,
}

/// Credentials were stored.
#[derive(ToSchema)]
#[schema(example = json!({
    "success": true,
    "credentialId": "0b9f6f2e-3c1d-4a58-9e77-1f2a3b4c5d6e",
    "version": 1
}))]
#[schema(rename_all = "camelCase")]
pub struct CredentialsStored {
    /// Always true.
    pub success: bool,
    /// The credential, the same through all its versions.
    pub credential_id: String,
    /// The credential's own counter.
    pub version: i64,
}

/// Which version to roll back to.
#[derive(ToSchema)]
#[schema(example = json!({"version": 1}))]
pub struct RollBack {
    /// A version of the credential that is there now.
    #[schema(minimum = 1)]
    pub version: i64,
}

/// Versions were destroyed.
#[derive(ToSchema)]
#[schema(example = json!({"destroyed": 3}))]
pub struct Destroyed {
    /// How many; those that were before are not counted.
    pub destroyed: u64,
}

/// One page of versions, newest first.
#[derive(ToSchema)]
pub struct Versions {
    /// The page.
    pub versions: Vec<Version>,
    /// The `before` of the next page; null where there is none.
    #[schema(required = true)]
    pub next: Option<i64>,
}

/// A version of credentials, without what it holds.
#[derive(ToSchema)]
#[schema(example = json!({
    "version": 2,
    "generation": "0b9f6f2e-3c1d-4a58-9e77-1f2a3b4c5d6e",
    "etag": "\"0b9f6f2e-3c1d-4a58-9e77-1f2a3b4c5d6e.2\"",
    "state": "current",
    "valid_from": "2026-01-02T03:04:05.000006Z",
    "expires_at": "2099-01-02T03:04:05Z",
    "superseded_at": null,
    "deleted_at": null,
    "destroyed_at": null
}))]
pub struct Version {
    /// Its number, never given twice.
    pub version: i64,
    /// The credential that it is a version of: one that was deleted and made anew is another.
    pub generation: String,
    /// The `ETag` that it has, or had while it was there.
    pub etag: String,
    /// What became of it.
    pub state: VersionState,
    /// From when on it was what the credential is.
    #[schema(format = "date-time")]
    pub valid_from: String,
    /// Until when it was said to be good.
    #[schema(required = true, format = "date-time")]
    pub expires_at: Option<String>,
    /// When another version replaced it, or the credential was deleted.
    #[schema(required = true, format = "date-time")]
    pub superseded_at: Option<String>,
    /// When the credential was deleted, unless it was brought back.
    #[schema(required = true, format = "date-time")]
    pub deleted_at: Option<String>,
    /// When its bytes were removed.
    #[schema(required = true, format = "date-time")]
    pub destroyed_at: Option<String>,
}

/// What became of a version.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum VersionState {
    /// It is what the credential is.
    Current,
    /// Another one replaced it; it can be rolled back to.
    Superseded,
    /// The credential was deleted; it can be brought back.
    Deleted,
    /// Nothing is left of it but that it was.
    Destroyed,
}

/// A credential object, as it was set.
#[derive(ToSchema)]
#[schema(value_type = Object)]
pub struct Credentials(pub ());

/// A credential object whose secrets are masked: `***`, and the last 4 characters of those that
/// have 16 or more. What is not known to be public is a secret.
#[derive(ToSchema)]
#[schema(value_type = Object)]
pub struct MaskedCredentials(pub ());

/// WhatsApp credentials under the names that Meta's clients use.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "accessToken": "EXAMPLE-not-a-real-token-4567",
    "appSecret": "EXAMPLE-not-a-real-secret",
    "phoneNumberId": "123456789",
    "wabaId": "100200300"
}))]
pub struct Meta {
    /// `access_token`
    #[schema(required = true)]
    pub access_token: Option<String>,
    /// `app_secret`
    #[schema(required = true)]
    pub app_secret: Option<String>,
    /// `phone_number_id`
    #[schema(required = true)]
    pub phone_number_id: Option<String>,
    /// `waba_id`, or `business_account_id`
    #[schema(required = true)]
    pub waba_id: Option<String>,
}

/// Genesys credentials to be set, together with the tenant's integration and region.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "clientId": "made-up-client",
    "clientSecret": "EXAMPLE-not-a-real-secret",
    "region": "euc1",
    "integrationId": "demo-integration-001",
    "webhookSecret": "EXAMPLE-not-a-real-webhook-secret",
    "expires_at": "2099-01-02T03:04:05Z"
}))]
pub struct SetGenesys {
    /// The OAuth client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// The region: a domain, an AWS region or its short name. Stored as the domain.
    pub region: String,
    /// The integration that is the tenant's from now on.
    pub integration_id: String,
    /// What webhooks are signed with.
    pub webhook_secret: Option<String>,
    /// Until when they are good: as of any other credentials.
    #[schema(rename = "expires_at", format = "date-time")]
    pub expires_at: Option<String>,
}

/// Genesys credentials were set.
#[derive(ToSchema)]
#[schema(example = json!({
    "message": "Genesys credentials updated successfully",
    "tenant": {
        "id": "demo-tenant-001",
        "name": "Demo Organization",
        "genesysRegion": "mypurecloud.de"
    }
}))]
pub struct GenesysSet {
    /// A sentence for people.
    pub message: String,
    /// The tenant as it is now.
    pub tenant: GenesysTenant,
}

/// The tenant whose Genesys credentials were set.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct GenesysTenant {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The domain of its region.
    #[schema(required = true)]
    pub genesys_region: Option<String>,
}

/// A summary of Genesys credentials, masked.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "configured": true,
    "clientId": "made-up-client",
    "clientSecret": "***cret",
    "region": "mypurecloud.de",
    "integrationId": "demo-integration-001"
}))]
pub struct Genesys {
    /// Always true; where there are none, the answer is 404.
    pub configured: bool,
    /// The OAuth client.
    #[schema(required = true)]
    pub client_id: Option<String>,
    /// Its secret, masked.
    #[schema(required = true)]
    pub client_secret: Option<String>,
    /// The domain of the region.
    #[schema(required = true)]
    pub region: Option<String>,
    /// The integration.
    #[schema(required = true)]
    pub integration_id: Option<String>,
}

/// How the service and what it depends on are.
#[derive(ToSchema)]
#[schema(example = json!({
    "status": "ok",
    "database": "connected",
    "redis": "connected",
    "timestamp": "2026-01-02T03:04:05.000006Z"
}))]
pub struct Health {
    /// `ok`; `degraded` without Redis, which costs latency; `unavailable` without the database.
    pub status: HealthStatus,
    /// `connected` or `disconnected`.
    pub database: String,
    /// `connected`, `disconnected` or `disabled`.
    pub redis: String,
    /// When this was found.
    #[schema(format = "date-time")]
    pub timestamp: String,
}

/// The sum of it.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Everything is connected.
    Ok,
    /// Redis is configured and out of reach.
    Degraded,
    /// The database is out of reach.
    Unavailable,
}

/// Whether this replica may take traffic.
#[derive(ToSchema)]
#[schema(example = json!({"status": "ready"}))]
pub struct Ready {
    /// `alive` of `/livez`. Of `/readyz`: `ready`; `fenced`, if every read goes to the database;
    /// `stale`, if that is away and look-ups come out of memory, labelled; `stopping`; `unavailable`,
    /// if there is nothing to answer from.
    pub status: String,
    /// Why it is not `ready`.
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

/// A page of the audit trail.
#[derive(ToSchema)]
#[schema(example = json!({
    "entries": [{
        "number": 812,
        "occurred_at": "2026-01-02T03:04:05.000006Z",
        "actor": {"kind": "anonymous", "id": null},
        "action": "credentials.reveal",
        "tenant_id": "demo-tenant-001",
        "type": "whatsapp",
        "version": 2,
        "token_id": null,
        "fields": ["accessToken", "appSecret", "phoneNumberId", "wabaId"],
        "outcome": "ok",
        "times": 1,
        "address": "10.0.0.7",
        "request_id": "4f1c9a7e2b5d8036"
    }],
    "next": "812",
    "more": true
}))]
pub struct Audit {
    /// The entries, in the order that was asked for.
    pub entries: Vec<AuditEntry>,
    /// Where to go on, with the same `order`. Null where nothing was looked at: with `order=oldest`, ask
    /// again from where this page began.
    #[schema(required = true)]
    pub next: Option<String>,
    /// Whether there is more behind it already.
    pub more: bool,
}

/// An entry of the audit trail.
#[derive(ToSchema)]
pub struct AuditEntry {
    /// Its place in the chain, from 1 on.
    pub number: i64,
    /// When it was written, by the database's clock.
    #[schema(format = "date-time")]
    pub occurred_at: String,
    /// Who.
    pub actor: AuditActor,
    /// What: `tenant.create`, `tenant.update`, `tenant.delete`, `credentials.set`, `credentials.roll_back`,
    /// `credentials.delete`, `credentials.undelete`, `credentials.destroy`, `credentials.reveal`, `token.create`,
    /// `token.update` (a tenant that it was limited to is deleted), `token.revoke`, `token.rotate`; or,
    /// denied before it was known what, one by its scope, such as `tenant.write`.
    pub action: String,
    /// To which tenant.
    #[schema(required = true)]
    pub tenant_id: Option<String>,
    /// To credentials of which type.
    #[schema(required = true)]
    pub r#type: Option<String>,
    /// To which version of them, or which version it made.
    #[schema(required = true)]
    pub version: Option<i64>,
    /// To which token.
    #[schema(required = true)]
    pub token_id: Option<String>,
    /// The fields that were set, changed or shown, by name; `…` for what is no plain name.
    pub fields: Vec<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// How often: more than once where what is alike was counted together.
    pub times: i64,
    /// From where.
    #[schema(required = true)]
    pub address: Option<String>,
    /// The `X-Request-Id` of its answer; of the first one, where there are several.
    #[schema(required = true)]
    pub request_id: Option<String>,
}

/// Who acts.
#[derive(ToSchema)]
pub struct AuditActor {
    /// `anonymous` (a caller without a token), `token`, `command`, `system`, or `several`.
    pub kind: String,
    /// Which one of its kind.
    #[schema(required = true)]
    pub id: Option<String>,
}

/// What came of it.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Ok,
    /// The caller may not do it.
    Denied,
    /// There is nothing that it could be done to.
    NotFound,
    /// It would be at odds with another tenant, or may not be stored.
    Refused,
    /// It was begun and failed: whether it was done is not known.
    Failed,
}

/// From which end entries are read.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Order {
    /// The latest one first.
    Newest,
    /// In the order of the chain.
    Oldest,
}
