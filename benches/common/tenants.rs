//! Tenants to write to, and the requests about them.

use serde_json::json;

use super::wire;
use crate::harness::Database;
use crate::harness::keyring::insert_tokens;

/// Inserts tenants `t0` to `t{count - 1}` as `psql` would, with whatsapp credentials.
pub async fn insert(database: &Database, count: u32) {
    let last = count - 1;
    database
        .execute(&format!(
            "INSERT INTO tenants (id, name, phone_number_id, genesys_integration_id)
             SELECT 't' || n, 'Tenant ' || n, 10000000 + n, 'i' || n
             FROM generate_series(0, {last}) n"
        ))
        .await;
    let tenants = (0..count).map(|n| format!("t{n}"));
    insert_tokens(database, tenants, "first-made-up-token").await;
}

/// A tenant's phone number.
pub fn phone(n: u32) -> String {
    (10_000_000 + n).to_string()
}

/// Everything that a write of this tenant's credentials evicts.
pub fn reads(n: u32) -> [Vec<u8>; 3] {
    [by_phone(&phone(n)), wire::get(&format!("/api/tenants/by-integration/i{n}"), &[]), masked(n)]
}

/// The lookup of a phone number.
pub fn by_phone(phone: &str) -> Vec<u8> {
    wire::get(&format!("/api/tenants/by-phone/{phone}"), &[])
}

/// The tenant's credentials; of the token, the last 4 characters show.
pub fn masked(n: u32) -> Vec<u8> {
    wire::get(&format!("/api/tenants/t{n}/credentials?type=whatsapp"), &[])
}

/// A write of the tenant's credentials with a token of its own.
pub fn put(n: u32, token: &str) -> Vec<u8> {
    let body = json!({"type": "whatsapp", "credentials": {"access_token": token}});
    wire::json("PUT", &format!("/api/tenants/t{n}/credentials"), &body)
}

/// A token that no other write has, by its last 4 characters for the next 10,000.
pub fn token(write: u32) -> String {
    format!("made-up-token-{write:08}")
}
