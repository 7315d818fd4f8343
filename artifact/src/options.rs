//! What a process may set about all of its transfers.

use std::collections::BTreeMap;

use crate::archive::Limits;
use crate::environment::Environment;
use crate::retry::Retry;

/// The least part size that S3 allows, and the largest that Argo does, in MiB.
const PART_SIZES: std::ops::RangeInclusive<usize> = 5..=5 * 1024;

/// Settings of all transfers of a process.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Bytes in memory for parts and ranges of all stores together. The process needs some 20 MiB beside them.
    pub memory: usize,
    /// Size of an upload's parts in bytes.
    pub part_size: usize,
    /// Repetition of each request.
    pub retry: Retry,
    /// What is refused in an archive.
    pub limits: Limits,
    /// S3 endpoints that are reached at another address (host and port), without TLS; missing buckets are made there.
    /// A driver on one machine keeps artifacts so whose own store cannot be reached.
    pub redirects: BTreeMap<String, String>,
    /// Which identity the process has in a cloud; for artifacts that name no keys.
    pub environment: Environment,
}

/// The variable that holds [`Options::redirects`] as a JSON object.
const REDIRECTS: &str = "TIPHYS_S3_REDIRECTS";

impl Default for Options {
    fn default() -> Self {
        Options {
            memory: 24 << 20,
            part_size: 8 << 20,
            retry: Retry::default(),
            limits: Limits::default(),
            redirects: BTreeMap::new(),
            environment: Environment::default(),
        }
    }
}

impl Options {
    /// The defaults, changed by what Argo's executor knows: `ARTIFACT_S3_UPLOAD_PART_SIZE_MIB` (5 to 5120) and
    /// `ARTIFACT_S3_UPLOAD_THREADS`, the number of parts in flight; and by `TIPHYS_S3_REDIRECTS`.
    /// The clouds' own variables ([`crate::VARIABLES`]) are taken with them.
    ///
    /// # Errors
    /// A message that names the variable whose value is not usable.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str, range: std::ops::RangeInclusive<usize>| {
            let Some(text) = lookup(name).filter(|text| !text.is_empty()) else { return Ok(None) };
            match text.parse() {
                Ok(number) if range.contains(&number) => Ok(Some(number)),
                _ => Err(format!("{name}={text:?} is not a number from {} to {}", range.start(), range.end())),
            }
        };
        let mut options = Options { environment: Environment::from_lookup(&lookup), ..Options::default() };
        if let Some(size) = number("ARTIFACT_S3_UPLOAD_PART_SIZE_MIB", PART_SIZES)? {
            options.part_size = size << 20;
            options.memory = options.memory.max(options.part_size);
        }
        if let Some(threads) = number("ARTIFACT_S3_UPLOAD_THREADS", 1..=1000)? {
            options.memory = options.part_size * threads;
        }
        if let Some(text) = lookup(REDIRECTS).filter(|text| !text.is_empty()) {
            options.redirects = serde_json::from_str(&text)
                .map_err(|error| format!("{REDIRECTS} is no JSON object of endpoints and addresses: {error}"))?;
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_change_the_defaults() {
        let of = |pairs: &[(&str, &str)]| {
            Options::from_lookup(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string()))
        };
        assert_eq!(of(&[]).unwrap(), Options::default());
        let set = of(&[("ARTIFACT_S3_UPLOAD_PART_SIZE_MIB", "16"), ("ARTIFACT_S3_UPLOAD_THREADS", "2")]).unwrap();
        assert_eq!((set.part_size, set.memory), (16 << 20, 32 << 20));
        let set = of(&[("TIPHYS_S3_REDIRECTS", "{\"minio:9000\": \"127.0.0.1:1\"}")]).unwrap();
        assert_eq!(set.redirects.get("minio:9000").map(String::as_str), Some("127.0.0.1:1"));
        assert!(of(&[("TIPHYS_S3_REDIRECTS", "minio")]).unwrap_err().contains("TIPHYS_S3_REDIRECTS"));
        let error = of(&[("ARTIFACT_S3_UPLOAD_THREADS", "many")]).unwrap_err();
        assert_eq!(error, "ARTIFACT_S3_UPLOAD_THREADS=\"many\" is not a number from 1 to 1000");
    }
}
