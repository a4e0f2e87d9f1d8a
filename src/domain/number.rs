//! Numbers in JSON, none of whose digits may be lost.
//!
//! A number is read as a 64-bit integer or a double. One that neither holds would come out as
//! another number, so it is refused: on the way in, and on the way out of a database where somebody
//! wrote it by hand. Its owner can keep it as text.

use std::iter;

use serde_json::Number;

/// Whether every number in a JSON document is read as what is written there, to the last digit.
/// What is no JSON is left for a parser to refuse.
#[must_use]
pub fn keeps_digits(json: &str) -> bool {
    numbers(json).all(is_exact)
}

/// What stands in a document outside of text and looks like a number.
fn numbers(mut json: &str) -> impl Iterator<Item = &str> {
    iter::from_fn(move || {
        loop {
            let start = json.find(|c: char| matches!(c, '"' | '-' | '0'..='9'))?;
            json = &json[start..];
            if let Some(text) = json.strip_prefix('"') {
                json = after_text(text);
                continue;
            }
            let end = json.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
            let (number, rest) = json.split_at(end.unwrap_or(json.len()));
            json = rest;
            return Some(number);
        }
    })
}

/// What follows the quote that ends a text.
fn after_text(mut text: &str) -> &str {
    while let Some(at) = text.find(['"', '\\']) {
        let escapes = text[at..].starts_with('\\');
        text = &text[at + 1..];
        if !escapes {
            return text;
        }
        let mut rest = text.chars();
        rest.next();
        text = rest.as_str();
    }
    ""
}

fn is_exact(number: &str) -> bool {
    let Some(written) = Decimal::of(number) else { return true };
    let read = serde_json::from_str::<Number>(number).ok();
    read.and_then(|read| Decimal::of(&read.to_string())) == Some(written)
}

/// A number in the one form in which equal numbers are the same: its digits without zeros around
/// them, and the power of ten that the last one counts.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    power: i64,
}

impl Decimal {
    /// `None` for what is no number in JSON.
    fn of(number: &str) -> Option<Self> {
        let unsigned = number.strip_prefix('-');
        let (negative, number) = (unsigned.is_some(), unsigned.unwrap_or(number));
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let is_whole = are_digits(whole) && (whole == "0" || !whole.starts_with('0'));
        if !is_whole
            || !are_digits(fraction)
            || !are_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
        {
            return None;
        }
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        let trimmed = digits.trim_end_matches('0');
        if trimmed.is_empty() {
            return Some(Self { negative: false, digits: String::new(), power: 0 });
        }
        // An exponent beyond this is no double's.
        let exponent: i64 = exponent.parse::<i32>().map_or(i64::MAX, i64::from);
        let behind = |digits: &str| i64::try_from(digits.len()).unwrap_or(i64::MAX);
        let power = exponent
            .saturating_sub(behind(fraction))
            .saturating_add(behind(digits) - behind(trimmed));
        Some(Self { negative, digits: trimmed.to_owned(), power })
    }
}

fn are_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_64_bits_hold_is_exact() {
        for exact in [
            "0",
            "-0",
            "0.0",
            "-0.0e5",
            "0e99999999999999999999",
            "7",
            "-7.50",
            "1e3",
            "1E+3",
            "0.1",
            "18446744073709551615",
            "-9223372036854775808",
            "1e22",
            "100000000000000000000000",
            "1.7976931348623157e308",
            "5e-324",
            "0.9424502837770503",
            "2.5e-7",
        ] {
            assert!(keeps_digits(exact), "{exact}");
        }
        for inexact in [
            "18446744073709551616",
            "-9223372036854775809",
            "12345678901234567890123",
            "0.1000000000000000055",
            "1e400",
            "-1e400",
            "1e-400",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "3.141592653589793238",
        ] {
            assert!(!keeps_digits(inexact), "{inexact}");
        }
    }

    #[test]
    fn numbers_are_found_where_they_are_numbers() {
        assert!(!keeps_digits(r#"{"a": [{"b\"": [true, -1e400]}]}"#));
        assert!(keeps_digits(r#"{"1e400": "1e400", "\"1e400": "\\\"1e400", "é": "\u00e91e400"}"#));
        assert!(!keeps_digits(r#"["\\",1e400]"#));
        // For a parser to refuse.
        for malformed in ["01e400", "1e", "--1", "1.e400", ".5", "-", "1e+-400", "\"1e400", "\"\\"]
        {
            assert!(keeps_digits(malformed), "{malformed}");
            assert!(serde_json::from_str::<Value>(malformed).is_err(), "{malformed}");
        }
    }

    /// Spells a number: its digits with the point `places` from their end, zeros around it.
    fn spelled(digits: &str, places: usize, zeros: usize, exponent: i32) -> String {
        let digits = format!("{digits:0>width$}", width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let zeros = "0".repeat(zeros);
        let exponent = i64::from(exponent) + i64::try_from(places).unwrap();
        match format!("{fraction}{zeros}") {
            fraction if fraction.is_empty() => format!("{whole}e{exponent}"),
            fraction => format!("{whole}.{fraction}E{exponent:+}"),
        }
    }

    proptest! {
        #[test]
        fn no_spelling_changes_a_number(
            digits in "[1-9][0-9]{0,25}",
            (places, zeros) in (0_usize..30, 0_usize..5),
            exponent in -400_i32..400,
        ) {
            let plain = format!("{digits}e{exponent}");
            let other = spelled(&digits, places, zeros, exponent);
            prop_assert_eq!(Decimal::of(&plain), Decimal::of(&other));
            prop_assert_eq!(keeps_digits(&plain), keeps_digits(&other), "{} {}", plain, other);
        }

        #[test]
        fn up_to_15_digits_are_kept_and_never_21(
            few in "-?[1-9][0-9]{0,14}",
            many in "-?[1-9][0-9]{19,30}[1-9]",
            exponent in -290_i32..270,
        ) {
            let (few, many) = (format!("{few}e{exponent}"), format!("{many}e{exponent}"));
            prop_assert!(keeps_digits(&few));
            prop_assert!(!keeps_digits(&many));
        }

        #[test]
        fn what_is_printed_is_kept(float: f64, signed: i64, unsigned: u64) {
            for value in [Value::from(float), signed.into(), unsigned.into()] {
                prop_assert!(keeps_digits(&value.to_string()));
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in r#"["\\0-9eE.+,é-]{0,40}"#) {
            let _ = keeps_digits(&text);
        }
    }
}
