//! Logs: one event a line, on standard output; or on standard error, where a command prints what it
//! makes.
//!
//! Never logged: a credential, a token, a body, a query string, a header's value, a password.
//! Nor who was shown or did what: that is in the audit trail.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// What is said of the audit trail.
pub const AUDIT: &str = "tenant_service::audit";

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Installs the process-wide subscriber.
///
/// # Errors
/// The filter can't be parsed.
pub fn install(style: Style, stream: Stream, filter: &str) -> Result<(), ParseError> {
    // Whatever else is left out, it is on record where the chain of the audit trail ends.
    let audit = format!("{AUDIT}=info").parse()?;
    let filter = EnvFilter::builder().parse(filter)?.add_directive(audit);
    let (writer, is_terminal) = match stream {
        Stream::Output => (BoxMakeWriter::new(std::io::stdout), std::io::stdout().is_terminal()),
        Stream::Error => (BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal()),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match style {
        Style::Pretty => builder.with_target(false).with_ansi(is_terminal).init(),
        Style::Json => builder.json().flatten_event(true).with_current_span(false).init(),
    }
    Ok(())
}

/// An error and what caused it, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors repeat their cause.
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}
