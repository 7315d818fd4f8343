//! Encodings and checksums.

use super::text;
use crate::value::Value;
use sha1::Digest;

fn hex(bytes: impl AsRef<[u8]>) -> Result<Value, String> {
    Ok(Value::str(bytes.as_ref().iter().map(|b| format!("{b:02x}")).collect::<String>()))
}

pub(super) fn sha1sum(args: &[Value]) -> Result<Value, String> {
    hex(sha1::Sha1::digest(text(&args[0])))
}

pub(super) fn sha256sum(args: &[Value]) -> Result<Value, String> {
    hex(sha2::Sha256::digest(text(&args[0])))
}

pub(super) fn sha512sum(args: &[Value]) -> Result<Value, String> {
    hex(sha2::Sha512::digest(text(&args[0])))
}

pub(super) fn adler32sum(args: &[Value]) -> Result<Value, String> {
    let (low, high) = text(&args[0]).bytes().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    Ok(Value::str((high << 16 | low).to_string()))
}

/// The decoded text, or the message of what is wrong: sprig has no error here.
pub(super) fn b64dec(args: &[Value]) -> Result<Value, String> {
    Ok(Value::str(match crate::base64_decode(text(&args[0])) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(message) => message,
    }))
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

pub(super) fn b32enc(args: &[Value]) -> Result<Value, String> {
    let mut out = String::new();
    for chunk in text(&args[0]).as_bytes().chunks(5) {
        let mut block = [0_u8; 8];
        block[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(block);
        let digits = (chunk.len() * 8).div_ceil(5);
        for i in 0..8 {
            let digit = (bits >> (35 - 5 * i)) & 31;
            out.push(if i < digits { BASE32[digit as usize] as char } else { '=' });
        }
    }
    Ok(Value::str(out))
}

pub(super) fn b32dec(args: &[Value]) -> Result<Value, String> {
    let clean: Vec<u8> = text(&args[0]).bytes().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    Ok(Value::str(match decode_base32(&clean) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(at) => format!("illegal base32 data at input byte {at}"),
    }))
}

fn decode_base32(input: &[u8]) -> Result<Vec<u8>, usize> {
    let mut out = Vec::new();
    for (block, chunk) in input.chunks(8).enumerate() {
        let start = block * 8;
        let digits = chunk.iter().position(|b| *b == b'=').unwrap_or(chunk.len());
        let last = start + 8 >= input.len();
        if let Some(bad) = chunk[..digits].iter().position(|byte| !BASE32.contains(byte)) {
            return Err(start + bad);
        }
        if chunk.len() < 8 {
            return Err(start);
        }
        if digits < 8 && (!last || matches!(digits, 0 | 1 | 3 | 6)) {
            return Err(start + digits);
        }
        if let Some(bad) = chunk[digits..].iter().position(|b| *b != b'=') {
            return Err(start + digits + bad);
        }
        let mut bits = 0_u64;
        for (i, byte) in chunk[..digits].iter().enumerate() {
            let value = BASE32.iter().position(|known| known == byte).ok_or(start + i)?;
            bits |= (value as u64) << (35 - 5 * i);
        }
        out.extend_from_slice(&bits.to_be_bytes()[3..3 + digits * 5 / 8]);
    }
    Ok(out)
}

pub(super) fn from_json(args: &[Value]) -> Result<Value, String> {
    let json: serde_json::Value = serde_json::from_str(text(&args[0])).map_err(|e| e.to_string())?;
    Ok(Value::from_json(&json))
}

pub(super) fn to_raw_json(args: &[Value]) -> Result<Value, String> {
    crate::go::marshal_raw(&args[0]).map(Value::str).map_err(|e| e.to_string())
}
