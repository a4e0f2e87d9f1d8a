//! Rows of tokens, as both databases return them, and the pepper.

use sqlx::FromRow;

use super::row::moment;
use super::seal::refused;
use super::{Refusal, StoreError, StoreResult};
use crate::crypto::{Keyring, OwnKey, Pepper, Sealed, Unopened};
use crate::domain::{
    Action, By, CredentialType, Entry, FieldNames, IssuedToken, Limits, Scope, TenantId, Token,
    TokenHash, TokenId, TokenRecord,
};

/// As much of a row of `tenant_tokens` as says what it is good for.
#[derive(FromRow)]
pub(super) struct TokenRow {
    id: String,
    name: String,
    scopes: String,
    tenants: Option<String>,
    types: Option<String>,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

impl TryFrom<TokenRow> for Token {
    type Error = StoreError;

    fn try_from(row: TokenRow) -> StoreResult<Self> {
        // What doesn't parse is a newer version's, or was written by hand. It grants nothing here,
        // and a limit that names it is a limit still.
        let scopes = list(&row.scopes, "tenant_tokens.scopes")?;
        let scopes = scopes.iter().filter_map(|scope| scope.parse::<Scope>().ok()).collect();
        let tenants = row.tenants.map(|text| list(&text, "tenant_tokens.tenants")).transpose()?;
        let tenants = tenants
            .map(|ids| ids.iter().filter_map(|id| id.parse().ok()).collect::<Vec<TenantId>>());
        let types = row.types.map(|text| list(&text, "tenant_tokens.types")).transpose()?;
        let types = types.map(|types| {
            types.iter().filter_map(|kind| kind.parse().ok()).collect::<Vec<CredentialType>>()
        });
        let end = |text: Option<String>, column| text.map(|text| moment(&text, column)).transpose();
        Ok(Self {
            id: row.id.parse().map_err(|_| StoreError::Corrupt("tenant_tokens.id"))?,
            name: row.name,
            scopes,
            limits: Limits::new(tenants, types),
            expires_at: end(row.expires_at, "tenant_tokens.expires_at")?,
            revoked_at: end(row.revoked_at, "tenant_tokens.revoked_at")?,
        })
    }
}

/// The entries of tokens whose tenant is gone: those that are revoked, and those that have others left.
pub(super) fn of_tenant_gone(changed: Vec<(String, bool)>, by: &By) -> StoreResult<Vec<Entry>> {
    let entry = |(id, is_revoked): (String, bool)| {
        let id: TokenId = id.parse().map_err(|_| StoreError::Corrupt("tenant_tokens.id"))?;
        let (action, fields) = if is_revoked {
            (Action::TokenRevoke, FieldNames::default())
        } else {
            (Action::TokenUpdate, FieldNames::of(["tenants"]))
        };
        Ok(Entry { fields, ..Entry::of(by.clone(), action).to_token(&id) })
    };
    changed.into_iter().map(entry).collect()
}

/// A token with its hash.
#[derive(FromRow)]
pub(super) struct IssuedRow {
    #[sqlx(flatten)]
    token: TokenRow,
    hash: Vec<u8>,
}

impl TryFrom<IssuedRow> for IssuedToken {
    type Error = StoreError;

    fn try_from(row: IssuedRow) -> StoreResult<Self> {
        let hash = row.hash.try_into().map_err(|_| StoreError::Corrupt("tenant_tokens.hash"))?;
        Ok(Self { token: row.token.try_into()?, hash: TokenHash(hash) })
    }
}

/// A whole row but for its hash.
#[derive(FromRow)]
pub(super) struct RecordRow {
    #[sqlx(flatten)]
    token: TokenRow,
    description: Option<String>,
    created_at: String,
    created_by: String,
    replaced_by: Option<String>,
    last_used_at: Option<String>,
}

impl TryFrom<RecordRow> for TokenRecord {
    type Error = StoreError;

    fn try_from(row: RecordRow) -> StoreResult<Self> {
        let replaced_by: Option<Result<TokenId, _>> = row.replaced_by.map(|id| id.parse());
        let replaced_by = replaced_by.transpose();
        let used = row.last_used_at.map(|text| moment(&text, "tenant_tokens.last_used_at"));
        Ok(Self {
            token: row.token.try_into()?,
            description: row.description,
            created_at: moment(&row.created_at, "tenant_tokens.created_at")?,
            created_by: row.created_by,
            replaced_by: replaced_by
                .map_err(|_| StoreError::Corrupt("tenant_tokens.replaced_by"))?,
            last_used_at: used.transpose()?,
        })
    }
}

fn list(text: &str, column: &'static str) -> StoreResult<Vec<String>> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt(column))
}

/// The names in a limit, as a column has them.
pub(super) fn tenants_of(limits: &Limits) -> Option<Vec<String>> {
    limits.tenants().map(|ids| ids.iter().map(ToString::to_string).collect())
}

/// See [`tenants_of`].
pub(super) fn types_of(limits: &Limits) -> Option<Vec<String>> {
    limits.types().map(|types| types.iter().map(ToString::to_string).collect())
}

/// What the pepper is sealed as.
pub(super) const PEPPER: OwnKey = OwnKey("token pepper");

/// The row of `tenant_token_pepper`.
#[derive(FromRow)]
pub(super) struct PepperRow {
    sealed: Vec<u8>,
    key_id: String,
    wrapped_key: Vec<u8>,
}

impl PepperRow {
    /// The pepper. One that does not open was not sealed by this program, or by another key.
    pub fn open(self, keyring: &Keyring) -> StoreResult<Pepper> {
        let Self { sealed, key_id, wrapped_key } = self;
        let sealed = Sealed { sealed, key_id, wrapped_key };
        let opened = keyring.open(&PEPPER, &sealed);
        let pepper = opened.and_then(|bytes| Pepper::of(&bytes).ok_or(Unopened::Malformed));
        pepper.map_err(|why| {
            let why = Refusal::Unopened(why);
            refused(&why);
            StoreError::PepperRefused(why)
        })
    }
}

/// A new pepper, sealed.
pub(super) fn new_pepper(keyring: &Keyring) -> StoreResult<Sealed> {
    Ok(keyring.seal(&PEPPER, &Pepper::random()?)?)
}
