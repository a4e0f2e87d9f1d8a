//! What requests bring: ids in paths, queries, JSON bodies and their fields, conditions.

mod body;
mod by;
mod fields;
mod if_none_match;
mod intent;
pub mod json;
mod path;
mod prefer;
mod query;

pub use body::{BODY_LIMIT, JsonBody, MergePatch, Nothing};
pub use by::sent_by;
pub use fields::Fields;
pub use if_none_match::IfNoneMatch;
pub use json::DEPTH_LIMIT;
pub use path::{Segment, Segments, Three};
pub use prefer::RESPOND_ASYNC;
pub use query::{Query, number};
