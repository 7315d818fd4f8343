//! The key of SSE-C, derived per object from the password as Argo's client library does, so that objects written by
//! either can be read by the other.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Result};

/// The three headers' worth of a customer key: algorithm, key and its MD5, the latter two in base64 where the SDK wants
/// them so (it computes the MD5 itself).
pub(super) const ALGORITHM: &str = "AES256";

/// The key for `bucket` and `key` in base64: Argon2id, one pass over 64 MiB in four lanes, salted with both names.
pub(super) fn derive(password: &str, bucket: &str, key: &str) -> Result<String> {
    let fail = |error: argon2::Error| Error::permanent("deriving the key of server-side encryption", error.to_string());
    let params = Params::new(64 * 1024, 1, 4, Some(32)).map_err(fail)?;
    let mut output = [0u8; 32];
    let salt = format!("{bucket}{key}");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt.as_bytes(), &mut output)
        .map_err(fail)?;
    Ok(STANDARD.encode(output))
}
