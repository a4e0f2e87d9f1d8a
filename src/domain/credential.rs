//! Credentials: an object of secrets and settings, of one of two types.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{ExpiresAt, IntegrationId, Invalid, Region, mask, redact, storable};

/// The types of credentials a tenant can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CredentialType {
    /// Access to the WhatsApp Business platform of Meta.
    Whatsapp,
    /// An OAuth client of Genesys Cloud.
    Genesys,
}

impl CredentialType {
    /// Every type.
    pub const ALL: [Self; 2] = [Self::Whatsapp, Self::Genesys];

    /// The type as the API, the database and cache keys write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whatsapp => "whatsapp",
            Self::Genesys => "genesys",
        }
    }

    /// Fields that are shown unmasked. Default deny: what is not here is a secret.
    #[must_use]
    pub const fn public_fields(self) -> &'static [&'static str] {
        match self {
            Self::Whatsapp => &[
                "phone_number_id",
                "display_phone_number",
                "waba_id",
                "business_account_id",
                "business_id",
                "expiresAt",
                "expires_at",
            ],
            Self::Genesys => &["clientId", "region", "integrationId", "expiresAt", "expires_at"],
        }
    }

    /// Fields which, where they are given, must be non-empty text: clients read them as such.
    const fn text_fields(self) -> &'static [&'static str] {
        match self {
            Self::Whatsapp => &[
                "access_token",
                "app_secret",
                "phone_number_id",
                "waba_id",
                "business_account_id",
                "business_id",
                "display_phone_number",
            ],
            Self::Genesys => {
                &["clientId", "clientSecret", "region", "integrationId", "webhookSecret"]
            }
        }
    }
}

impl fmt::Display for CredentialType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CredentialType {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Invalid::new("type", "must be whatsapp or genesys"))
    }
}

/// A credential object: never empty, never holding a mask, a Genesys region always by its domain
/// (clients build URLs of it). `Debug` shows no value.
#[derive(Clone, PartialEq)]
pub struct Credentials {
    fields: Map<String, Value>,
    expires_at: Option<ExpiresAt>,
}

impl Credentials {
    /// Validates an object sent by a caller.
    ///
    /// # Errors
    /// Not an object, empty, a field that clients read as text is something else, a region or an
    /// integration that is none, or a value looks like a mask (unprocessable: a mask must never
    /// become a secret).
    pub fn new(kind: CredentialType, value: Value) -> Result<Self, Invalid> {
        let Value::Object(fields) = value else {
            return Err(Invalid::new("credentials", "must be an object"));
        };
        let mut fields = storable("credentials", fields)?;
        if fields.is_empty() {
            return Err(Invalid::new("credentials", "must have at least one field"));
        }
        for name in kind.text_fields() {
            match fields.get(*name) {
                None => {}
                Some(Value::String(text)) if !text.trim().is_empty() => {}
                Some(_) => {
                    let field = format!("credentials.{name}");
                    return Err(Invalid::new(field, "must be non-empty text"));
                }
            }
        }
        if fields.values().any(mask::contains_mask) {
            return Err(Invalid::unprocessable(
                "credentials",
                "a value looks like a mask (***); send the secret itself, not what a masked answer showed",
            ));
        }
        if kind == CredentialType::Genesys {
            if let Some(region) = parsed::<Region>(&fields, "region")? {
                fields.insert("region".to_owned(), region.domain().into());
            }
            parsed::<IntegrationId>(&fields, "integrationId")?;
        }
        Ok(Self { fields, expires_at: None })
    }

    /// Takes an object that was validated when it was stored.
    #[must_use]
    pub fn from_stored(fields: Map<String, Value>) -> Self {
        Self { fields, expires_at: None }
    }

    /// The same, to be stored with this end, or with none.
    #[must_use]
    pub fn expiring(self, expires_at: Option<ExpiresAt>) -> Self {
        Self { expires_at, ..self }
    }

    /// With which end they are to be stored. What is read has none: nobody who uses credentials goes by
    /// it, so it is in no cache. The list of versions has it.
    #[must_use]
    pub const fn expires_at(&self) -> Option<ExpiresAt> {
        self.expires_at
    }

    /// The fields, secrets included.
    #[must_use]
    pub fn reveal(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// The text of a field, if it is there and is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }
}

/// The value of a field that has to be a `T` where it is given.
fn parsed<T: FromStr<Err = Invalid>>(
    fields: &Map<String, Value>,
    name: &str,
) -> Result<Option<T>, Invalid> {
    let named = |invalid: Invalid| Invalid { field: format!("credentials.{name}"), ..invalid };
    fields.get(name).and_then(Value::as_str).map(str::parse).transpose().map_err(named)
}

redact!(Credentials { fields: |it| it.fields.len() });

/// The names under which the WhatsApp services read their credentials.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetaView<'a> {
    access_token: Option<&'a str>,
    app_secret: Option<&'a str>,
    phone_number_id: Option<&'a str>,
    waba_id: Option<&'a str>,
}

impl<'a> MetaView<'a> {
    /// The names under which it shows its fields.
    pub const NAMES: [&'static str; 4] = ["accessToken", "appSecret", "phoneNumberId", "wabaId"];

    /// The view of whatsapp credentials; a field that is not stored is `null`.
    ///
    /// `wabaId` falls back to `business_account_id`, the older name of the same id.
    #[must_use]
    pub fn of(credentials: &'a Credentials) -> Self {
        Self {
            access_token: credentials.text("access_token"),
            app_secret: credentials.text("app_secret"),
            phone_number_id: credentials.text("phone_number_id"),
            waba_id: credentials
                .text("waba_id")
                .or_else(|| credentials.text("business_account_id")),
        }
    }
}

impl Serialize for CredentialType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refuses_what_clients_could_not_use() {
        let refused = |value| Credentials::new(CredentialType::Whatsapp, value).unwrap_err();
        assert_eq!(refused(json!([])).field, "credentials");
        assert_eq!(refused(json!({})).field, "credentials");
        assert_eq!(refused(json!({"access_token": 5})).field, "credentials.access_token");
        assert_eq!(refused(json!({"access_token": " "})).field, "credentials.access_token");
        let mask = refused(json!({"access_token": "real", "x": {"y": ["***4567"]}}));
        assert!(mask.unprocessable);
    }

    #[test]
    fn a_genesys_region_is_kept_by_its_domain() {
        let of = |value| Credentials::new(CredentialType::Genesys, value);
        for (given, kept) in [
            ("APS1", "aps1.pure.cloud"),
            ("eu-central-1", "mypurecloud.de"),
            ("MyPureCloud.com", "mypurecloud.com"),
        ] {
            let value = json!({"region": given, "integrationId": "i", "timeout": {"region": 1}});
            let expected = json!({"region": kept, "integrationId": "i", "timeout": {"region": 1}});
            assert_eq!(Value::Object(of(value).unwrap().reveal().clone()), expected);
        }
        let region = of(json!({"region": "hunter2"})).unwrap_err();
        assert_eq!(region.field, "credentials.region");
        assert_eq!(region.reason, "hunter2".parse::<Region>().unwrap_err().reason);
        let integration = of(json!({"integrationId": "a b"})).unwrap_err();
        assert_eq!(integration.field, "credentials.integrationId");
        assert!(!format!("{region} {integration}").contains("hunter2"));
        assert!(of(json!({"clientId": "neither is needed"})).is_ok());
        // Of another type they are fields like any other.
        let whatsapp = json!({"region": "hunter2", "integrationId": "a b"});
        assert!(Credentials::new(CredentialType::Whatsapp, whatsapp).is_ok());
    }

    #[test]
    fn debug_shows_no_value() {
        let value = json!({"access_token": "hunter2"});
        let credentials = Credentials::new(CredentialType::Whatsapp, value).unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials { fields: 1, .. }");
    }

    #[test]
    fn the_meta_view_renames() {
        let value = json!({"access_token": "t", "app_secret": "s", "business_account_id": "7"});
        let credentials = Credentials::new(CredentialType::Whatsapp, value).unwrap();
        let view = serde_json::to_value(MetaView::of(&credentials)).unwrap();
        let expected =
            json!({"accessToken": "t", "appSecret": "s", "phoneNumberId": null, "wabaId": "7"});
        assert_eq!(view, expected);
    }
}
