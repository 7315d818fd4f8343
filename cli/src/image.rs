//! `tiphys image`: the images that steps run in.

use std::future::Future;

use tiphys_oci::{Error, Reference, Registries, Store};

use crate::args::{Global, ImageCommand};
use crate::failure::Failure;
use crate::output;
use crate::settings::{data_dir, docker_config};

/// Manages the store.
pub fn image(global: &Global, command: ImageCommand) -> Result<(), Failure> {
    let folder = data_dir(global)?.images();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(Some(format!("cannot start: {error}"))))?;
    runtime.block_on(async {
        let store = Store::open(folder).await.map_err(Failure::usage)?;
        match command {
            ImageCommand::Import { file, name } => {
                let name = name.as_deref().map(reference).transpose()?;
                let images = done(store.import(&file, name.as_ref())).await?;
                say(global, images.iter().map(|image| image.reference.to_string()));
            }
            ImageCommand::List => output::print(&list(&store).await?),
            ImageCommand::Rm { names } => {
                for name in &names {
                    done(store.remove(&reference(name)?)).await?;
                }
                let freed = done(store.gc()).await?;
                say(global, [format!("{} freed", size(freed.bytes))]);
            }
            ImageCommand::Pull { names, registry_mirror } => {
                let registries = registries(&registry_mirror)?;
                for name in &names {
                    let reference = reference(name)?;
                    done(store.pull(&reference, &registries)).await?;
                    say(global, [reference.to_string()]);
                }
            }
        }
        Ok(())
    })
}

async fn list(store: &Store) -> Result<String, Failure> {
    let mut rows = vec![["NAME", "DIGEST", "SIZE"].map(str::to_owned).to_vec()];
    for named in done(store.list()).await? {
        let digest = named.image.digest.hex().chars().take(12).collect();
        rows.push(vec![named.reference.to_string(), digest, size(named.image.size)]);
    }
    Ok(output::table(&rows))
}

async fn done<T>(step: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    step.await.map_err(|error| Failure::failed(Some(error.to_string())))
}

fn reference(name: &str) -> Result<Reference, Failure> {
    name.parse().map_err(|error: Error| Failure::usage(error))
}

fn registries(mirrors: &[String]) -> Result<Registries, Failure> {
    let mut registries = Registries::new();
    for mirror in mirrors {
        registries = registries.with_mirror(mirror).map_err(Failure::usage)?;
    }
    match docker_config() {
        Some(path) => registries.with_docker_config(&path).map_err(Failure::usage),
        None => Ok(registries),
    }
}

fn say(global: &Global, lines: impl IntoIterator<Item = String>) {
    if !global.quiet {
        lines.into_iter().for_each(|line| output::print(&format!("{line}\n")));
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
