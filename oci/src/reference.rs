//! Names of images, read and completed as docker does: `busybox` is `docker.io/library/busybox:latest`.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::Error;

/// The registry of names that mention none.
const HUB: &str = "docker.io";

/// A complete image reference: registry, repository, and a tag or a digest or both.
///
/// With both, the digest decides, as with docker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Host, perhaps with a port, of the registry, as in the name: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository in the registry: `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, `latest` unless the name has a tag or a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if the name has one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository at this digest.
    pub fn at(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// What stands for the image in a registry's paths: the digest, else the tag.
    pub(crate) fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The name under which the image is in the index: a tag beside a digest means nothing.
    pub(crate) fn index_key(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}/{}@{digest}", self.registry, self.repository),
            None => self.to_string(),
        }
    }
}

/// The complete name.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::Reference { text: text.to_owned(), reason };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(refuse)?)),
            None => (text, None),
        };
        // A colon after the last slash begins a tag; one before it, a port.
        let colon = rest.rfind(':').filter(|&at| !rest[at..].contains('/'));
        let (name, tag) = match colon {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        if let Some(tag) = tag {
            check_tag(tag).map_err(refuse)?;
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_host(first) => (first, path),
            _ => (HUB, name),
        };
        check_host(registry).map_err(refuse)?;
        let registry = if registry == "index.docker.io" { HUB } else { registry };
        check_path(path).map_err(refuse)?;
        let repository = match registry == HUB && !path.contains('/') {
            true => format!("library/{path}"),
            false => path.to_owned(),
        };
        if registry.len() + 1 + repository.len() > 255 {
            return Err(refuse("the name is longer than 255 characters"));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

/// Whether the first part of a name is a registry and not the beginning of the repository.
fn is_host(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.bytes().any(|b| b.is_ascii_uppercase())
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let reason = Err("the registry is not a host name with an optional port");
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return reason;
    }
    if let Some(inner) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return if inner.parse::<std::net::Ipv6Addr>().is_ok() { Ok(()) } else { reason };
    }
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if name.split('.').all(label) { Ok(()) } else { reason }
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    let good = bytes.first().is_some_and(|&b| word(b)) && bytes.iter().all(|&b| word(b) || b == b'.' || b == b'-');
    if good && tag.len() <= 128 {
        Ok(())
    } else {
        Err("a tag has at most 128 letters, digits, '_', '.' and '-' and begins with one of the first three")
    }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("the name is empty");
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("a repository's name must be in lower case");
    }
    if path.split('/').all(is_component) {
        Ok(())
    } else {
        Err("a repository's name has parts of lower-case letters and digits, joined by '.', '_', '__', '-' or '/'")
    }
}

/// Letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    if !bytes.first().is_some_and(|&b| alphanumeric(b)) || !bytes.last().is_some_and(|&b| alphanumeric(b)) {
        return false;
    }
    part.split(|c: char| c.is_ascii() && alphanumeric(c as u8))
        .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, full: &str) {
        assert_eq!(text.parse::<Reference>().unwrap().to_string(), full);
    }

    #[test]
    fn names_are_completed_as_docker_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        check("busybox", "docker.io/library/busybox:latest");
        check("busybox:1.36", "docker.io/library/busybox:1.36");
        check("argoproj/argosay:v2", "docker.io/argoproj/argosay:v2");
        check("docker.io/busybox", "docker.io/library/busybox:latest");
        check("index.docker.io/a/b", "docker.io/a/b:latest");
        check("quay.io/a/b/c:x", "quay.io/a/b/c:x");
        check("localhost/a", "localhost/a:latest");
        check("localhost:5000/a:b", "localhost:5000/a:b");
        check("[::1]:5000/a", "[::1]:5000/a:latest");
        check("Upper/a", "Upper/a:latest");
        check("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest");
        check(&format!("busybox@{digest}"), &format!("docker.io/library/busybox@{digest}"));
        check(&format!("busybox:1@{digest}"), &format!("docker.io/library/busybox:1@{digest}"));
    }

    #[test]
    fn what_is_no_name_says_why() {
        for (text, reason) in [
            ("", "the name is empty"),
            ("Busybox", "a repository's name must be in lower case"),
            ("a/B", "a repository's name must be in lower case"),
            ("a:", "a tag has at most 128"),
            ("a:b c", "a tag has at most 128"),
            ("a@sha256:12", "a sha256 digest has 64"),
            ("a@md5:12", "only sha256 digests"),
            ("a//b", "a repository's name has parts"),
            ("a/../b", "a repository's name has parts"),
            ("a___b", "a repository's name has parts"),
            ("-a", "a repository's name has parts"),
            ("host.io:port/a", "the registry is not a host"),
            ("ho_st.io/a", "the registry is not a host"),
            ("http://host/a", "the registry is not a host"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_complete_name_stays_what_it_is(text in "\\PC{0,40}|[a-z.:/@_-]{0,30}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
            }
        }
    }
}
