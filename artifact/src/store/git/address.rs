//! Where a repository is: an `http`, `https` or `ssh` URL, or `user@host:path` as scp writes it.

use std::fmt;

use reqwest::Url;

/// The port of ssh.
const PORT: u16 = 22;
/// Whom everybody logs in as for git (argo: git.go, GetUser).
const USER: &str = "git";

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// Over HTTP. Credentials were taken out.
    Web(Url),
    /// Over ssh.
    Ssh(Host, Path),
}

/// A server that is reached by ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) user: String,
    pub(super) name: String,
    pub(super) port: u16,
}

/// A path on such a server; a relative one begins at the user's home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(pub(super) String);

impl Address {
    /// The address that a text names; none for any other form. Credentials of web addresses stay in them.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !text.contains("://") {
            return scp(text);
        }
        let url: Url = text.parse().ok()?;
        match url.scheme() {
            "http" | "https" => Some(Address::Web(url)),
            "ssh" | "git+ssh" | "ssh+git" if url.password().is_none() => {
                let name = url.host_str()?.trim_matches(['[', ']']).to_owned();
                let user = Some(unescaped(url.username())).filter(|user| !user.is_empty());
                let host = Host { user: user.unwrap_or_else(|| USER.into()), name, port: url.port().unwrap_or(PORT) };
                let path = unescaped(url.path());
                // `/~somebody` is a home, which the server looks up.
                let path = if path.starts_with("/~") { path[1..].to_owned() } else { path };
                (!matches!(path.as_str(), "" | "/") && !host.name.is_empty()).then_some(Address::Ssh(host, Path(path)))
            }
            _ => None,
        }
    }

    /// A submodule's address, which may be relative to its repository's.
    pub(super) fn join(&self, text: &str) -> Option<Self> {
        if !text.starts_with("./") && !text.starts_with("../") {
            return Address::parse(text);
        }
        match self {
            Address::Web(url) => {
                let folder: Url = format!("{}/", url.as_str().trim_end_matches('/')).parse().ok()?;
                Some(Address::Web(folder.join(text).ok()?))
            }
            Address::Ssh(host, Path(path)) => {
                let mut parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
                for part in text.split('/').filter(|part| !part.is_empty()) {
                    match part {
                        "." => {}
                        ".." => drop(parts.pop()?),
                        name => parts.push(name),
                    }
                }
                let path = parts.join("/");
                (!path.trim_matches('/').is_empty()).then(|| Address::Ssh(host.clone(), Path(path)))
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Web(url) => url.fmt(f),
            Address::Ssh(Host { user, name, port: PORT }, Path(path)) => write!(f, "{user}@{name}:{path}"),
            Address::Ssh(Host { user, name, port }, Path(path)) => {
                let slash = if path.starts_with('/') { "" } else { "/" };
                write!(f, "ssh://{user}@{name}:{port}{slash}{path}")
            }
        }
    }
}

/// `[user@]host:[port:]path`.
fn scp(text: &str) -> Option<Address> {
    let (place, path) = text.split_once(':')?;
    let (user, name) = place.rsplit_once('@').unwrap_or((USER, place));
    let odd = |part: &str| part.is_empty() || part.contains(['/', '\\']) || part.contains(char::is_whitespace);
    let (port, path) = match path.split_once(':').map(|(port, path)| (port.parse(), path)) {
        Some((Ok(port), path)) => (port, path),
        _ => (PORT, path),
    };
    let host = Host { user: user.into(), name: name.into(), port };
    (!odd(user) && !odd(name) && !path.is_empty()).then(|| Address::Ssh(host, Path(path.into())))
}

/// The text without its escapes; what is no UTF-8 then is left as it was.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        let hex = others.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &others[2..] } else { others };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(user: &str, name: &str, port: u16, path: &str) -> Option<Address> {
        Some(Address::Ssh(Host { user: user.into(), name: name.into(), port }, Path(path.into())))
    }

    #[test]
    fn each_form_is_read() {
        for (text, address) in [
            ("git@github.com:org/app.git", ssh("git", "github.com", 22, "org/app.git")),
            ("github.com:org/app.git", ssh("git", "github.com", 22, "org/app.git")),
            ("me@host:/srv/app", ssh("me", "host", 22, "/srv/app")),
            ("me@host:2222:app", ssh("me", "host", 2222, "app")),
            ("ssh://host/srv/app", ssh("git", "host", 22, "/srv/app")),
            ("ssh://me@host:2222/srv/a%20b", ssh("me", "host", 2222, "/srv/a b")),
            ("ssh://me@[::1]:2222/~you/app", ssh("me", "::1", 2222, "~you/app")),
            ("git+ssh://host/app", ssh("git", "host", 22, "/app")),
            ("ssh://me:password@host/app", None),
            ("ssh://host", None),
            ("git://host/app", None),
            ("file:///srv/app", None),
            ("/srv/app", None),
            ("./a:b", None),
            ("host:", None),
            ("@host:app", None),
        ] {
            assert_eq!(Address::parse(text), address, "{text}");
            let again = address.as_ref().map(|address| Address::parse(&address.to_string()));
            // Only with a port of its own does a relative path become one from the root.
            assert!(again.is_none_or(|again| again == address || text == "me@host:2222:app" || text.contains('~')));
        }
        assert!(matches!(Address::parse("https://u:p@host/app"), Some(Address::Web(_))));
    }

    #[test]
    fn submodules_are_beside_their_repository() {
        for (at, text, address) in [
            ("git@host:org/app.git", "../lib.git", Some("git@host:org/lib.git")),
            ("git@host:app", "../lib", Some("git@host:lib")),
            ("git@host:app", "../../lib", None),
            ("ssh://git@host:2222/srv/app/", "./sub/../lib", Some("ssh://git@host:2222/srv/app/lib")),
            ("https://host/org/app", "../lib", Some("https://host/org/lib")),
            ("git@host:app", "https://other/lib", Some("https://other/lib")),
            ("git@host:app", "/srv/lib", None),
        ] {
            let joined = Address::parse(at).unwrap().join(text).map(|address| address.to_string());
            assert_eq!(joined.as_deref(), address, "{at} and {text}");
        }
    }
}
