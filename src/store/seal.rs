//! Sealed rows, as both databases have them.

use sqlx::FromRow;

use super::row::object;
use super::{Refusal, SealedCredentials, StoreError, StoreResult, StoredCredentials};
use crate::crypto::{Keyring, Sealed, Subject, Unopened, secret_text};
use crate::domain::{CredentialType, Credentials, TenantId};
use crate::telemetry::logging::chain;
use crate::telemetry::metrics::{SEALING_REFUSED, counter_of};

/// Rows that are sealed in one transaction, where a database has them in plaintext.
pub(super) const BATCH: i64 = 500;
/// After so many rows the log says how far it is.
const SAID_EVERY: usize = 10_000;

/// Has the metric there before there is a refusal: of one that only then begins at 1, no rise is
/// ever seen.
pub(super) fn announce_refusals() {
    for reason in Refusal::REASONS {
        counter_of(SEALING_REFUSED, &[("reason", reason)]).increment(0);
    }
}

/// Counts what is refused.
pub(super) fn refused(why: &Refusal) {
    counter_of(SEALING_REFUSED, &[("reason", why.reason())]).increment(1);
}

/// Seals what is to be stored.
pub(super) fn sealed(
    keyring: &Keyring,
    subject: &Subject<'_>,
    credentials: &Credentials,
) -> StoreResult<Sealed> {
    // A map of text and numbers is always serialisable.
    let text = secret_text(credentials.reveal());
    let text = text.map_err(|_| StoreError::Corrupt("not serialisable"))?;
    Ok(keyring.seal(subject, &text)?)
}

/// A row of `tenant_credentials`.
#[derive(FromRow)]
pub(super) struct CredentialsRow {
    id: String,
    version: i64,
    is_plain: bool,
    sealed: Option<Vec<u8>>,
    key_id: Option<String>,
    wrapped_key: Option<Vec<u8>>,
}

impl CredentialsRow {
    /// The credentials. A row that has any in plaintext was not written by this program, and is
    /// refused: who can write to the database could otherwise choose whom a tenant talks to.
    pub fn open(
        self,
        keyring: &Keyring,
        tenant: &TenantId,
        kind: CredentialType,
    ) -> StoreResult<StoredCredentials> {
        let Self { id, version, is_plain, sealed, key_id, wrapped_key } = self;
        let parts = sealed.zip(key_id).zip(wrapped_key).filter(|_| !is_plain);
        let sealed =
            parts.map(|((sealed, key_id), wrapped_key)| Sealed { sealed, key_id, wrapped_key });
        let opened = sealed.ok_or(Refusal::Unsealed).and_then(|sealed| {
            open(keyring, tenant, kind, SealedCredentials { id, version, sealed })
        });
        opened.unwrap_or_else(|why| {
            refused(&why);
            Err(StoreError::Refused { tenant: tenant.clone(), kind, version, why })
        })
    }
}

/// Opens what was kept elsewhere. A key that is not there is no reason to be alarmed: rows have got
/// another one since, and what is kept has not.
pub(super) fn open_kept(
    keyring: &Keyring,
    tenant: &TenantId,
    kind: CredentialType,
    kept: SealedCredentials,
) -> Option<StoredCredentials> {
    match open(keyring, tenant, kind, kept) {
        Ok(opened) => opened.ok(),
        Err(Refusal::Unopened(Unopened::UnknownKey { .. })) => None,
        Err(why) => {
            refused(&why);
            let (kind, why) = (kind.as_str(), why.reason());
            tracing::error!(
                tenant_id = tenant.as_str(),
                kind,
                why,
                "sealed credentials that were kept in Redis are refused; the database is asked"
            );
            None
        }
    }
}

fn open(
    keyring: &Keyring,
    tenant: &TenantId,
    kind: CredentialType,
    SealedCredentials { id, version, sealed }: SealedCredentials,
) -> Result<StoreResult<StoredCredentials>, Refusal> {
    let subject = Subject { credential: &id, tenant, kind, version };
    let text = keyring.open(&subject, &sealed).map_err(Refusal::Unopened)?;
    Ok(std::str::from_utf8(&text).map_err(|_| UNREADABLE).and_then(|text| {
        let credentials = Credentials::from_stored(object(text, COLUMN)?);
        Ok(StoredCredentials { id, version, credentials, sealed })
    }))
}

const COLUMN: &str = "tenant_credentials.sealed";
const UNREADABLE: StoreError = StoreError::Corrupt(COLUMN);

/// A row that was stored before credentials were sealed.
#[derive(FromRow)]
pub(super) struct PlainRow {
    pub tenant_id: String,
    pub credential_type: String,
    pub version: i64,
    pub id: String,
    pub credentials: String,
}

impl PlainRow {
    /// The same, sealed; and opened again, for the plaintext is about to be gone.
    pub fn sealed(&self, keyring: &Keyring) -> StoreResult<Sealed> {
        let tenant = self.tenant_id.parse();
        let tenant = tenant.map_err(|_| StoreError::Corrupt("tenant_credentials.tenant_id"))?;
        let kind = self.credential_type.parse();
        let kind = kind.map_err(|_| StoreError::Corrupt("tenant_credentials.credential_type"))?;
        let (credential, version) = (self.id.as_str(), self.version);
        let subject = Subject { credential, tenant: &tenant, kind, version };
        let sealed = keyring.seal(&subject, self.credentials.as_bytes())?;
        match keyring.open(&subject, &sealed) {
            Ok(opened) if *opened == self.credentials.as_bytes() => Ok(sealed),
            Ok(_) | Err(_) => Err(StoreError::Corrupt("what was just sealed does not open")),
        }
    }
}

impl Drop for PlainRow {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.credentials);
    }
}

/// How far the sealing of plaintext has come, for the log.
#[derive(Default)]
pub(super) struct Progress {
    rows: usize,
}

impl Progress {
    /// A batch is done.
    pub fn add(&mut self, rows: usize) {
        let said = self.rows / SAID_EVERY;
        self.rows += rows;
        if self.rows / SAID_EVERY > said {
            tracing::info!(rows = self.rows, "sealing the credentials that were in plaintext");
        }
    }

    /// The old rows could not be removed from the disk.
    pub fn lingers(&self, error: &StoreError, statement: &str) {
        let (rows, error) = (self.rows, chain(error));
        tracing::warn!(
            rows,
            error,
            "credentials are sealed, but the disk may keep what they were in plaintext; run {statement}"
        );
    }

    /// All of it is done.
    pub fn done(self) {
        if self.rows > 0 {
            tracing::info!(
                rows = self.rows,
                "credentials that were in plaintext are sealed; whoever has a backup has them still"
            );
        }
    }
}
