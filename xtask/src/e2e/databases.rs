//! The tests of the archive and of shared locks on a real PostgreSQL and a real MariaDB: Debian's packages, started as ordinary processes on loopback
//! for as long as the tests take.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, install, is_on_path, run};

/// The longest that a server may take to answer.
const START: Duration = Duration::from_secs(30);
const DEBIAN_POSTGRES: &str = "/usr/lib/postgresql";
/// Known to these servers alone, on loopback, while the tests run.
pub const PASSWORD: &str = "e2e";
/// Their administrator.
pub const USER: &str = "e2e";

/// Runs the tests of the archive and of shared locks with both servers.
///
/// # Errors
/// When a server cannot be had, or a test fails.
pub fn run_tests() -> Result<()> {
    let folder = folder()?;
    let postgres = Server::postgres(&folder.path().join("postgres"))?;
    let mariadb = Server::mariadb(&folder.path().join("mariadb"))?;
    // With the whole workspace chosen, as in `cargo test`, nothing is built anew.
    let mut tests = cargo(&["test", "--workspace", "--test", "databases", "--test", "lock_tables"]);
    tests.env("TIPHYS_TEST_POSTGRES", &postgres.url).env("TIPHYS_TEST_MYSQL", &mariadb.url);
    run(tests)
}

/// A temporary folder that the servers' own users can enter.
///
/// # Errors
/// When there is none to be had.
pub fn folder() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    run(program("chmod", &["0755", &text(folder.path())?]))?;
    Ok(folder)
}

/// A server that ends with this value.
pub struct Server {
    /// Its address, with the name and password of its administrator.
    pub url: String,
    /// Its port on loopback.
    pub port: u16,
    child: Child,
    /// How it is told to end.
    signal: &'static str,
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut kill = program("kill", &[self.signal, &self.child.id().to_string()]);
        // Where it does not end so, it ends with its folder gone.
        if kill.status().is_ok_and(|status| status.success()) {
            let _ = self.child.wait();
        } else {
            let _ = self.child.kill();
        }
    }
}

impl Server {
    /// PostgreSQL with its files in a folder.
    ///
    /// # Errors
    /// When it is not there and cannot be installed, or does not start.
    pub fn postgres(folder: &Path) -> Result<Self> {
        let programs = match postgres_programs() {
            Some(programs) => programs,
            None => {
                install("PostgreSQL", &["postgresql"])?;
                postgres_programs().with_context(|| format!("no PostgreSQL below {DEBIAN_POSTGRES}"))?
            }
        };
        std::fs::create_dir_all(folder)?;
        let (data, port) = (text(&folder.join("data"))?, free_port()?);
        let secret = folder.join("password");
        std::fs::write(&secret, PASSWORD)?;
        // It refuses to run as root.
        let user = User::of(folder, "postgres")?;
        let secret = format!("--pwfile={}", text(&secret)?);
        let at = |name: &str| text(&programs.join(name));
        let options = ["--pgdata", &data, "--username", "e2e", "--auth", "scram-sha-256", "--no-sync", &secret];
        let mut make = user.program(&at("initdb")?, &options);
        make.stdout(Stdio::null());
        run(make)?;
        let sockets = text(folder)?;
        let (number, url) = (port, format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}"));
        let port = port.to_string();
        let options = ["-D", &data, "-h", "127.0.0.1", "-p", &port, "-k", &sockets, "-c", "fsync=off"];
        let child = user.program(&at("postgres")?, &options).stderr(Stdio::null()).spawn().context("postgres")?;
        // A fast end: nobody is waited for.
        let server = Self { url, port: number, child, signal: "-INT" };
        let answers = || program(&at("pg_isready").unwrap_or_default(), &["-q", "-h", "127.0.0.1", "-p", &port]);
        server.wait_for("PostgreSQL", answers)
    }

    /// MariaDB with its files in a folder.
    ///
    /// # Errors
    /// As [`Server::postgres`].
    pub fn mariadb(folder: &Path) -> Result<Self> {
        let (server, make) = ("/usr/sbin/mariadbd", "mariadb-install-db");
        if !Path::new(server).is_file() || !is_on_path(make) {
            install("MariaDB", &["mariadb-server"])?;
        }
        std::fs::create_dir_all(folder)?;
        let user = User::of(folder, "mysql")?;
        let (data, socket, port) = (text(&folder.join("data"))?, text(&folder.join("socket"))?, free_port()?);
        let data = format!("--datadir={data}");
        let options = ["--no-defaults", &data, "--auth-root-authentication-method=normal", "--skip-test-db"];
        let mut made = user.program(make, &options);
        made.stdout(Stdio::null());
        run(made)?;
        let grant = folder.join("grant.sql");
        let words =
            format!("create user e2e@'127.0.0.1' identified by '{PASSWORD}';\ngrant all on *.* to e2e@'127.0.0.1';\n");
        std::fs::write(&grant, words)?;
        let own = [
            format!("--socket={socket}"),
            format!("--port={port}"),
            format!("--init-file={}", text(&grant)?),
            format!("--pid-file={}", text(&folder.join("pid"))?),
        ];
        let mut options = vec!["--no-defaults", &data, "--bind-address=127.0.0.1", "--skip-name-resolve"];
        options.extend(own.iter().map(String::as_str));
        let child = user.program(server, &options).stderr(Stdio::null()).spawn().context("mariadbd")?;
        let url = format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{port}");
        let begun = Self { url, port, child, signal: "-TERM" };
        let (user, password, port) = ("--user=e2e", format!("--password={PASSWORD}"), format!("--port={port}"));
        let answers = || {
            program("mariadb-admin", &["--no-defaults", "--host=127.0.0.1", "--silent", user, &password, &port, "ping"])
        };
        begun.wait_for("MariaDB", answers)
    }

    /// Asks until it answers.
    fn wait_for(mut self, name: &str, ask: impl Fn() -> Command) -> Result<Self> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{name} ended with {status}");
            }
            let mut asked = ask();
            if asked.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success() {
                return Ok(self);
            }
            if begun.elapsed() > START {
                bail!("{name} does not answer within {} s", START.as_secs());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The user as whom a server runs: its own where this process is root.
struct User(Option<(u32, u32)>);

impl User {
    /// Gives the folder to the user.
    fn of(folder: &Path, name: &str) -> Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        if std::fs::metadata("/proc/self")?.uid() != 0 {
            return Ok(Self(None));
        }
        let users = std::fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
        let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let ids = fields
            .filter(|fields| fields[0] == name)
            .find_map(|fields| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)));
        let (user, group) = ids.with_context(|| format!("there is no user {name}"))?;
        std::os::unix::fs::chown(folder, Some(user), Some(group))?;
        Ok(Self(Some((user, group))))
    }

    fn program(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = program(name, arguments);
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command
    }
}

fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null()).current_dir("/");
    command
}

/// Where Debian puts the newest version's programs.
fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(DEBIAN_POSTGRES).ok()?.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    versions.filter(|folder| folder.join("initdb").is_file()).max()
}

/// A port that nobody listens on.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is no text", path.display()))
}
