//! Images of stand-in programs, read back by the project's own reader of images.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tiphys_oci::{Named, Store};

use super::*;

/// Programs that an image is made of, in a folder of their own.
fn programs(folder: &Path, machine: Machine) -> Programs {
    let (executor, emissary) = (folder.join("executor"), folder.join("emissary"));
    std::fs::write(&executor, "the executor").unwrap();
    std::fs::write(&emissary, "the emissary").unwrap();
    Programs { machine, executor, emissary }
}

fn import(store: &Path, archive: PathBuf) -> (Named, PathBuf) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(store).await.unwrap();
        let [named] = <[Named; 1]>::try_from(store.import(&archive, None).await.unwrap()).unwrap();
        let root = store.rootfs(&named.image).await.unwrap().path().to_owned();
        (named, root)
    })
}

#[test]
fn both_variants_hold_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    write(&[programs(folder.path(), Machine::host().unwrap())], &out).unwrap();
    for (variant, name, user) in
        [(Variant::Root, "tiphys-executor", "0"), (Variant::NonRoot, "tiphys-executor-nonroot", "8737")]
    {
        let (named, root) = import(&folder.path().join("store"), archive(&out, variant));
        assert!(named.reference.to_string().contains(&format!("{name}:{}", env!("CARGO_PKG_VERSION"))));
        let config = &named.image.config;
        assert_eq!(config.entrypoint, ["/bin/argoexec"]);
        assert_eq!(config.user, user);
        // Pods start `argoexec` by its bare name.
        assert!(config.env.iter().any(|one| one.starts_with("PATH=") && one.ends_with(":/bin")), "{:?}", config.env);
        for (path, mode, content) in [
            ("bin/argoexec", 0o755, Some("the executor")),
            ("bin/tiphys-emissary", 0o755, Some("the emissary")),
            ("etc/passwd", 0o644, Some(":8737:8737:")),
            ("etc/ssl/certs/ca-certificates.crt", 0o644, Some("-----BEGIN CERTIFICATE-----")),
            ("tmp", 0o1777, None),
        ] {
            let found = root.join(path);
            assert_eq!(found.metadata().unwrap().permissions().mode() & 0o7777, mode, "{path}");
            if let Some(content) = content {
                assert!(std::fs::read_to_string(found).unwrap().contains(content), "{path}");
            }
        }
    }
}

#[test]
fn the_same_programs_make_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let made = ["one", "other"].map(|name| {
        let place = folder.path().join(name);
        std::fs::create_dir(&place).unwrap();
        let programs = programs(&place, Machine::Amd64);
        // Neither the time nor the permissions of what was built show in an image.
        let mode = if name == "one" { 0o700 } else { 0o755 };
        std::fs::set_permissions(&programs.executor, std::fs::Permissions::from_mode(mode)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(mode.into());
        std::fs::File::options().write(true).open(&programs.executor).unwrap().set_modified(time).unwrap();
        write(&[programs], &place).unwrap();
        std::fs::read(archive(&place, Variant::Root)).unwrap()
    });
    assert!(made[0] == made[1]);
    let changed = folder.path().join("changed");
    std::fs::create_dir(&changed).unwrap();
    let programs = programs(&changed, Machine::Amd64);
    std::fs::write(&programs.executor, "another executor").unwrap();
    write(&[programs], &changed).unwrap();
    assert!(made[0] != std::fs::read(archive(&changed, Variant::Root)).unwrap());
}

#[test]
fn an_image_for_two_machines_is_read_on_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let both = [Machine::Amd64, Machine::Arm64].map(|machine| {
        let place = folder.path().join(machine.name());
        std::fs::create_dir(&place).unwrap();
        let programs = programs(&place, machine);
        std::fs::write(&programs.executor, machine.name()).unwrap();
        programs
    });
    write(&both, folder.path()).unwrap();
    let (_, root) = import(&folder.path().join("store"), archive(folder.path(), Variant::Root));
    let found = std::fs::read_to_string(root.join("bin/argoexec")).unwrap();
    assert_eq!(found, Machine::host().unwrap().name());
}

#[test]
fn an_engine_gets_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("rootfs");
    let entries = contents::of(&programs(folder.path(), Machine::Amd64)).unwrap();
    contents::unpack(&entries, &root).unwrap();
    assert_eq!(std::fs::read_to_string(root.join("bin/argoexec")).unwrap(), "the executor");
    assert_eq!(root.join("tmp").metadata().unwrap().permissions().mode() & 0o7777, 0o1777);
    let again = contents::unpack(&entries, &root).unwrap_err().to_string();
    assert!(again.contains("rootfs"), "{again}");
}
