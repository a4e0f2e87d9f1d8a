//! Access tokens.

use utoipa::ToSchema;

use super::CredentialType;

/// One thing that a caller may do.
#[derive(ToSchema)]
pub enum Scope {
    /// Resolve a phone number or an integration to its tenant.
    #[schema(rename = "lookup:read")]
    LookupRead,
    /// See tenants.
    #[schema(rename = "tenants:read")]
    TenantsRead,
    /// Create, change and delete tenants.
    #[schema(rename = "tenants:write")]
    TenantsWrite,
    /// See credentials with their secrets masked.
    #[schema(rename = "credentials:read")]
    CredentialsRead,
    /// See credentials with their secrets.
    #[schema(rename = "credentials:reveal")]
    CredentialsReveal,
    /// Set credentials.
    #[schema(rename = "credentials:write")]
    CredentialsWrite,
    /// Remove credentials and their history for good.
    #[schema(rename = "credentials:destroy")]
    CredentialsDestroy,
    /// Follow the feed of changes.
    #[schema(rename = "events:read")]
    EventsRead,
    /// See who did what.
    #[schema(rename = "audit:read")]
    AuditRead,
    /// Make and revoke tokens.
    #[schema(rename = "tokens:admin")]
    TokensAdmin,
}

/// Whether a token is good.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum TokenStatus {
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
}

/// A token to be made. Null is as good as absent.
#[derive(ToSchema)]
#[schema(example = json!({
    "name": "whatsapp-webhook-service",
    "scopes": ["lookup:read", "credentials:reveal"],
    "types": ["whatsapp"],
    "expires_at": "2099-01-02T03:04:05Z"
}))]
pub struct NewToken {
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// What it is for.
    #[schema(max_length = 128)]
    pub description: Option<String>,
    /// What its bearer may do: at least one, each once, and none that the caller doesn't have.
    #[schema(min_items = 1)]
    pub scopes: Vec<Scope>,
    /// The tenants that are there for its bearer, by their ids: 1 to 1,000, each once. Absent: all.
    #[schema(min_items = 1, max_items = 1000)]
    pub tenants: Option<Vec<String>>,
    /// The types of credentials that are there for its bearer, each once. Absent: both.
    #[schema(min_items = 1, max_items = 2)]
    pub types: Option<Vec<CredentialType>>,
    /// Until when it is good, in the future. Absent: until it is revoked.
    #[schema(format = "date-time")]
    pub expires_at: Option<String>,
}

/// A token, but for its secret.
#[derive(ToSchema)]
#[schema(example = json!({
    "id": "3jhh9x072amr2vg5",
    "name": "whatsapp-webhook-service",
    "description": null,
    "status": "active",
    "scopes": ["lookup:read", "credentials:reveal"],
    "tenants": null,
    "types": ["whatsapp"],
    "created_at": "2026-01-02T03:04:05.000006Z",
    "created_by": "cli",
    "expires_at": "2099-01-02T03:04:05Z",
    "revoked_at": null,
    "replaced_by": null,
    "last_used_at": "2026-01-02T03:04:05.000006Z"
}))]
pub struct Token {
    /// Its public id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is for.
    #[schema(required = true)]
    pub description: Option<String>,
    /// Whether it is good.
    pub status: TokenStatus,
    /// What its bearer may do.
    pub scopes: Vec<Scope>,
    /// The tenants that it is limited to.
    #[schema(required = true)]
    pub tenants: Option<Vec<String>>,
    /// The types of credentials that it is limited to.
    #[schema(required = true)]
    pub types: Option<Vec<CredentialType>>,
    /// When it was made.
    #[schema(format = "date-time")]
    pub created_at: String,
    /// By whom: `token:` and an id, `anonymous`, or `cli`.
    pub created_by: String,
    /// Until when it is good.
    #[schema(required = true, format = "date-time")]
    pub expires_at: Option<String>,
    /// When it was taken back.
    #[schema(required = true, format = "date-time")]
    pub revoked_at: Option<String>,
    /// The token that was made to take its place.
    #[schema(required = true)]
    pub replaced_by: Option<String>,
    /// When it was last used, to about a minute.
    #[schema(required = true, format = "date-time")]
    pub last_used_at: Option<String>,
}

/// A token that was made, with its secret.
#[derive(ToSchema)]
pub struct MintedToken {
    /// What is to be sent as `Authorization: Bearer …`. Nothing shows it again.
    pub token: String,
    /// What is known of it.
    #[schema(inline)]
    #[serde(flatten)]
    pub known: Token,
}

/// One page of tokens, by age.
#[derive(ToSchema)]
pub struct Tokens {
    /// The page.
    pub tokens: Vec<Token>,
    /// How many there are on all pages.
    pub total: u64,
    /// The `limit` that was applied.
    pub limit: u32,
    /// The `offset` that was applied.
    pub offset: u64,
}

/// How to replace a token.
#[derive(ToSchema)]
#[schema(example = json!({"overlap_seconds": 3600}))]
pub struct RotateToken {
    /// For how long the old one is good yet; 0 revokes it at once.
    #[schema(maximum = 2_592_000)]
    pub overlap_seconds: u64,
}
