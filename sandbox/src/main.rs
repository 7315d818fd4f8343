//! Runs one Pod from a specification in JSON (a file, or standard input with `-`) and prints its events, one a line: the
//! sandbox by itself, for looking into what a step is given.

use std::path::Path;
use std::process::ExitCode;
use tiphys_sandbox::{Event, Sandbox, SandboxSpec};

fn main() -> ExitCode {
    if tiphys_sandbox::is_sandbox_process() {
        return tiphys_sandbox::sandbox_main();
    }
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tiphys-sandbox: {error}");
            ExitCode::from(64)
        }
    }
}

fn run() -> Result<bool, Box<dyn std::error::Error>> {
    let path =
        std::env::args_os().nth(1).ok_or("usage: tiphys-sandbox FILE, where FILE holds a SandboxSpec in JSON")?;
    let text = if path == "-" { std::io::read_to_string(std::io::stdin())? } else { std::fs::read_to_string(&path)? };
    let spec: SandboxSpec = serde_json::from_str(&text)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (_sandbox, mut events) = Sandbox::start(&spec, Path::new("/proc/self/exe")).await?;
        let mut succeeded = true;
        while let Some(event) = events.recv().await {
            println!("{}", serde_json::to_string(&event)?);
            match event {
                Event::Failed(_) => succeeded = false,
                Event::Exited { exit, .. } => succeeded &= exit.exit_code == 0,
                _ => {}
            }
        }
        Ok(succeeded)
    })
}
