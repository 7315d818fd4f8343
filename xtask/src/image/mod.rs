//! The executor's image without a container engine: static binaries, a few files, an OCI archive.
//!
//! The same inputs give the same bytes, so an image's digest says whether anything changed. images/executor.Containerfile
//! makes the same image with an engine.

mod binaries;
mod contents;
mod layer;
mod layout;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell::target;
use contents::Entry;
use layer::Layer;

/// The image's name.
const NAME: &str = "tiphys-executor";

/// A machine that the image can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86_64.
    Amd64,
    /// aarch64.
    Arm64,
}

impl Machine {
    /// This machine.
    ///
    /// # Errors
    /// When images cannot be made for it.
    pub fn host() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            other => bail!("no image can be made for {other}: there are amd64 and arm64"),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        match text {
            "amd64" => Ok(Self::Amd64),
            "arm64" => Ok(Self::Arm64),
            other => bail!("--arch is {other:?}: expected amd64 or arm64"),
        }
    }

    /// Its name in image manifests.
    fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    fn triple(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }
}

/// Who the image's processes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The superuser, as Argo's argoexec.
    Root,
    /// Uid 8737, as Argo's argoexec-nonroot.
    NonRoot,
}

impl Variant {
    fn suffix(self) -> &'static str {
        match self {
            Self::Root => "",
            Self::NonRoot => "-nonroot",
        }
    }

    /// The image's `User`, a number so that Kubernetes can tell that it is not root.
    fn user(self) -> &'static str {
        match self {
            Self::Root => "0",
            Self::NonRoot => "8737",
        }
    }
}

/// One machine's programs.
struct Programs {
    machine: Machine,
    executor: PathBuf,
    emissary: PathBuf,
}

#[derive(Default)]
struct Options {
    machines: Vec<Machine>,
    rootfs: Option<PathBuf>,
    out: Option<PathBuf>,
}

/// Builds the image in its variants.
pub fn run(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    let machines = if options.machines.is_empty() { vec![Machine::host()?] } else { options.machines };
    if let Some(folder) = options.rootfs {
        let [machine] = machines[..] else { bail!("--rootfs is for one --arch") };
        return contents::unpack(&contents::of(&binaries::build(machine)?)?, &folder);
    }
    let out = options.out.unwrap_or_else(folder);
    let programs = machines.into_iter().map(binaries::build).collect::<Result<Vec<_>>>()?;
    write(&programs, &out)?;
    Ok(())
}

/// An archive, and the digest by which a registry knows its image.
pub struct Built {
    /// The file.
    pub path: PathBuf,
    /// `sha256:…`.
    pub digest: String,
}

/// Builds for this machine: root's variant, and the other.
///
/// # Errors
/// When the programs cannot be built or the archives cannot be written.
pub fn build() -> Result<[Built; 2]> {
    write(&[binaries::build(Machine::host()?)?], &folder())
}

/// This machine's executor and emissary.
///
/// # Errors
/// When they cannot be built.
pub fn programs() -> Result<(PathBuf, PathBuf)> {
    let built = binaries::build(Machine::host()?)?;
    Ok((built.executor, built.emissary))
}

/// The image's name in a variant.
pub fn name(variant: Variant) -> String {
    format!("{NAME}{}", variant.suffix())
}

/// Where images are written unless told otherwise.
fn folder() -> PathBuf {
    target().join("images")
}

fn archive(folder: &Path, variant: Variant) -> PathBuf {
    folder.join(format!("{}.oci.tar", name(variant)))
}

fn write(programs: &[Programs], out: &Path) -> Result<[Built; 2]> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let layers = programs
        .iter()
        .map(|programs| {
            let entries: Vec<Entry> = contents::of(programs)?;
            for (what, path) in [("executor", &programs.executor), ("emissary", &programs.emissary)] {
                let bytes = std::fs::metadata(path)?.len();
                println!("{what:<9} {:<6} {:>6.2} MB  {}", programs.machine.name(), mega(bytes), path.display());
            }
            let layer = Layer::of(&entries)?;
            let (packed, size) = (mega(layer.packed.len() as u64), mega(layer.size));
            println!("{:<9} {:<6} {packed:>6.2} MB  to pull, {size:.2} MB unpacked", "image", programs.machine.name());
            Ok((programs.machine, layer))
        })
        .collect::<Result<Vec<_>>>()?;
    let variant = |variant| {
        let path = archive(out, variant);
        let digest = layout::write(&layers, variant, &path)?;
        println!("{digest}  {}", path.display());
        Ok::<_, anyhow::Error>(Built { path, digest })
    };
    Ok([variant(Variant::Root)?, variant(Variant::NonRoot)?])
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(name) = args.next() {
        let value = args.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--arch" => options.machines.push(Machine::parse(value)?),
            "--rootfs" => options.rootfs = Some(value.into()),
            "--out" => options.out = Some(value.into()),
            other => bail!("unknown option {other}"),
        }
    }
    Ok(options)
}
