//! Kubeconfig files: which cluster, as whom.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tiphys_api::yaml;
use tiphys_artifact::Secret;

use super::ClusterError;
use super::config::{Config, Credentials, bytes, identity, wrong};
use crate::args::ClusterFlags;

/// A file and what it says.
struct File<'a> {
    path: &'a Path,
    content: Value,
}

/// An entry of one of a kubeconfig's lists, and the file it stands in.
struct Entry<'f> {
    file: &'f Path,
    content: &'f Value,
}

/// Reads the files; where several have an entry of the same name, the first one's counts (client-go: loader.go).
///
/// # Errors
/// [`ClusterError::Config`] that names file and field.
pub fn read(paths: &[PathBuf], flags: &ClusterFlags) -> Result<Config, ClusterError> {
    let files: Vec<File<'_>> = paths.iter().map(|path| load(path)).collect::<Result<_, _>>()?;
    let shown = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let current = files.iter().find_map(|file| text(&file.content, "current-context"));
    let context = flags.get("context").or(current);
    let context = match context {
        Some(name) => Some(entry(&files, "contexts", "context", name, &shown)?),
        None => None,
    };
    let of_context = |field| context.as_ref().and_then(|context| text(context.content, field));
    let Some(cluster) = flags.get("cluster").or_else(|| of_context("cluster")) else {
        return Err(wrong(format!("kubeconfig {shown} has no current-context: name one with --context")));
    };
    let cluster = entry(&files, "clusters", "cluster", cluster, &shown)?;
    let mut config = Config::new(text(cluster.content, "server").unwrap_or_default());
    if let Some(namespace) = of_context("namespace") {
        namespace.clone_into(&mut config.namespace);
    }
    cluster.refuse("tls-server-name")?;
    config.insecure = cluster.content["insecure-skip-tls-verify"].as_bool().unwrap_or(false);
    config.authority = cluster.data("certificate-authority")?.filter(|_| !config.insecure);
    config.proxy = text(cluster.content, "proxy-url").map(str::to_owned);
    if let Some(name) = flags.get("user").or_else(|| of_context("user")) {
        as_user(&mut config, name, &entry(&files, "users", "user", name, &shown)?)?;
    }
    Ok(config)
}

fn as_user(config: &mut Config, name: &str, user: &Entry<'_>) -> Result<(), ClusterError> {
    for plugin in ["exec", "auth-provider"] {
        if let Some(plugged) = user.content.get(plugin).filter(|value| !value.is_null()) {
            let program = text(plugged, "command").or_else(|| text(plugged, "name")).unwrap_or_default();
            let file = user.file.display();
            return Err(wrong(format!(
                "kubeconfig {file}: user {name:?} authenticates with the {plugin} plugin {program:?}, which the executor \
                 does not run: use a token or a client certificate"
            )));
        }
    }
    if let (Some(certificate), Some(key)) = (user.data("client-certificate")?, user.data("client-key")?) {
        config.identity = Some(identity(certificate, &key));
    }
    if let Some(username) = text(user.content, "username") {
        let password = Secret::new(text(user.content, "password").unwrap_or_default());
        config.credentials = Credentials::Basic { username: username.to_owned(), password };
    }
    // As in client-go the file wins over the token beside it, since only the file is kept up to date.
    if let Some(token) = text(user.content, "token") {
        config.credentials = Credentials::Token(Secret::new(token));
    }
    if let Some(path) = text(user.content, "tokenFile") {
        config.credentials = Credentials::TokenFile(beside(user.file, path));
    }
    if let Some(other) = text(user.content, "as") {
        config.impersonate.push(("Impersonate-User".to_owned(), other.to_owned()));
    }
    let groups = user.content["as-groups"].as_array().into_iter().flatten().filter_map(Value::as_str);
    config.impersonate.extend(groups.map(|group| ("Impersonate-Group".to_owned(), group.to_owned())));
    Ok(())
}

fn load(path: &Path) -> Result<File<'_>, ClusterError> {
    let content = String::from_utf8(bytes(path)?).map_err(|error| error.to_string());
    let content = content.and_then(|text| yaml::to_json(&text).map_err(|error| error.to_string()));
    let content = content.map_err(|error| wrong(format!("kubeconfig {}: {error}", path.display())))?;
    Ok(File { path, content })
}

fn entry<'f>(
    files: &'f [File<'_>],
    list: &str,
    field: &str,
    name: &str,
    shown: &str,
) -> Result<Entry<'f>, ClusterError> {
    let of_file = |file: &'f File<'_>| {
        let entries = file.content[list].as_array().into_iter().flatten();
        let mut named = entries.filter(|entry| entry["name"].as_str() == Some(name));
        named.next().map(|entry| Entry { file: file.path, content: &entry[field] })
    };
    let missing = || wrong(format!("kubeconfig {shown} has no {field} {name:?}"));
    files.iter().find_map(of_file).ok_or_else(missing)
}

impl Entry<'_> {
    /// What a field holds: inline in base64 as `<field>-data`, or in the file that it names.
    fn data(&self, field: &str) -> Result<Option<Vec<u8>>, ClusterError> {
        if let Some(inline) = text(self.content, &format!("{field}-data")) {
            let file = self.file.display();
            let decoded = STANDARD.decode(inline.trim());
            return decoded.map(Some).map_err(|_| wrong(format!("kubeconfig {file}: {field}-data is not base64")));
        }
        text(self.content, field).map(|path| bytes(&beside(self.file, path))).transpose()
    }

    fn refuse(&self, field: &str) -> Result<(), ClusterError> {
        match text(self.content, field) {
            None => Ok(()),
            Some(_) => Err(wrong(format!(
                "kubeconfig {}: {field} is not supported by this executor: leave it out",
                self.file.display()
            ))),
        }
    }
}

/// Paths in a kubeconfig are relative to its folder.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("/")).join(path)
}

fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value[field].as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const FILE: &str = "apiVersion: v1\nkind: Config\ncurrent-context: one\ncontexts:\n\
        - {name: one, context: {cluster: c, user: u, namespace: argo}}\n\
        - {name: two, context: {cluster: c, user: plugged}}\n\
        - {name: three, context: {cluster: c, user: file}}\n\
        clusters:\n- name: c\n  cluster: {server: 'https://h:6443', certificate-authority-data: Y2E=}\n\
        users:\n- {name: u, user: {client-certificate-data: Y2VydA==, client-key: key.pem, as: bob}}\n\
        - {name: plugged, user: {exec: {command: aws}}}\n\
        - {name: file, user: {token: old, tokenFile: token}}\n";

    fn config(line: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        fs::write(&file, FILE).unwrap();
        fs::write(folder.path().join("key.pem"), "key").unwrap();
        let words = ["wait"].into_iter().chain(line.split_whitespace()).map(Into::into);
        let flags = crate::args::parse(words).unwrap().cluster;
        read(&[file], &flags).map_err(|error| error.to_string().replace(&folder.path().display().to_string(), ""))
    }

    #[test]
    fn a_context_tells_cluster_user_and_namespace() {
        let one = config("").unwrap();
        assert_eq!((one.server.as_str(), one.namespace.as_str()), ("https://h:6443", "argo"));
        assert_eq!(one.authority.as_deref(), Some("ca".as_bytes()));
        assert_eq!(one.identity.as_ref().map(|pem| pem.expose()), Some("cert\nkey"));
        assert_eq!(one.impersonate, [("Impersonate-User".to_owned(), "bob".to_owned())]);
        let three = config("--context three").unwrap();
        assert!(matches!(&three.credentials, Credentials::TokenFile(path) if path.ends_with("token")));
        assert_eq!(three.namespace, "default");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (line, expected) in [
            (
                "--context two",
                "kubeconfig /config: user \"plugged\" authenticates with the exec plugin \"aws\", which the executor does \
                 not run: use a token or a client certificate",
            ),
            ("--context four", "kubeconfig /config has no context \"four\""),
            ("--user nobody", "kubeconfig /config has no user \"nobody\""),
        ] {
            assert_eq!(config(line).unwrap_err(), expected);
        }
    }
}
