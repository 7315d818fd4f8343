//! Which keys servers have: files in the form of OpenSSH's `known_hosts`, found where Argo's git library looks for them,
//! and for three hosts that everybody uses the keys that they publish.

use std::io;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use russh::keys::{PublicKey, parse_public_key_base64};

use crate::environment::Environment;
use crate::error::{Error, Result};

/// The hosts' own words: docs.github.com, docs.gitlab.com and support.atlassian.com. A file that has keys for one of them
/// takes their place.
const PUBLISHED: [(&str, &str); 3] = [
    ("github.com", "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"),
    ("gitlab.com", "AAAAC3NzaC1lZDI1NTE5AAAAIAfuCHKVTjquxvt6CM6tdG4SLp1Btn/nOeHHE5UOzRdf"),
    ("bitbucket.org", "AAAAC3NzaC1lZDI1NTE5AAAAIIazEu89wgQZ4bqs3d63QSMzYVa0MuJ2e2gKTKqu+UUO"),
];

/// What is known of one host.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Its keys.
    pub(super) keys: Vec<PublicKey>,
    /// Keys that it had, and that somebody else has now.
    pub(super) revoked: Vec<PublicKey>,
}

/// The files that there are: those that `SSH_KNOWN_HOSTS` lists, or else the user's and the machine's.
///
/// # Errors
/// When one of them cannot be read.
pub(super) fn texts(environment: &Environment) -> Result<Vec<String>> {
    let files: Vec<PathBuf> = match environment.get("SSH_KNOWN_HOSTS") {
        Some(list) => std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => {
            let own = environment.get("HOME").map(|home| PathBuf::from(home).join(".ssh/known_hosts"));
            own.into_iter().chain(["/etc/ssh/ssh_known_hosts".into()]).collect()
        }
    };
    let mut texts = Vec::new();
    for file in files {
        match std::fs::read(&file) {
            Ok(bytes) => texts.push(String::from_utf8_lossy(&bytes).into_owned()),
            Err(gone) if matches!(gone.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(source) => return Err(Error::io(|| format!("reading the known hosts in {}", file.display()), source)),
        }
    }
    Ok(texts)
}

/// What the texts, or else the hosts themselves, say of a host.
pub(super) fn known(texts: &[String], host: &str, port: u16) -> Known {
    let name = match port {
        22 => host.to_ascii_lowercase(),
        port => format!("[{}]:{port}", host.to_ascii_lowercase()),
    };
    let mut known = Known::default();
    for line in texts.iter().flat_map(|text| text.lines()) {
        read(line, &name, &mut known);
    }
    if known.keys.is_empty() {
        let published = PUBLISHED.iter().filter(|(host, _)| *host == name);
        known.keys.extend(published.filter_map(|(_, key)| parse_public_key_base64(key).ok()));
    }
    known
}

/// A line: `[@marker] hosts type key [comment]`. Lines of other forms say nothing, as for OpenSSH.
fn read(line: &str, name: &str, known: &mut Known) {
    let mut words = line.split_ascii_whitespace();
    let first = words.next().filter(|first| !first.starts_with('#'));
    let (marker, hosts) = match first {
        Some(marker) if marker.starts_with('@') => (Some(marker), words.next()),
        hosts => (None, hosts),
    };
    let (Some(hosts), Some(_), Some(key)) = (hosts, words.next(), words.next()) else { return };
    if !names(hosts, name) {
        return;
    }
    let Ok(key) = parse_public_key_base64(key) else { return };
    match marker {
        None => known.keys.push(key),
        Some("@revoked") => known.revoked.push(key),
        // Authorities sign certificates, which are not asked for.
        Some(_) => {}
    }
}

/// Whether a list of patterns names the host. One with `!` takes back what others say.
fn names(hosts: &str, name: &str) -> bool {
    let mut named = false;
    for pattern in hosts.split(',') {
        if let Some(hashed) = pattern.strip_prefix("|1|") {
            named |= is_hash(hashed, name);
        } else if let Some(pattern) = pattern.strip_prefix('!') {
            if matches(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()) {
                return false;
            }
        } else {
            named |= matches(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes());
        }
    }
    named
}

fn is_hash(hashed: &str, name: &str) -> bool {
    let parts =
        hashed.split_once('|').and_then(|(salt, sum)| Some((STANDARD.decode(salt).ok()?, STANDARD.decode(sum).ok()?)));
    parts.is_some_and(|(salt, sum)| {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
        hmac::verify(&key, name.as_bytes(), &sum).is_ok()
    })
}

/// Whether the text is of a pattern with `*` and `?`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // Where the last star was, and how much of the text it has taken so far.
    let mut star = None;
    let (mut p, mut t) = (0, 0);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, t) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    fn count(text: &str, host: &str, port: u16) -> (usize, usize) {
        let known = known(&[text.to_owned()], host, port);
        (known.keys.len(), known.revoked.len())
    }

    #[test]
    fn lines_name_hosts_in_each_form() {
        for (hosts, host, port, found) in [
            ("host", "host", 22, true),
            ("host", "HOST", 22, true),
            ("host", "host", 2222, false),
            ("[host]:2222", "host", 2222, true),
            ("other,host", "host", 22, true),
            ("*.example.com", "git.example.com", 22, true),
            ("*.example.com", "example.com", 22, false),
            ("h?st", "host", 22, true),
            ("*,!host", "host", 22, false),
            // ssh-keygen -H of example.com.
            ("|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak=", "example.com", 22, true),
            ("|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak=", "example.org", 22, false),
            ("|1|broken", "broken", 22, false),
        ] {
            assert_eq!(
                count(&format!("{hosts} {A} a comment"), host, port).0,
                usize::from(found),
                "{hosts} for {host}"
            );
        }
    }

    #[test]
    fn markers_and_nonsense() {
        let text = format!(
            "# host {A}\n\nhost\nhost ssh-ed25519 nonsense\n@revoked host {A}\n@cert-authority host {B}\n\thost  {B}"
        );
        assert_eq!(count(&text, "host", 22), (1, 1));
    }

    #[test]
    fn published_keys_are_used_where_files_say_nothing() {
        for (host, _) in PUBLISHED {
            assert_eq!(count("", host, 22).0, 1, "{host}");
            assert_eq!(count(&format!("{host} {A}\n{host} {B}"), host, 22).0, 2, "{host}");
            assert_eq!(count("", host, 443).0, 0, "{host}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC{0,80}", name in "[a-z.*]{1,8}") {
            let _ = known(std::slice::from_ref(&text), &name, 22);
            let _ = known(&[format!("{name} {A}\n|1|{text} {B}\n{text} {A}")], &name, 22);
        }
    }
}
