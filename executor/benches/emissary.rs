//! What the emissary costs a step: its size, its memory, the time before the user's process and after it.
//!
//! Runs the binary as it is, in a mount namespace with a shared volume of its own. `TIPHYS_EMISSARY` names another build
//! than the one Cargo made for this bench, such as the static one that goes into images.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime};

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
    Ok(())
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
