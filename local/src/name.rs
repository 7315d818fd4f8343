//! Names of runs, random suffixes and uids.

use std::fmt;

/// The characters of Kubernetes' random suffixes: no vowels and nothing that looks like another character.
const SUFFIX: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Argo's limit for names of workflows: they become label values. argo: validate.go.
const MAX_NAME: usize = 63;

/// A name that a run cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} cannot be the name of a run: use at most 63 lower case letters, digits, '-' and '.', beginning and ending \
     with a letter or digit"
)]
pub struct BadName {
    name: String,
}

/// The name of a run, which is also its folder's: a DNS subdomain of at most 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunName(String);

impl RunName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`BadName`] for what Kubernetes would refuse as the name of an object; so it is never a path out of its folder.
    pub fn new(name: &str) -> Result<RunName, BadName> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let good = name.len() <= MAX_NAME
            && name.starts_with(inner)
            && name.ends_with(inner)
            && name.chars().all(|c| inner(c) || c == '-' || c == '.')
            && !name.contains("..");
        if good { Ok(RunName(name.to_owned())) } else { Err(BadName { name: name.to_owned() }) }
    }

    /// A new name from a `generateName`: it is cut so that five random characters fit, as Kubernetes does.
    ///
    /// # Errors
    /// [`BadName`] when the prefix itself cannot begin a name.
    pub fn generate(prefix: &str) -> Result<RunName, BadName> {
        let kept: String = prefix.chars().take(MAX_NAME - 5).collect();
        let suffix: String =
            rand::random::<[u8; 5]>().iter().map(|b| SUFFIX[usize::from(*b) % SUFFIX.len()] as char).collect();
        RunName::new(&format!("{kept}{suffix}")).map_err(|_| BadName { name: prefix.to_owned() })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A random UUID (version 4), as Kubernetes gives to objects.
pub fn random_uid() -> String {
    let mut bytes = rand::random::<[u8; 16]>();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_kubernetes_takes() {
        for (name, good) in [
            ("a", true),
            ("hello-world-x7k2p", true),
            ("1.2.3", true),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("A", false),
            ("a_b", false),
            ("a/b", false),
            ("..", false),
            ("a..b", false),
            ("a\0", false),
        ] {
            assert_eq!(RunName::new(name).is_ok(), good, "{name:?}");
        }
        assert!(RunName::new(&"a".repeat(63)).is_ok());
        assert!(RunName::new(&"a".repeat(64)).is_err());
    }

    #[test]
    fn generated_names_keep_their_prefix_and_fit() {
        let name = RunName::generate("hello-").unwrap();
        assert!(name.as_str().starts_with("hello-") && name.as_str().len() == 11, "{name}");
        assert_eq!(RunName::generate(&"a".repeat(80)).unwrap().as_str().len(), 63);
        assert_eq!(RunName::generate("Bad-").unwrap_err(), BadName { name: "Bad-".into() });
    }

    #[test]
    fn uids_are_version_4() {
        let uid = random_uid();
        assert_eq!((uid.len(), &uid[14..15]), (36, "4"));
        assert!(matches!(&uid[19..20], "8" | "9" | "a" | "b"), "{uid}");
        assert_ne!(uid, random_uid());
    }
}
