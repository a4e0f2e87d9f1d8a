//! Numbers: what was written is what is revealed, digit for digit.

use proptest::prelude::*;
use serde_json::{Map, Value};
use tenant_service::domain::{CredentialType, Credentials, Edit, TenantPatch, keeps_digits};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::bed::{ALWAYS, Bed, by, tenant_id};

/// Any number as JSON spells it, if it is one that is accepted.
fn number() -> impl Strategy<Value = String> {
    let spelled = prop_oneof![
        "-?(0|[1-9][0-9]{0,21})(\\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?",
        any::<u64>().prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_filter_map("JSON has no infinity", |number| {
            number.is_finite().then(|| format!("{number:e}"))
        }),
    ];
    spelled.prop_filter("kept", |number| keeps_digits(number))
}

/// A number without an exponent and without zeros around it: equal numbers are the same text.
fn plain(number: &str) -> String {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |number| ("-", number));
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let point = i64::try_from(whole.len()).unwrap() + exponent.parse::<i64>().unwrap();
    let mut digits = format!("{whole}{fraction}");
    if let Ok(missing) = usize::try_from(-point) {
        digits.insert_str(0, &"0".repeat(missing));
    }
    let point = usize::try_from(point.max(0)).unwrap();
    digits.extend(std::iter::repeat_n('0', point.saturating_sub(digits.len())));
    let (whole, fraction) = digits.split_at(point);
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if whole.is_empty() && fraction.is_empty() {
        return "0".to_owned();
    }
    format!("{sign}{whole}.{fraction}")
}

#[test]
fn equal_numbers_are_plainly_the_same() {
    for same in ["-12.5", "-1.250e1", "-125E-1", "-0.000125e+5"] {
        assert_eq!(plain(same), "-12.5");
    }
    assert_eq!((plain("-0.00e7").as_str(), plain("30e2").as_str()), ("0", "3000."));
    assert_ne!(plain("1e3"), plain("1e4"));
}

pub(super) async fn a_number_keeps_its_digits(bed: &Bed) {
    let id = tenant_id("t1");
    bed.create("t1", "1", "i1").await;
    let genesys = CredentialType::Genesys;
    let round = async |numbers: &[String]| {
        let fields: Vec<_> =
            (0..).zip(numbers).map(|(n, text)| format!("\"n{n}\": {text}")).collect();
        let object: Value = serde_json::from_str(&format!("{{{}}}", fields.join(", "))).unwrap();
        let credentials = Credentials::new(genesys, object.clone()).unwrap();
        bed.store
            .set_credentials(&id, genesys, &credentials, None, &ALWAYS, &by())
            .await
            .unwrap()
            .unwrap();
        let found = bed.store.credentials(&id, genesys).await.unwrap().unwrap();

        let settings = Edit::Set(object.as_object().unwrap().clone());
        let patch = TenantPatch { settings, ..TenantPatch::default() };
        bed.store.patch_tenant(&id, &patch, &ALWAYS, &by()).await.unwrap().unwrap();
        let tenant = bed.store.tenant(&id).await.unwrap().unwrap();
        [found.credentials.reveal().clone(), tenant.settings]
    };
    let revealed =
        |object: &Map<String, Value>, n: usize| plain(&object[&format!("n{n}")].to_string());
    let handle = Handle::current();
    let written = prop::collection::vec(number(), 1..40);
    block_in_place(|| {
        proptest!(ProptestConfig::with_cases(40), |(written in written)| {
            for object in handle.block_on(round(&written)) {
                for (n, number) in written.iter().enumerate() {
                    prop_assert_eq!(revealed(&object, n), plain(number), "{}", number);
                }
            }
        });
    });
}
