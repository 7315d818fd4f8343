//! Masterminds sprig v3.3.0: `sprig.GenericFuncMap()` without `env` and `expandenv`, as Argo offers it.
//!
//! Left out, with a compile error that names the function: what makes keys, certificates and password hashes (bcrypt,
//! htpasswd, genPrivateKey, derivePassword, buildCustomCert, genCA, genCAWithKey, genSelfSignedCert,
//! genSelfSignedCertWithKey, genSignedCert, genSignedCertWithKey, encryptAES, decryptAES) and the name look-up
//! getHostByName: they would make the result of an expression depend on more than its text and variables.

mod dates;
mod defaults;
mod dicts;
mod encoding;
mod lists;
mod math;
mod paths;
mod random;
mod reflect;
mod regexes;
mod semver;
mod strings;
mod table;
mod urls;
mod words;

pub(crate) use semver::text_of as semver_text;
pub(crate) use table::FUNCTIONS;

use crate::lang::types::Sig;
use crate::value::Value;

/// A function of the table.
#[derive(Debug)]
pub(crate) struct SprigFn {
    pub name: &'static str,
    pub sig: Sig,
    pub call: fn(&[Value]) -> Result<Value, String>,
}

const LEFT_OUT: [&str; 14] = [
    "bcrypt",
    "buildCustomCert",
    "decryptAES",
    "derivePassword",
    "encryptAES",
    "genCA",
    "genCAWithKey",
    "genPrivateKey",
    "genSelfSignedCert",
    "genSelfSignedCertWithKey",
    "genSignedCert",
    "genSignedCertWithKey",
    "getHostByName",
    "htpasswd",
];

/// The function exists in sprig, but not here.
pub(crate) fn is_left_out(name: &str) -> bool {
    LEFT_OUT.contains(&name)
}

/// The text of an argument whose type was checked.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// The int of an argument whose type was checked.
fn int(value: &Value) -> i64 {
    value.as_int().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_two_hundred_and_nine_are_known() {
        assert_eq!(FUNCTIONS.len() + LEFT_OUT.len(), 209);
        let mut names: Vec<_> = FUNCTIONS.iter().map(|f| f.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FUNCTIONS.len());
    }
}
