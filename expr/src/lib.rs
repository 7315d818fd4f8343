//! What Argo Workflows computes from text: template tags, expr-lang expressions, `when` conditions, sprig functions.
//!
//! No IO and no clock of its own: the same text and variables give the same result (see [`ambient`] for `now()`).
//!
//! - [`template`]: `{{name}}` and `{{=expression}}` in the JSON text of templates.
//! - [`lang`]: expr-lang: [`lang::eval`], [`lang::Program`].
//! - [`when`]: govaluate conditions.
//! - [`go`]: Go's text forms that all of these share.

pub mod ambient;
pub mod go;
pub mod jsonpath;
pub mod lang;
pub(crate) mod sprig;
pub mod template;
mod text;
pub mod value;
pub mod when;

pub use value::Value;

use base64::Engine;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// As Go's base64.StdEncoding: padding is demanded, bits behind the last byte are not looked at.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

pub(crate) fn base64_encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// `base64.StdEncoding.DecodeString`: line breaks are skipped. The message is Go's, with the offset it finds.
pub(crate) fn base64_decode(text: &str) -> Result<Vec<u8>, String> {
    let clean: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    BASE64.decode(&clean).map_err(|error| {
        let at = match error {
            base64::DecodeError::InvalidByte(at, _) => at,
            _ => clean.len() - clean.len() % 4,
        };
        format!("illegal base64 data at input byte {at}")
    })
}
