//! Where the API server is and who we are: from the command line, a kubeconfig, or the Pod's service account.
//!
//! argo: cmd/argoexec/commands/root.go, with client-go's clientcmd below it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tiphys_artifact::Secret;

use super::ClusterError;
use super::kubeconfig;
use crate::args::ClusterFlags;
use crate::duration;
use crate::paths::Paths;

/// Variables that Kubernetes sets in every container.
const HOST: &str = "KUBERNETES_SERVICE_HOST";
const PORT: &str = "KUBERNETES_SERVICE_PORT";
/// Kubeconfig files, separated by colons.
const KUBECONFIG: &str = "KUBECONFIG";
/// The namespace where nothing tells one.
const DEFAULT_NAMESPACE: &str = "default";

/// How this process shows who it is.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Not at all, or by its TLS certificate.
    None,
    /// By a fixed token.
    Token(Secret),
    /// By a token in a file that is replaced now and then.
    TokenFile(PathBuf),
    /// By name and password.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
}

/// An API server and how to speak to it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its URL.
    pub server: String,
    /// The namespace of objects that name none.
    pub namespace: String,
    /// Who signs the server's certificate, in PEM; none for the machine's own list.
    pub authority: Option<Vec<u8>>,
    /// Take any certificate.
    pub insecure: bool,
    /// This process' certificate and key, in PEM.
    pub identity: Option<Secret>,
    /// How this process shows who it is.
    pub credentials: Credentials,
    /// A proxy on the way.
    pub proxy: Option<String>,
    /// An answer must come within this time.
    pub timeout: Option<Duration>,
    /// Headers that say in whose place to act.
    pub impersonate: Vec<(String, String)>,
}

impl Config {
    /// An API server, and nothing else known.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            namespace: DEFAULT_NAMESPACE.to_owned(),
            authority: None,
            insecure: false,
            identity: None,
            credentials: Credentials::None,
            proxy: None,
            timeout: None,
            impersonate: Vec::new(),
        }
    }

    /// What flags, kubeconfig and environment say together. None when there is no API server at all.
    ///
    /// # Errors
    /// [`ClusterError::Config`] for what is there but cannot be used.
    pub fn find(
        paths: &Paths,
        flags: &ClusterFlags,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ClusterError> {
        let set = |name| lookup(name).filter(|value: &String| !value.is_empty());
        refuse(flags)?;
        let mut config = match kubeconfig_files(flags, set(KUBECONFIG), set("HOME")) {
            Some(files) => Some(kubeconfig::read(&files, flags)?),
            None => in_cluster(&paths.service_account, set(HOST), set(PORT))?,
        };
        if let Some(server) = flags.get("server") {
            let mut known = config.unwrap_or_else(|| Self::new(""));
            server.clone_into(&mut known.server);
            config = Some(known);
        }
        config.map(|config| config.with_flags(flags)).transpose()
    }

    /// The command line has the last word.
    fn with_flags(mut self, flags: &ClusterFlags) -> Result<Self, ClusterError> {
        if let Some(namespace) = flags.get("namespace") {
            namespace.clone_into(&mut self.namespace);
        }
        if let Some(file) = flags.get("certificate-authority") {
            self.authority = Some(bytes(Path::new(file))?);
        }
        if flags.is_on("insecure-skip-tls-verify") {
            self.insecure = true;
            self.authority = None;
        }
        match (flags.get("client-certificate"), flags.get("client-key")) {
            (None, None) => {}
            (Some(certificate), Some(key)) => {
                self.identity = Some(identity(bytes(Path::new(certificate))?, &bytes(Path::new(key))?));
            }
            _ => return Err(wrong("--client-certificate and --client-key are needed both or not at all".to_owned())),
        }
        if let Some(username) = flags.get("username") {
            let password = Secret::new(flags.get("password").unwrap_or_default());
            self.credentials = Credentials::Basic { username: username.to_owned(), password };
        }
        if let Some(token) = flags.get("token") {
            self.credentials = Credentials::Token(Secret::new(token));
        }
        if let Some(proxy) = flags.get("proxy-url") {
            self.proxy = Some(proxy.to_owned());
        }
        if let Some(text) = flags.get("request-timeout") {
            let timeout = text.parse().map(Duration::from_secs).ok().or_else(|| duration::parse(text));
            let timeout = timeout.ok_or_else(|| wrong(format!("--request-timeout is {text:?}: expected 30s or 30")))?;
            self.timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        }
        self.impersonate.extend(flags.get("as").map(|user| ("Impersonate-User".to_owned(), user.to_owned())));
        self.impersonate.extend(flags.all("as-group").map(|group| ("Impersonate-Group".to_owned(), group.to_owned())));
        self.impersonate.extend(flags.get("as-uid").map(|uid| ("Impersonate-Uid".to_owned(), uid.to_owned())));
        Ok(self)
    }
}

/// Flags that would change what is sent, and that this client does not have.
fn refuse(flags: &ClusterFlags) -> Result<(), ClusterError> {
    for flag in ["tls-server-name", "as-user-extra"] {
        if flags.get(flag).is_some() {
            return Err(wrong(format!("flag --{flag} is not supported by this executor: leave it out")));
        }
    }
    Ok(())
}

/// The kubeconfig files that count: the one of the command line, those of the environment, or the user's own.
fn kubeconfig_files(flags: &ClusterFlags, variable: Option<String>, home: Option<String>) -> Option<Vec<PathBuf>> {
    if let Some(file) = flags.get("kubeconfig") {
        return Some(vec![file.into()]);
    }
    let listed = variable.map(|list| std::env::split_paths(&list).filter(|path| path.is_file()).collect::<Vec<_>>());
    let own = || home.map(|home| Path::new(&home).join(".kube/config")).filter(|path| path.is_file());
    listed.filter(|files| !files.is_empty()).or_else(|| own().map(|file| vec![file]))
}

/// What the kubelet puts into every Pod that has a service account. None where there is no token: the Pod's author did not
/// want it to speak to the API.
fn in_cluster(folder: &Path, host: Option<String>, port: Option<String>) -> Result<Option<Config>, ClusterError> {
    let token = folder.join("token");
    let (Some(host), true) = (host, token.is_file()) else { return Ok(None) };
    let port = port.unwrap_or_else(|| "443".to_owned());
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let mut config = Config::new(format!("https://{host}:{port}"));
    config.credentials = Credentials::TokenFile(token);
    let authority = folder.join("ca.crt");
    if authority.is_file() {
        config.authority = Some(bytes(&authority)?);
    }
    if let Ok(namespace) = fs::read_to_string(folder.join("namespace"))
        && !namespace.trim().is_empty()
    {
        namespace.trim().clone_into(&mut config.namespace);
    }
    Ok(Some(config))
}

/// Certificate and key as one text.
pub(super) fn identity(certificate: Vec<u8>, key: &[u8]) -> Secret {
    let mut pem = certificate;
    pem.push(b'\n');
    pem.extend_from_slice(key);
    Secret::new(String::from_utf8_lossy(&pem))
}

pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, ClusterError> {
    fs::read(path).map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))
}

pub(super) fn wrong(message: String) -> ClusterError {
    ClusterError::Config(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> ClusterFlags {
        let words = ["wait"].into_iter().chain(line.split_whitespace()).map(Into::into);
        crate::args::parse(words).unwrap().cluster
    }

    fn find(root: &Path, line: &str, variables: &[(&str, &str)]) -> Result<Option<Config>, String> {
        let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Config::find(&Paths::below(root), &flags(line), lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn a_service_account_is_found_where_kubernetes_puts_it() {
        let root = tempfile::tempdir().unwrap();
        let service = [(HOST, "fd00::1"), (PORT, "6443")];
        assert!(find(root.path(), "", &service).unwrap().is_none(), "no token, no API");
        let folder = Paths::below(root.path()).service_account;
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("token"), "t").unwrap();
        fs::write(folder.join("namespace"), "argo\n").unwrap();
        let config = find(root.path(), "", &service).unwrap().unwrap();
        assert_eq!((config.server.as_str(), config.namespace.as_str()), ("https://[fd00::1]:6443", "argo"));
        assert!(matches!(config.credentials, Credentials::TokenFile(path) if path == folder.join("token")));
        assert!(find(root.path(), "", &[]).unwrap().is_none());
    }

    #[test]
    fn the_command_line_has_the_last_word() {
        let root = tempfile::tempdir().unwrap();
        let line = "--server http://127.0.0.1:1 -n other --token secret --as bob --as-group=a --as-group b \
                    --request-timeout 5s --insecure-skip-tls-verify";
        let config = find(root.path(), line, &[]).unwrap().unwrap();
        assert_eq!((config.server.as_str(), config.namespace.as_str()), ("http://127.0.0.1:1", "other"));
        assert!(matches!(&config.credentials, Credentials::Token(token) if token.expose() == "secret"));
        let acting: Vec<_> = config.impersonate.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(acting, [("Impersonate-User", "bob"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b")]);
        assert_eq!((config.timeout, config.insecure), (Some(Duration::from_secs(5)), true));
        assert!(!format!("{config:?} {:?}", flags(line)).contains("secret"));
    }

    #[test]
    fn mistakes_are_named() {
        let root = tempfile::tempdir().unwrap();
        for (line, expected) in [
            ("--server x --client-key k", "--client-certificate and --client-key are needed both or not at all"),
            ("--server x --request-timeout soon", "--request-timeout is \"soon\": expected 30s or 30"),
            ("--tls-server-name x", "flag --tls-server-name is not supported by this executor: leave it out"),
            ("--server x --certificate-authority /no", "cannot read /no: No such file or directory (os error 2)"),
            ("--kubeconfig /no", "cannot read /no: No such file or directory (os error 2)"),
        ] {
            assert_eq!(find(root.path(), line, &[]).unwrap_err(), expected);
        }
    }
}
