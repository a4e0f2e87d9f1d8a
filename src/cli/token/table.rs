//! A list of tokens, for people.

use jiff::Timestamp;

use crate::domain::{TenantId, TokenRecord};

const HEAD: [&str; 8] =
    ["ID", "NAME", "STATUS", "SCOPES", "TENANTS", "TYPES", "EXPIRES", "LAST USED"];

/// One line a token, its columns as wide as they have to be.
pub fn of(tokens: &[TokenRecord]) -> String {
    let rows: Vec<[String; 8]> =
        [HEAD.map(str::to_owned)].into_iter().chain(tokens.iter().map(row)).collect();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; 8] = std::array::from_fn(width);
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn row(record: &TokenRecord) -> [String; 8] {
    let token = &record.token;
    let names = |names: Option<Vec<&str>>| names.map_or("all".to_owned(), |names| names.join(","));
    let ids = token.limits.tenants().map(|ids| ids.iter().map(TenantId::as_str).collect());
    let types = token.limits.types().map(|types| types.iter().map(|kind| kind.as_str()).collect());
    // A list is for looking at: the time of day is in the JSON.
    let day = |moment: Option<Timestamp>| {
        moment.map_or("never".to_owned(), |moment| moment.strftime("%Y-%m-%d %H:%M").to_string())
    };
    [
        token.id.to_string(),
        token.name.clone(),
        token.standing(Timestamp::now).as_str().to_owned(),
        token.scopes.to_string(),
        names(ids),
        names(types),
        day(token.expires_at),
        day(record.last_used_at),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Limits, Scope, Scopes, Token};

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let record = TokenRecord {
            token: Token {
                id: "0123456789abcdef".parse().unwrap(),
                name: "Wébhooks of the north".into(),
                scopes: Scopes::NONE.with(Scope::LookupRead),
                limits: Limits::new(Some(vec!["b".parse().unwrap(), "a".parse().unwrap()]), None),
                expires_at: None,
                revoked_at: Some(Timestamp::UNIX_EPOCH),
            },
            description: None,
            created_at: Timestamp::UNIX_EPOCH,
            created_by: "cli".into(),
            replaced_by: None,
            last_used_at: Some(Timestamp::UNIX_EPOCH),
        };
        assert_eq!(
            of(&[record]),
            "\
ID                NAME                   STATUS   SCOPES       TENANTS  TYPES  EXPIRES  LAST USED
0123456789abcdef  Wébhooks of the north  revoked  lookup:read  a,b      all    never    1970-01-01 00:00"
        );
    }
}
