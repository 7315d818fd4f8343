//! What a user waits for: a hello-world from start to exit, and 1,000 no-op steps at parallelism 16 with their logs archived.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const HELLO_ROUNDS: usize = 11;
const STEPS: usize = 1_000;
const STEPS_ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let hello = folder.path().join("hello.yaml");
    fs::write(&hello, workflow("entrypoint: noop", ""))?;
    let hello = median(HELLO_ROUNDS, || run(folder.path(), &hello))?;
    println!("hello-world: {:.0} ms, median of {HELLO_ROUNDS}", hello.as_secs_f64() * 1e3);

    let fan_out = format!(
        "  - name: fan-out\n    steps:\n    - - name: step\n        template: noop\n        withSequence: {{count: \"{STEPS}\"}}\n"
    );
    let steps = folder.path().join("steps.yaml");
    fs::write(&steps, workflow("entrypoint: fan-out\n  parallelism: 16", &fan_out))?;
    let steps = median(STEPS_ROUNDS, || run(folder.path(), &steps))?;
    println!(
        "{STEPS} no-op steps, parallelism 16: {:.1} s, median of {STEPS_ROUNDS}, {:.0} steps/s",
        steps.as_secs_f64(),
        STEPS as f64 / steps.as_secs_f64()
    );
    Ok(())
}

fn workflow(head: &str, templates: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {{generateName: bench-}}\nspec:\n  {head}\n  templates:\n{templates}  - name: noop\n    container: {{image: none, command: [\"true\"]}}\n"
    )
}

/// The wall time of one `tiphys run` on the host runtime, with `home` as its home.
fn run(home: &Path, manifest: &Path) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_tiphys"))
        .args(["run", "--runtime", "host"])
        .arg(manifest)
        .env("HOME", home)
        .env_remove("XDG_DATA_HOME")
        .env_remove("XDG_STATE_HOME")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    let elapsed = begun.elapsed();
    if status.success() { Ok(elapsed) } else { Err(format!("tiphys run {}: {status}", manifest.display()).into()) }
}

fn median(
    rounds: usize,
    mut once: impl FnMut() -> Result<Duration, Box<dyn Error>>,
) -> Result<Duration, Box<dyn Error>> {
    let mut times = (0..rounds).map(|_| once()).collect::<Result<Vec<_>, _>>()?;
    times.sort_unstable();
    Ok(times[rounds / 2])
}
