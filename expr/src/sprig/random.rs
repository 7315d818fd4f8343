//! Random texts and numbers (see [`crate::ambient`]).

use super::int;
use crate::ambient::random;
use crate::value::Value;

pub(super) const ALPHA: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
pub(super) const NUMERIC: &[u8] = b"0123456789";
pub(super) const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
pub(super) const ASCII: &[u8] =
    b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";

const MAX_LENGTH: i64 = 1 << 20;

fn below(limit: u64) -> u64 {
    ((u128::from(random()) * u128::from(limit.max(1))) >> 64) as u64
}

fn length(count: i64) -> Result<usize, String> {
    if count > MAX_LENGTH {
        return Err(crate::lang::ops::BUDGET.to_owned());
    }
    Ok(usize::try_from(count).unwrap_or(0))
}

pub(super) fn text(count: i64, alphabet: &[u8]) -> Result<Value, String> {
    let letters = (0..length(count)?).map(|_| alphabet[below(alphabet.len() as u64) as usize] as char);
    Ok(Value::str(letters.collect::<String>()))
}

pub(super) fn bytes(args: &[Value]) -> Result<Value, String> {
    let bytes: Vec<u8> = (0..length(int(&args[0]))?).map(|_| below(256) as u8).collect();
    Ok(Value::str(crate::base64_encode(&bytes)))
}

pub(super) fn uuid(_: &[Value]) -> Result<Value, String> {
    let bits = u128::from(random()) << 64 | u128::from(random());
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    Ok(Value::str(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])))
}

pub(super) fn shuffle(args: &[Value]) -> Result<Value, String> {
    let mut chars: Vec<char> = super::text(&args[0]).chars().collect();
    for i in (1..chars.len()).rev() {
        chars.swap(i, below(i as u64 + 1) as usize);
    }
    Ok(Value::str(chars.into_iter().collect::<String>()))
}

pub(super) fn int_between(args: &[Value]) -> Result<Value, String> {
    let (min, max) = (int(&args[0]), int(&args[1]));
    match u64::try_from(max.wrapping_sub(min)) {
        Ok(range) if range > 0 => Ok(Value::Int(min.wrapping_add(below(range) as i64))),
        _ => Err("invalid argument to Intn".to_owned()),
    }
}
