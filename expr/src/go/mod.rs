//! Go's text forms: how the standard library of Go quotes, formats and parses numbers, durations, times and values.
//!
//! Argo's observable texts (substituted values, messages, generated names) come from these functions, so they are
//! reproduced here and nowhere else. Parts the engine uses are re-exported at this level.

mod duration;
mod float;
mod json;
mod layout;
mod printf;
mod quote;
mod regexp;
mod strftime;
mod time;

pub use duration::{DurationError, format_duration, parse_argo_duration, parse_duration};
pub use float::{format_float_f, format_float_g, parse_float};
pub(crate) use json::marshal_raw;
pub use json::{MarshalError, json_quote, marshal, marshal_indent};
pub(crate) use layout::{format_time, month_name, weekday_name};
pub use layout::{format_timestamp, parse_time};
pub use printf::{display_json, display_value, sprintf};
pub use quote::{quote, quote_inner};
pub(crate) use regexp::describe_pattern_error;
pub use regexp::{expand_template, translate_pattern};
pub use strftime::{FORMAT_CHARS, strftime};
pub use time::{Time, Zone};
