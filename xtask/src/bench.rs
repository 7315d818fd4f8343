//! The figures that the README quotes, in one run: quote ratios, not single numbers of a noisy machine.

use anyhow::Result;

use crate::shell::{cargo, run};

/// Runs the benchmarks one after the other.
pub fn run_all() -> Result<()> {
    run(cargo(&["bench", "--package", "tiphys-sim", "--bench", "engine"]))?;
    run(cargo(&["bench", "--package", "tiphys-executor"]))?;
    run(cargo(&["bench", "--package", "tiphys-sandbox"]))?;
    run(cargo(&["bench", "--package", "tiphys-s3server"]))?;
    run(cargo(&["bench", "--package", "tiphys-cli"]))
}
