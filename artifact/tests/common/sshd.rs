//! Servers of ssh on loopback that run commands for whoever has a key of the tests: one in this process, and OpenSSH's
//! where the machine has it.
#![allow(dead_code, clippy::unwrap_used)] // Each binary uses its own part; a failed set-up fails the test.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use russh::keys::{PrivateKey, PublicKey, decode_secret_key};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ssh").join(name)
}

pub fn text(name: &str) -> String {
    std::fs::read_to_string(data(name)).unwrap()
}

/// What a server does otherwise than OpenSSH of today.
#[derive(Clone, Copy, Debug, Default)]
pub struct Odd {
    /// It takes no variables, so that git's older protocol is spoken.
    pub no_variables: bool,
    /// It closes the first connections after so many bytes of an answer.
    pub breaks: Option<(usize, usize)>,
}

pub struct Server {
    pub address: SocketAddr,
    /// Who logged in, and with which kind of key and signature.
    pub logins: Arc<Mutex<Vec<(String, String)>>>,
    /// What was run.
    pub commands: Arc<Mutex<Vec<String>>>,
    process: Option<Child>,
    _folder: Option<tempfile::TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A server in this process with the host keys of these names.
pub async fn start(host_keys: &[&str], odd: Odd) -> Server {
    let keys: Vec<PrivateKey> = host_keys.iter().map(|name| decode_secret_key(&text(name), None).unwrap()).collect();
    let config = Arc::new(server::Config {
        keys,
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: std::time::Duration::ZERO,
        nodelay: true,
        ..server::Config::default()
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (logins, commands): (Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<_>>>) = Default::default();
    let one = Connection { logins: logins.clone(), commands: commands.clone(), odd, ..Connection::default() };
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let breaks = odd.breaks.filter(|(connections, _)| number < *connections).map(|(_, bytes)| bytes);
            let (config, one) = (config.clone(), Connection { breaks, ..one.clone() });
            tokio::spawn(async move {
                // A client that goes away is part of the tests.
                if let Ok(session) = server::run_stream(config, stream, one).await {
                    let _ = session.await;
                }
            });
        }
    });
    Server { address, logins, commands, process: None, _folder: None }
}

#[derive(Clone, Default)]
struct Connection {
    logins: Arc<Mutex<Vec<(String, String)>>>,
    commands: Arc<Mutex<Vec<String>>>,
    odd: Odd,
    breaks: Option<usize>,
    variables: HashMap<String, String>,
    inputs: HashMap<ChannelId, mpsc::UnboundedSender<Vec<u8>>>,
}

impl server::Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, shown: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let known = ["id_ed25519", "id_rsa", "id_ecdsa", "id_sec1"].iter().any(|name| {
            let key = PublicKey::from_openssh(&text(&format!("{name}.pub"))).unwrap();
            key.key_data() == shown.public_key.key_data()
        });
        if !known || user == "nobody" {
            return Ok(Auth::reject());
        }
        self.logins.lock().unwrap().push((user.to_owned(), shown.algorithm.to_string()));
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn env_request(
        &mut self,
        _channel: ChannelId,
        name: &str,
        value: &str,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if !self.odd.no_variables {
            self.variables.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let order = String::from_utf8(data.to_vec()).unwrap();
        self.commands.lock().unwrap().push(order.clone());
        let mut command = tokio::process::Command::new("sh");
        command.arg("-c").arg(&order).envs(&self.variables).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let (sender, mut input) = mpsc::unbounded_channel::<Vec<u8>>();
        self.inputs.insert(id, sender);
        session.channel_success(id)?;
        tokio::spawn(async move {
            while let Some(bytes) = input.recv().await {
                if stdin.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        });
        let (handle, mut left) = (session.handle(), self.breaks);
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            loop {
                let count = stdout.read(&mut buffer).await.unwrap();
                if count == 0 {
                    break;
                }
                if handle.data(id, buffer[..count].to_vec()).await.is_err() {
                    return;
                }
                if let Some(bytes) = &mut left {
                    *bytes = bytes.saturating_sub(count);
                    if *bytes == 0 {
                        let _ = handle.close(id).await;
                        return;
                    }
                }
            }
            let mut words = Vec::new();
            stderr.read_to_end(&mut words).await.unwrap();
            let _ = handle.extended_data(id, 1, words).await;
            let code = child.wait().await.unwrap().code().unwrap();
            let _ = handle.exit_status_request(id, code as u32).await;
            let _ = handle.eof(id).await;
            let _ = handle.close(id).await;
        });
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], _session: &mut Session) -> Result<(), russh::Error> {
        if let Some(input) = self.inputs.get(&id) {
            // The command may have ended.
            let _ = input.send(data.to_vec());
        }
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), russh::Error> {
        self.inputs.remove(&id);
        Ok(())
    }
}

/// OpenSSH's server, where `TIPHYS_TEST_SSHD` or the usual place has it.
pub fn openssh(host_keys: &[&str]) -> Option<Server> {
    let named = std::env::var_os("TIPHYS_TEST_SSHD").map(PathBuf::from);
    let program = named.unwrap_or_else(|| "/usr/sbin/sshd".into());
    if !program.exists() {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let own = ["id_ed25519", "id_rsa", "id_ecdsa", "id_sec1"].map(|name| text(&format!("{name}.pub")));
    std::fs::write(at("authorized"), own.concat()).unwrap();
    // The port is free again when the listener is gone, and nobody else takes it in that moment.
    let address = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let mut config = format!(
        "ListenAddress {address}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nAcceptEnv GIT_PROTOCOL\n",
        at("authorized").display()
    );
    for name in host_keys {
        std::fs::copy(data(name), at(name)).unwrap();
        std::fs::set_permissions(at(name), PermissionsExt::from_mode(0o600)).unwrap();
        config += &format!("HostKey {}\n", at(name).display());
    }
    std::fs::write(at("config"), config).unwrap();
    let mut command = Command::new(program);
    command.arg("-D").arg("-e").arg("-f").arg(at("config")).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    // It says so when it listens, and why when it does not.
    let mut said = std::io::BufReader::new(process.stderr.take().unwrap());
    let mut words = String::new();
    while !words.contains("listening on") {
        assert!(std::io::BufRead::read_line(&mut said, &mut words).unwrap() > 0, "sshd: {words}");
    }
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    let (logins, commands) = Default::default();
    Some(Server { address, logins, commands, process: Some(process), _folder: Some(folder) })
}
