//! Rows whose data key is wrapped by a key of the keyring, whichever table they are in.
//!
//! What such a table needs: the columns `key_id` and `wrapped_key`; a unique place, which is up to two
//! texts and a number; and a way to say what its data keys are bound to. Each database lists its
//! tables in its own `wrap`; a new one is a line there.

use sqlx::FromRow;

use super::audit::CHAIN_KEY;
use super::token::PEPPER;
use super::{Refusal, StoreError, StoreResult, WrapPlace, WrapStep};
use crate::crypto::{Keyring, OwnKey, Rewrap, Subject};

/// Rows of a table that are looked at for a batch at most. Those that have the new key already are passed
/// over, which in a table of millions would otherwise take longer than a statement may.
pub(super) const WINDOW: i64 = 5_000;

/// Where a row is.
pub(super) type Place = (String, String, i64);

/// A row, by its place.
#[derive(FromRow)]
pub(super) struct WrappedRow {
    /// Of a credential: its tenant.
    pub first: String,
    /// Of a credential: its type.
    pub second: String,
    /// Of a credential: its version.
    pub number: i64,
    pub id: String,
    pub key_id: String,
    pub wrapped_key: Vec<u8>,
}

impl WrappedRow {
    pub fn place(&self) -> Place {
        (self.first.clone(), self.second.clone(), self.number)
    }
}

impl WrapPlace {
    /// Behind the rows of a page that was to have so many, of those that are looked at up to `end`.
    pub(super) fn behind(table: usize, page: &[WrappedRow], end: Place, limit: u32) -> Self {
        match page.last().filter(|_| page.len() >= limit as usize) {
            // Behind a page that is full there may be more before the end.
            Some(last) => Self { table, row: last.place(), end: Some(end) },
            None => Self { table, row: end, end: None },
        }
    }
}

impl WrapStep {
    /// A step that found nothing in this table, of so many, any more.
    pub(super) fn end_of(table: usize, tables: usize) -> Self {
        let next = WrapPlace { table: table + 1, ..WrapPlace::default() };
        let next = (next.table < tables).then_some(next);
        Self { rewrapped: 0, refused: Vec::new(), next }
    }
}

/// Wraps the data key of a row anew; returns the primary key's id and what it has wrapped.
pub(super) type RewrapRow = fn(&WrappedRow, &Keyring) -> StoreResult<(String, Vec<u8>)>;

/// That of a credential, current or superseded.
pub(super) fn credential(row: &WrappedRow, keyring: &Keyring) -> StoreResult<(String, Vec<u8>)> {
    let tenant = row.first.parse();
    let tenant = tenant.map_err(|_| StoreError::Corrupt("tenant_credentials.tenant_id"))?;
    let kind = row.second.parse();
    let kind = kind.map_err(|_| StoreError::Corrupt("tenant_credentials.credential_type"))?;
    let version = row.number;
    let subject = Subject { credential: &row.id, tenant: &tenant, kind, version };
    keyring.rewrap(&subject, &row.key_id, &row.wrapped_key).map_err(|error| match error {
        Rewrap::NotSealed(error) => error.into(),
        Rewrap::Unopened(why) => {
            let why = Refusal::Unopened(why);
            StoreError::Refused { tenant, kind, version, why }
        }
    })
}

/// That of the pepper of tokens.
pub(super) fn pepper(row: &WrappedRow, keyring: &Keyring) -> StoreResult<(String, Vec<u8>)> {
    own_key(&PEPPER, row, keyring, StoreError::PepperRefused)
}

/// That of the key by which the audit trail is chained.
pub(super) fn chain_key(row: &WrappedRow, keyring: &Keyring) -> StoreResult<(String, Vec<u8>)> {
    own_key(&CHAIN_KEY, row, keyring, StoreError::ChainKeyRefused)
}

fn own_key(
    key: &OwnKey,
    row: &WrappedRow,
    keyring: &Keyring,
    refused: fn(Refusal) -> StoreError,
) -> StoreResult<(String, Vec<u8>)> {
    keyring.rewrap(key, &row.key_id, &row.wrapped_key).map_err(|error| match error {
        Rewrap::NotSealed(error) => error.into(),
        Rewrap::Unopened(why) => refused(Refusal::Unopened(why)),
    })
}

/// What becomes of the rows of one batch.
#[derive(Default)]
pub(super) struct Batch {
    pub rows: Vec<(WrappedRow, String, Vec<u8>)>,
    pub refused: Vec<StoreError>,
}

impl Batch {
    /// Wraps each anew. A row that can't be leaves the others as they are to be.
    pub fn of(rows: Vec<WrappedRow>, keyring: &Keyring, rewrap: RewrapRow) -> Self {
        let mut batch = Self::default();
        for row in rows {
            match rewrap(&row, keyring) {
                Ok((key_id, wrapped_key)) => batch.rows.push((row, key_id, wrapped_key)),
                Err(error) => batch.refused.push(error),
            }
        }
        batch
    }
}
