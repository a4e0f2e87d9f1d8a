//! Secrets as text.

use std::io::Write;

use serde::Serialize;
use zeroize::Zeroizing;

/// JSON that is overwritten when the last view of it is dropped. Measured first, for a buffer that
/// grows leaves copies of its beginning behind.
///
/// # Errors
/// The value can't be serialised, which none that was stored causes.
pub fn secret_text(value: &impl Serialize) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    written(|text| serde_json::to_writer(text, value))
}

/// The same, for people to read.
pub(super) fn secret_lines(value: &impl Serialize) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    written(|text| {
        serde_json::to_writer_pretty(&mut *text, value)?;
        text.write_all(b"\n").map_err(serde_json::Error::io)
    })
}

fn written(
    write: impl Fn(&mut dyn Write) -> serde_json::Result<()>,
) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let mut length = Length(0);
    write(&mut length)?;
    let mut text = Zeroizing::new(Vec::with_capacity(length.0));
    write(&mut *text)?;
    Ok(text)
}

/// Counts what is written to it.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
