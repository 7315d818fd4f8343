//! Coverage-guided fuzzing of all that reads bytes from outside (`fuzz/`, over `parsers/`), for a bounded time, by
//! libFuzzer. The compiler of everything else suffices: only sanitizers take a nightly one, counting coverage does not.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::shell::{self, cargo, output, root, target};

/// Seconds of fuzzing unless told, for all targets together.
const SECONDS: u64 = 60;
/// What cargo-fuzz gives the compiler, less the sanitizers.
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];
/// One input may take 10 s and 1 GiB, and has at most 64 KiB.
const LIMITS: [&str; 4] = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=65536", "-print_final_stats=1"];

/// Where there is one, a folder in memory.
const MEMORY: &str = "/dev/shm";

/// Builds the targets and runs each for its share of the time, as many at once as there are processors.
///
/// # Errors
/// When an input was found that a target fails on: with the files that hold such inputs.
pub fn run(args: &[String]) -> Result<()> {
    let seconds = match args {
        [] => SECONDS,
        [flag, seconds] if flag == "--seconds" => seconds.parse().context("--seconds takes a number")?,
        _ => bail!("cargo xtask fuzz [--seconds N]"),
    };
    if !shell::is_on_path("c++") {
        shell::install("the C++ compiler that libFuzzer is built with", &["g++"])?;
    }
    let names = names()?;
    let programs = build()?;
    let at_once = thread::available_parallelism().map_or(1, usize::from).min(names.len());
    let each = (seconds * at_once as u64 / names.len() as u64).max(1);
    eprintln!("fuzz: {} targets, {each} s each, {at_once} at once", names.len());
    let left = Mutex::new(names);
    let found = thread::scope(|scope| {
        let work = || {
            let mut found = Vec::new();
            // A list is whole after any panic.
            let next = || left.lock().unwrap_or_else(|held| held.into_inner()).pop();
            while let Some(name) = next() {
                found.extend(fuzz(&programs, &name, each)?);
            }
            Ok(found)
        };
        let lanes: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let ended = lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|_| bail!("a lane of fuzzing panicked")));
        ended.collect::<Result<Vec<Vec<String>>>>()
    })?;
    match found.concat() {
        none if none.is_empty() => Ok(()),
        found => bail!("inputs were found that must not do this:\n  {}", found.join("\n  ")),
    }
}

/// The targets: one file each.
fn names() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut names = Vec::new();
    for file in files {
        names.extend(file?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Where all of it lies, apart from other builds.
fn folder() -> PathBuf {
    target().join("fuzz")
}

/// Builds the targets with coverage counted. A target triple is named so that what runs while building is not.
fn build() -> Result<PathBuf> {
    let mut version = Command::new("rustc");
    version.arg("-vV").current_dir(root());
    let version = output(version)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not tell its host")?;
    let mut build = cargo(&["build", "--manifest-path", "fuzz/Cargo.toml", "--bins", "--target", host]);
    build.arg("--target-dir").arg(folder()).env("RUSTFLAGS", COVERAGE.join(" ")).env_remove("CARGO_ENCODED_RUSTFLAGS");
    shell::run(build)?;
    Ok(folder().join(host).join("debug"))
}

/// Runs one target from its seeds on; gives what it failed on, as text.
fn fuzz(programs: &Path, name: &str, seconds: u64) -> Result<Option<String>> {
    let (corpus, finds, log) =
        (folder().join("corpus").join(name), folder().join("finds"), folder().join(format!("{name}.log")));
    for folder in [&corpus, &finds] {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    let said = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
    let mut program = Command::new(programs.join(name));
    if Path::new(MEMORY).is_dir() {
        // Archives are unpacked there.
        program.env("TMPDIR", MEMORY);
    }
    let status = program
        .arg(&corpus)
        .args(LIMITS)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}", finds.join(format!("{name}-")).display()))
        .env("TIPHYS_FUZZ_SEEDS", &corpus)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said)
        .status()
        .with_context(|| format!("{name} cannot be started"))?;
    let said = fs::read_to_string(&log).unwrap_or_default();
    let told = |start: &str| said.lines().rev().find_map(|line| line.trim().strip_prefix(start));
    if status.success() {
        let count = told("stat::number_of_executed_units:").unwrap_or_default().trim();
        let coverage = said.lines().rev().find_map(|line| line.split_once("cov: ")?.1.split(' ').next());
        eprintln!("fuzz: {name}: {count} inputs, {} edges", coverage.unwrap_or("no"));
        return Ok(None);
    }
    let input = said.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path);
    // A panic's reason is on the line after its place.
    let told = said.lines().skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR: libFuzzer"));
    let why: Vec<&str> = told.take(2).collect();
    Ok(Some(format!("{name}: {} ({}; log {})", input.unwrap_or("no file"), why.join(" "), log.display())))
}
