//! A row of the trail, as it is stored: what is hashed is what stands there, known to this version
//! or not.

use sqlx::FromRow;

/// A row of `tenant_audit`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AuditRecord {
    /// Its place in the chain, from 1 on; `None` until it is chained.
    pub number: Option<i64>,
    /// The number that it was written under, which says nothing of when it was committed.
    pub seq: i64,
    /// When it was written, by the database's clock, in RFC 3339.
    pub occurred_at: String,
    /// Who: the kind of actor.
    pub actor_kind: String,
    /// Who: which one of its kind.
    pub actor_id: Option<String>,
    /// What.
    pub action: String,
    /// To which tenant.
    pub tenant_id: Option<String>,
    /// To credentials of which type.
    pub credential_type: Option<String>,
    /// To which version of them.
    pub version: Option<i64>,
    /// To which token.
    pub token_id: Option<String>,
    /// Which fields, as a JSON array.
    pub fields: String,
    /// What came of it.
    pub outcome: String,
    /// How often.
    pub times: i64,
    /// From where.
    pub address: Option<String>,
    /// By which request.
    pub request_id: Option<String>,
    /// The hash of the chain up to it.
    pub hash: Option<Vec<u8>>,
}

impl AuditRecord {
    /// The names of its fields; `None` if they can't be read.
    #[must_use]
    pub fn field_names(&self) -> Option<Vec<String>> {
        serde_json::from_str(&self.fields).ok()
    }

    /// The bytes that are hashed for its place in the chain: each part after its length, what is
    /// absent told from what is empty.
    pub(super) fn encoded(&self, number: i64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        let mut part = |value: Option<&[u8]>| match value {
            None => bytes.push(0),
            Some(value) => {
                bytes.push(1);
                bytes.extend_from_slice(&(value.len() as u64).to_be_bytes());
                bytes.extend_from_slice(value);
            }
        };
        part(Some(&number.to_be_bytes()));
        part(Some(&self.seq.to_be_bytes()));
        part(Some(self.occurred_at.as_bytes()));
        part(Some(self.actor_kind.as_bytes()));
        part(self.actor_id.as_deref().map(str::as_bytes));
        part(Some(self.action.as_bytes()));
        part(self.tenant_id.as_deref().map(str::as_bytes));
        part(self.credential_type.as_deref().map(str::as_bytes));
        part(self.version.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
        part(self.token_id.as_deref().map(str::as_bytes));
        part(Some(self.outcome.as_bytes()));
        part(Some(&self.times.to_be_bytes()));
        part(self.address.as_deref().map(str::as_bytes));
        part(self.request_id.as_deref().map(str::as_bytes));
        match self.field_names() {
            Some(names) => {
                part(Some(&(names.len() as u64).to_be_bytes()));
                for name in &names {
                    part(Some(name.as_bytes()));
                }
            }
            // Written by hand. It is chained as it stands, or it would keep all after it from being.
            None => {
                part(None);
                part(Some(self.fields.as_bytes()));
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AuditRecord {
        AuditRecord {
            number: None,
            seq: 3,
            occurred_at: "2026-01-02T03:04:05.678901Z".into(),
            actor_kind: "token".into(),
            actor_id: Some("a".into()),
            action: "credentials.set".into(),
            tenant_id: Some("t".into()),
            credential_type: Some("genesys".into()),
            version: Some(2),
            token_id: None,
            fields: r#"["a","b"]"#.into(),
            outcome: "ok".into(),
            times: 1,
            address: Some("::1".into()),
            request_id: Some("r".into()),
            hash: None,
        }
    }

    /// Every column that is one's own changes the bytes, and so does where one ends.
    #[test]
    fn no_two_records_have_the_same_bytes() {
        let base = record();
        let mut all = vec![base.encoded(1), base.encoded(2)];
        let mut with = |change: &dyn Fn(&mut AuditRecord)| {
            let mut record = base.clone();
            change(&mut record);
            all.push(record.encoded(1));
        };
        with(&|r| r.seq = 4);
        with(&|r| r.occurred_at = "2026-01-02T03:04:05.678902Z".into());
        with(&|r| r.actor_kind = "anonymous".into());
        with(&|r| r.actor_id = None);
        with(&|r| r.actor_id = Some(String::new()));
        with(&|r| r.action = "credentials.reveal".into());
        with(&|r| r.tenant_id = None);
        with(&|r| r.tenant_id = Some("tg".into()));
        with(&|r| r.credential_type = None);
        with(&|r| r.version = None);
        with(&|r| r.version = Some(3));
        with(&|r| r.token_id = Some("k".into()));
        with(&|r| r.fields = r#"["ab"]"#.into());
        with(&|r| r.fields = "[]".into());
        with(&|r| r.fields = "[null]".into());
        with(&|r| r.fields = "{}".into());
        with(&|r| r.outcome = "failed".into());
        with(&|r| r.times = 2);
        with(&|r| r.address = None);
        with(&|r| r.request_id = None);
        for (at, bytes) in all.iter().enumerate() {
            assert!(!all[..at].contains(bytes), "{at}");
        }
        // How it is written in JSON is not what it says.
        let spaced = AuditRecord { fields: r#"[ "a", "b" ]"#.into(), ..base.clone() };
        assert_eq!(spaced.encoded(1), base.encoded(1));
    }
}
