//! What the executor costs a step: the size and memory of its programs, the time before the user's process and after it,
//! and the processor time of a step with nothing to collect.
//!
//! Runs the programs as they are, in a mount namespace with a shared volume of its own. `TIPHYS_EMISSARY` and
//! `TIPHYS_EXECUTOR` name other builds than those that Cargo made for this bench, such as the static ones that go into
//! images: `cargo xtask bench` does.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::resource::{UsageWho, getrusage};

type Failure = Box<dyn std::error::Error>;

/// Runs of each kind; the median is told.
const RUNS: usize = 200;

fn main() -> ExitCode {
    let result = match std::env::args().nth(1).as_deref() {
        Some("inside") => measure(),
        Some("user") => user(),
        _ => enter_namespace(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("emissary bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn emissary() -> PathBuf {
    std::env::var_os("TIPHYS_EMISSARY").map_or_else(|| env!("CARGO_BIN_EXE_tiphys-emissary").into(), PathBuf::from)
}

fn enter_namespace() -> Result<(), Failure> {
    let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/argo && exec \"$0\" inside";
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe()?)
        .status()?;
    if status.success() { Ok(()) } else { Err("no user and mount namespaces here, or the bench failed in them".into()) }
}

/// The user's process: tells the time when it starts, and when it ends.
fn user() -> Result<(), Failure> {
    println!("{}", now().as_nanos());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    print!("{}", now().as_nanos());
    std::io::stdout().flush()?;
    Ok(())
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// One run: time until the user's process started, time from its end to the end of all.
struct Run {
    before: Duration,
    after: Duration,
    memory: String,
}

fn measure() -> Result<(), Failure> {
    let program = emissary();
    println!("emissary           {}", program.display());
    println!("size               {:.2} MB", program.metadata()?.len() as f64 / 1e6);
    let plain = runs(None, false, r#"{"container":{}}"#)?;
    let under = runs(Some(&program), false, r#"{"container":{}}"#)?;
    let keeping = runs(Some(&program), true, r#"{"container":{},"archiveLocation":{"archiveLogs":true}}"#)?;
    let before = |runs: &[Run]| median(runs.iter().map(|run| run.before));
    let after = |runs: &[Run]| median(runs.iter().map(|run| run.after));
    let worst = |runs: &[Run]| runs.iter().map(|run| run.after).max().unwrap_or_default();
    println!("memory (VmRSS)     {}", under.first().map_or("unknown", |run| &run.memory));
    println!(
        "start              {:?} (beyond the {:?} of the process alone)",
        before(&under).saturating_sub(before(&plain)),
        before(&plain)
    );
    println!(
        "exit               {:?} median, {:?} worst ({:?} of the process alone)",
        after(&under),
        worst(&under),
        after(&plain)
    );
    println!("exit, output kept  {:?} median, {:?} worst", after(&keeping), worst(&keeping));
    let built = option_env!("CARGO_BIN_EXE_tiphys-executor").map(PathBuf::from);
    match std::env::var_os("TIPHYS_EXECUTOR").map(PathBuf::from).or(built) {
        Some(executor) => whole_steps(&executor, &program),
        None => Ok(()),
    }
}

/// `init`, the emissary and `wait`, as containers of a Pod run them.
fn whole_steps(executor: &Path, emissary: &Path) -> Result<(), Failure> {
    println!("executor           {}", executor.display());
    println!("size               {:.2} MB", executor.metadata()?.len() as f64 / 1e6);
    std::fs::remove_file("/run/argo/template")?;
    let spawn = |program: &Path, container: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words).env("ARGO_CONTAINER_NAME", container).env("ARGO_TEMPLATE", r#"{"container":{}}"#);
        command.env("TIPHYS_EMISSARY", emissary).env("TIPHYS_RESULT_SINK", "file:/run/argo/result").spawn()
    };
    let ended = |mut child: std::process::Child| match child.wait()? {
        status if status.success() => Ok(()),
        status => Err(Failure::from(format!("a part of the step ended with {status}"))),
    };
    let before = processor_time()?;
    let start = Instant::now();
    for _ in 0..RUNS {
        std::fs::remove_dir_all("/run/argo")?;
        ended(spawn(executor, "init", &["init"])?)?;
        let wait = spawn(executor, "wait", &["wait"])?;
        ended(spawn(Path::new("/var/run/argo/argoexec"), "main", &["emissary", "--", "true"])?)?;
        ended(wait)?;
    }
    let runs = RUNS as u32;
    let (wall, used) = (start.elapsed() / runs, (processor_time()? - before) / runs);
    println!("step               {used:?} processor time of init, emissary, `true` and wait; {wall:?} in all");
    std::fs::remove_dir_all("/run/argo/ctr")?;
    let wait = spawn(executor, "wait", &["wait"])?;
    println!("wait, idle         {}", idle_memory(wait.id())?);
    ended(spawn(Path::new("/var/run/argo/argoexec"), "main", &["emissary", "--", "true"])?)?;
    ended(wait)
}

/// The most memory that the process had when it has set its watches, after which it only waits.
fn idle_memory(process: u32) -> Result<String, Failure> {
    loop {
        let watching = std::fs::read_dir(format!("/proc/{process}/fdinfo"))?
            .flatten()
            .any(|entry| std::fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("inotify wd:")));
        if watching {
            let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
            let memory = |name: &str| {
                status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown").trim().to_owned()
            };
            return Ok(format!("{} (peak {})", memory("VmRSS:"), memory("VmHWM:")));
        }
        std::thread::yield_now();
    }
}

fn processor_time() -> Result<Duration, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = |of: nix::sys::time::TimeVal| Duration::new(of.tv_sec() as u64, of.tv_usec() as u32 * 1000);
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

fn runs(emissary: Option<&Path>, keeps: bool, template: &str) -> Result<Vec<Run>, Failure> {
    std::fs::write("/run/argo/template", template)?;
    (0..RUNS).map(|_| run(emissary, keeps)).collect()
}

fn run(emissary: Option<&Path>, keeps: bool) -> Result<Run, Failure> {
    let user = std::env::current_exe()?;
    let mut command = match emissary {
        Some(emissary) => {
            let mut command = Command::new(emissary);
            command.args(["emissary", "--"]).arg(user);
            command
        }
        None => Command::new(user),
    };
    command.arg("user").stdin(Stdio::piped()).stdout(Stdio::piped()).env("ARGO_CONTAINER_NAME", "main");
    command.env("ARGO_INCLUDE_SCRIPT_OUTPUT", keeps.to_string());
    let spawned = now();
    let mut child = command.spawn()?;
    let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("unknown").trim().to_owned();
    drop(child.stdin.take());
    let status = child.wait()?;
    let ended = now();
    if !status.success() {
        return Err(format!("the run ended with {status}").into());
    }
    let mut last = String::new();
    output.read_to_string(&mut last)?;
    let time = |text: &str| text.trim().parse().map(Duration::from_nanos);
    Ok(Run { before: time(&line)?.saturating_sub(spawned), after: ended.saturating_sub(time(&last)?), memory })
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
