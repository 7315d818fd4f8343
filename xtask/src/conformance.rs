//! The corpus's local cases on the real local runtime, compared with what Argo made of them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tiphys_tests::corpus::{self, Case};
use tiphys_tests::normalise::normalise;

use crate::difference::difference;
use crate::shell::{self, cargo, root, target};

/// The longest that one case may take.
const LIMIT: Duration = Duration::from_secs(120);

struct Options {
    images: Option<PathBuf>,
    corpus: PathBuf,
    only: Option<String>,
    data: Option<PathBuf>,
}

/// What came of a case.
enum Verdict {
    Passed,
    Failed(String),
    NotApplicable(String),
}

/// Runs the cases and writes docs/conformance.md.
pub fn run(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    shell::run(cargo(&["build", "--release", "--package", "tiphys-cli"]))?;
    let tiphys = target().join("release/tiphys");
    let scratch = tempfile::tempdir()?;
    let data = options.data.clone().unwrap_or_else(|| scratch.path().to_path_buf());
    std::fs::create_dir_all(&data)?;
    import(&tiphys, &data, options.images.as_deref())?;
    let mut rows = Vec::new();
    for case in corpus::cases(&options.corpus) {
        if options.only.as_ref().is_some_and(|only| !case.name.contains(only.as_str())) {
            continue;
        }
        let begun = Instant::now();
        let verdict = if case.tags.contains("local") {
            one(&case, &tiphys, &data, &options.corpus)
        } else {
            let needs: Vec<&str> = case.tags.iter().map(String::as_str).collect();
            Verdict::NotApplicable(format!("not tagged local: {}", needs.join(", ")))
        };
        let word = match &verdict {
            Verdict::Passed => "passed",
            Verdict::Failed(_) => "FAILED",
            Verdict::NotApplicable(_) => "n/a",
        };
        if !matches!(verdict, Verdict::NotApplicable(_)) {
            eprintln!("{word:>7} {:6.1} s  {}", begun.elapsed().as_secs_f64(), case.name);
        }
        if let Verdict::Failed(difference) = &verdict {
            eprintln!("{difference}");
        }
        rows.push((case.name.clone(), verdict));
    }
    let (passed, failed) = count(&rows);
    println!("{passed} passed, {failed} failed, {} not applicable", rows.len() - passed - failed);
    if options.only.is_none() {
        write_page(&rows)?;
    }
    if failed > 0 { bail!("{failed} of {} local cases differ", passed + failed) } else { Ok(()) }
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options { images: None, corpus: PathBuf::new(), only: None, data: None };
    let mut given = None;
    let mut args = args.iter();
    while let Some(name) = args.next() {
        let value = args.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--images" => options.images = Some(value.into()),
            "--corpus" => given = Some(PathBuf::from(value)),
            "--only" => options.only = Some(value.clone()),
            "--data" => options.data = Some(value.into()),
            other => bail!("unknown option {other}"),
        }
    }
    options.corpus = given.or_else(corpus::folder).context("no corpus: give --corpus FOLDER or set TIPHYS_CORPUS")?;
    Ok(options)
}

fn import(tiphys: &Path, data: &Path, images: Option<&Path>) -> Result<()> {
    let Some(images) = images else { return Ok(()) };
    let mut archives: Vec<PathBuf> =
        std::fs::read_dir(images)?.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    archives.sort();
    for archive in archives {
        let mut command = Command::new(tiphys);
        command.args(["image", "import"]).arg(&archive).arg("--data-dir").arg(data);
        shell::run(command)?;
    }
    Ok(())
}

fn one(case: &Case, tiphys: &Path, data: &Path, corpus: &Path) -> Verdict {
    let mut command = Command::new(tiphys);
    command.arg("run").arg(case.path.join("workflow.yaml"));
    command.arg("--with").arg(corpus.join("common"));
    command.args(["--output", "json", "--no-color", "--data-dir"]).arg(data);
    let got = execute(command, &data.join(format!("{}.err", case.name)));
    // Manifests may have fixed names: the next case may have the same one.
    let runs = data.join("runs");
    if let Err(error) = std::fs::remove_dir_all(&runs) {
        eprintln!("{} cannot be removed: {error}", runs.display());
    }
    let got = match got {
        Ok(got) => got,
        Err(error) => return Verdict::Failed(format!("  {error:#}")),
    };
    let got = normalise(&got);
    let mut found = Vec::new();
    for expected in &case.expected {
        match difference(case, expected, &got) {
            None => return Verdict::Passed,
            Some(text) => found.push(text),
        }
    }
    Verdict::Failed(found.join("\n  -- or --\n"))
}

/// Runs a command to its end, or to the limit; what it prints is the Workflow object.
fn execute(mut command: Command, errors: &Path) -> Result<Value> {
    let stderr = std::fs::File::create(errors)?;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn()?;
    let mut stdout = child.stdout.take().context("no output")?;
    let (send, receive) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let read = std::io::Read::read_to_string(&mut stdout, &mut text);
        // The receiver is gone only after the limit, when nobody wants the text any more.
        let _ = send.send(read.map(|_| text));
    });
    let text = match receive.recv_timeout(LIMIT) {
        Ok(text) => text?,
        Err(_) => {
            child.kill()?;
            child.wait()?;
            bail!("not over after {} s", LIMIT.as_secs());
        }
    };
    child.wait()?;
    reader.join().map_err(|_| anyhow::anyhow!("the reader failed"))?;
    serde_json::from_str(&text).with_context(|| {
        let errors = std::fs::read_to_string(errors).unwrap_or_default();
        format!("no Workflow on standard output; standard error ends with:\n{}", last_lines(&errors, 6))
    })
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn count(rows: &[(String, Verdict)]) -> (usize, usize) {
    let passed = rows.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Passed)).count();
    let failed = rows.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_))).count();
    (passed, failed)
}

fn write_page(rows: &[(String, Verdict)]) -> Result<()> {
    let (passed, failed) = count(rows);
    let decisions = std::fs::read_to_string(root().join("docs/differences.md")).unwrap_or_default();
    let mut page = String::from(
        "# Conformance\n\nWritten by `cargo xtask conformance`: real workflows on the local runtime, node by node against what Argo 4.1.2 made of them.\n\n",
    );
    writeln!(page, "{passed} of {} local cases come out the same.\n", passed + failed)?;
    page.push_str(&decisions);
    page.push_str("\n## Cases\n\n| case | outcome | reason |\n|---|---|---|\n");
    for (name, verdict) in rows {
        let (word, reason) = match verdict {
            Verdict::Passed => ("passed", String::new()),
            Verdict::Failed(text) => {
                ("differs", text.lines().map(str::trim).collect::<Vec<_>>().join("<br>").replace('|', "\\|"))
            }
            Verdict::NotApplicable(text) => ("not applicable", text.clone()),
        };
        writeln!(page, "| {name} | {word} | {reason} |")?;
    }
    std::fs::write(root().join("docs/conformance.md"), page)?;
    Ok(())
}
