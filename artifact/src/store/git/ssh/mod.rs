//! Git over ssh, in process: the executor's image has no ssh program.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, AuthResult, Msg};
use russh::keys::{
    Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, decode_secret_key,
};
use russh::{Channel, Preferred};
use tokio::runtime::Handle;

use super::address::{Host, Path};
use super::fault::Fault;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::names;
use crate::retry::Retry;
use crate::secret::Secret;

mod known_hosts;
mod upload_pack;

pub(super) use upload_pack::Older;
use upload_pack::UploadPack;

/// A server that does not take the connection in this time is tried again.
const CONNECT: Duration = Duration::from_secs(10);
/// The same for the exchange of keys, the login, and each piece that is sent.
const ANSWER: Duration = Duration::from_secs(60);

/// Who asks, and whom it trusts.
#[derive(Clone)]
pub(super) struct Ssh {
    key: Arc<PrivateKey>,
    /// None: any host is trusted.
    hosts: Option<Arc<Vec<String>>>,
    /// Time after which a silent server is asked whether it is there.
    stall: Duration,
}

impl fmt::Debug for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ssh").field("checked", &self.hosts.is_some()).finish_non_exhaustive()
    }
}

impl Ssh {
    /// # Errors
    /// For a key that cannot be used, and when the known hosts cannot be read.
    pub(super) fn new(key: &Secret, any_host: bool, environment: &Environment, retry: &Retry) -> Result<Self> {
        let key = decode_secret_key(key.expose(), None).map_err(|_| {
            // The reader's message could quote the key.
            let forms = "of OpenSSH or in PEM, without a passphrase";
            Error::Refused(format!("artifacts[].git.sshPrivateKeySecret holds no private key {forms}"))
        })?;
        let hosts = if any_host { None } else { Some(Arc::new(known_hosts::texts(environment)?)) };
        Ok(Ssh { key: Arc::new(key), hosts, stall: retry.stall })
    }

    /// Opens a connection for one fetch of the repository that `url` names in full. The calling thread is one that may
    /// wait.
    pub(super) fn open(
        &self,
        host: &Host,
        path: &Path,
        url: &str,
        runtime: &Handle,
        fault: &Fault,
    ) -> Result<UploadPack> {
        let doing = format!("cloning {url}");
        let (session, channel) = runtime.block_on(self.connect(host, path, &doing))?;
        Ok(UploadPack::new(session, channel, doing, url, runtime, fault))
    }

    async fn connect(&self, host: &Host, path: &Path, doing: &str) -> Result<(client::Handle<Guard>, Channel<Msg>)> {
        let guard = Guard {
            host: host.clone(),
            known: self.hosts.as_ref().map(|texts| known_hosts::known(texts, &host.name, host.port)),
        };
        let config = client::Config {
            preferred: Preferred { key: algorithms(guard.known.as_ref()).into(), ..Preferred::default() },
            keepalive_interval: Some(self.stall),
            keepalive_max: 2,
            nodelay: true,
            ..client::Config::default()
        };
        let stream = in_time(doing, CONNECT, names::connect(&host.name, host.port)).await?;
        let session = client::connect_stream(Arc::new(config), stream, guard);
        let mut session = in_time(doing, ANSWER, session).await?;
        if !in_time(doing, ANSWER, self.log_in(&mut session, &host.user)).await? {
            let why =
                format!("the server does not take the key of artifacts[].git.sshPrivateKeySecret for {:?}", host.user);
            return Err(Error::permanent(doing, why));
        }
        let begin = async {
            let channel = session.channel_open_session().await?;
            // A server that does not take the variable speaks the older protocol.
            channel.set_env(false, "GIT_PROTOCOL", "version=2").await?;
            channel.exec(true, format!("git-upload-pack {}", upload_pack::quoted(&path.0))).await?;
            Ok::<_, russh::Error>(channel)
        };
        let channel = in_time(doing, ANSWER, begin).await?;
        Ok((session, channel))
    }

    /// Whether the server takes the key.
    async fn log_in(&self, session: &mut client::Handle<Guard>, user: &str) -> std::result::Result<bool, russh::Error> {
        let hashes = match self.key.algorithm().is_rsa() {
            false => vec![None],
            true => match session.best_supported_rsa_hash().await? {
                Some(hash) => vec![hash],
                // It does not say. What it took before there was anything to say comes last.
                None => vec![Some(HashAlg::Sha512), None],
            },
        };
        for hash in hashes {
            let key = PrivateKeyWithHashAlg::new(self.key.clone(), hash);
            if matches!(session.authenticate_publickey(user, key).await?, AuthResult::Success) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Waits for so long at most.
async fn in_time<T, E: Into<Stop>>(
    doing: &str,
    time: Duration,
    work: impl Future<Output = std::result::Result<T, E>>,
) -> Result<T> {
    match tokio::time::timeout(time, work).await {
        Ok(outcome) => outcome.map_err(|stop| match stop.into() {
            Stop::Untrusted(why) => Error::permanent(doing, why),
            Stop::Ssh(error) if passes(&error) => Error::transient(doing, error),
            Stop::Ssh(error) => Error::permanent(doing, error),
        }),
        Err(_) => Err(Error::transient(doing, format!("no answer in {time:?}"))),
    }
}

/// Whether a connection may work the next time.
fn passes(error: &russh::Error) -> bool {
    use russh::Error as E;
    let broken = matches!(error, E::IO(_) | E::HUP | E::Disconnect | E::SendError | E::PacketAuth | E::DecryptionError);
    let late = matches!(error, E::ConnectionTimeout | E::KeepaliveTimeout | E::InactivityTimeout | E::Elapsed(_));
    broken || late || matches!(error, E::Pending | E::ChannelOpenFailure(_))
}

/// The kinds of host keys that are asked for: those that are known, since a server shows only one of its keys. All of
/// them where none is known, so that the message can say which key the host has.
fn algorithms(known: Option<&known_hosts::Known>) -> Vec<Algorithm> {
    let all = Preferred::DEFAULT.key.to_vec();
    let Some(known) = known else { return all };
    let is_known = |algorithm: &Algorithm| {
        known.keys.iter().any(|key| match (key.algorithm(), algorithm) {
            (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
            (known, asked) => known == *asked,
        })
    };
    let asked: Vec<Algorithm> = all.iter().filter(|algorithm| is_known(algorithm)).cloned().collect();
    if asked.is_empty() { all } else { asked }
}

/// Why a session ended.
#[derive(Debug)]
enum Stop {
    /// The host's key is not one that is known.
    Untrusted(String),
    Ssh(russh::Error),
}

impl From<russh::Error> for Stop {
    fn from(error: russh::Error) -> Self {
        Stop::Ssh(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Ssh(error.into())
    }
}

/// Looks at the host's key.
struct Guard {
    host: Host,
    known: Option<known_hosts::Known>,
}

impl Guard {
    fn judge(&self, key: &PublicKey) -> std::result::Result<(), String> {
        let Some(known) = &self.known else { return Ok(()) };
        let same = |other: &PublicKey| other.key_data() == key.key_data();
        let Host { name, port, .. } = &self.host;
        let shown = format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256));
        if known.revoked.iter().any(same) {
            return Err(format!("the key of host {name} ({shown}) is revoked in the known hosts"));
        }
        if known.keys.iter().any(same) {
            return Ok(());
        }
        let scan = "ssh-keyscan prints it; compare it with what the host's owner publishes";
        Err(match known.keys.is_empty() {
            true => format!(
                "the key of host {name}, port {port} ({shown}) is not known: put it into a file that the variable \
                 SSH_KNOWN_HOSTS names ({scan}), or set artifacts[].git.insecureIgnoreHostKey to true"
            ),
            false => format!(
                "host {name}, port {port} has another key ({shown}) than the one that is known: it was changed, or \
                 somebody else answers. Put the new one into the known hosts if it is right ({scan})"
            ),
        })
    }
}

impl client::Handler for Guard {
    type Error = Stop;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> std::result::Result<bool, Stop> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.judge(key).map(|()| true).map_err(Stop::Untrusted),
            PublicKeyOrCertificate::Certificate(_) => {
                Err(Stop::Untrusted("the host shows a certificate instead of a key".into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_text_is_in_no_message() {
        let retry = Retry::default();
        let error = Ssh::new(&Secret::new("hunter2"), true, &Environment::default(), &retry).unwrap_err().to_string();
        assert!(error.contains("sshPrivateKeySecret") && !error.contains("hunter2"), "{error}");
    }
}
