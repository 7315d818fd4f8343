//! Roots other than the plain machine's: image layers, read-only ones.

use crate::support::{Place, run};
use nix::sys::stat::{Mode, SFlag, mknod};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tiphys_sandbox::{ContainerSpec, Mount, Overlay, Rootfs};

/// A layer that can run the machine's programs once `/usr` is mounted in it.
fn base_layer(place: &Place) -> PathBuf {
    let layer = place.path("base");
    fs::create_dir_all(layer.join("etc")).unwrap();
    for name in ["bin", "lib", "lib64"] {
        match fs::read_link(Path::new("/").join(name)) {
            Ok(link) => symlink(link, layer.join(name)).unwrap(),
            Err(_) => fs::create_dir(layer.join(name)).unwrap(),
        }
    }
    layer
}

fn in_layers(place: &Place, name: &str, layers: Vec<PathBuf>, script: &str) -> ContainerSpec {
    let mut container = place.shell(name, script);
    container.rootfs = Rootfs::Layers(layers);
    for name in ["/usr", "/bin", "/lib", "/lib64"] {
        let is_folder = fs::symlink_metadata(name).is_ok_and(|metadata| metadata.is_dir());
        if name == "/usr" || is_folder {
            container.mounts.push(Mount { source: name.into(), target: name.into(), read_only: true });
        }
    }
    container
}

fn layers_are_stacked(overlay: Overlay) {
    let place = Place::new();
    let base = base_layer(&place);
    let top = place.path("top");
    fs::create_dir_all(base.join("app/gone-folder/x")).unwrap();
    fs::create_dir_all(top.join("app")).unwrap();
    for (path, text) in [("app/kept", "base"), ("app/changed", "base"), ("app/gone", "base")] {
        fs::write(base.join(path), text).unwrap();
    }
    fs::write(top.join("app/changed"), "top").unwrap();
    for name in ["app/gone", "app/gone-folder"] {
        // Any user may make this one device: it is how overlayfs marks what an upper layer takes away.
        mknod(&top.join(name), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
    }
    let script = "cd /app; for it in *; do echo $it $(cat $it); done; echo new > changed; echo $(cat changed); \
                  rm kept; ls; ls /tmp 2>/dev/null; sed -n 2p /etc/hosts | cut -c 1-9; echo $HOME";
    let mut pod = place.pod("p");
    pod.overlay = overlay;
    pod.containers.push(in_layers(&place, "main", vec![base.clone(), top.clone()], script));
    pod.containers.push(in_layers(&place, "second", vec![base.clone(), top.clone()], "cat /app/kept"));
    let outcome = run(&pod);
    assert_eq!(outcome.exit("main").exit_code, 0, "{:?}\n{}", outcome.events, place.log("main"));
    assert_eq!(place.log("main"), "changed top\nkept base\nnew\nchanged\n127.0.0.1\n/\n");
    assert_eq!(place.log("second"), "base");
    assert_eq!(fs::read_to_string(top.join("app/changed")).unwrap(), "top");
    assert!(base.join("app/kept").exists() && !base.join("proc").exists());
    tiphys_sandbox::remove_scratch(&pod.scratch).unwrap();
    assert!(!pod.scratch.exists());
}

#[test]
fn layers_are_stacked_by_overlay() {
    layers_are_stacked(Overlay::Auto);
}

#[test]
fn layers_are_stacked_by_copying() {
    layers_are_stacked(Overlay::Never);
}

#[test]
fn many_layers_with_long_and_odd_names_are_stacked() {
    let place = Place::new();
    let mut layers = vec![base_layer(&place)];
    for number in 0..60 {
        let layer = place.path(&format!("layer,with:odd=signs-{}-{number}", "x".repeat(150)));
        fs::create_dir_all(layer.join("app")).unwrap();
        fs::write(layer.join("app/number"), format!("{number}\n")).unwrap();
        layers.push(layer);
    }
    assert_eq!(place.output_of(in_layers(&place, "main", layers, "cat /app/number")), "59\n");
}

#[test]
fn an_image_without_layers_is_an_empty_root() {
    let place = Place::new();
    let mut pod = place.pod("p");
    pod.containers.push(ContainerSpec::new("main", Rootfs::Layers(vec![]), ["/bin/sh"]));
    assert_eq!(run(&pod).exit("main").exit_code, 127);
}

#[test]
fn an_empty_root_has_what_is_mounted() {
    let place = Place::new();
    let script = "echo /* | tr ' ' '\\n' | grep -v lib; touch /it /tmp/it /var/tmp/it; test -s /etc/hosts";
    let mut main = in_layers(&place, "main", vec![], script);
    main.rootfs = Rootfs::Empty;
    for name in ["/bin", "/lib", "/lib64"] {
        main.mounts.push(Mount { source: name.into(), target: name.into(), read_only: true });
    }
    assert_eq!(place.output_of(main), "/bin\n/dev\n/etc\n/proc\n/sys\n/tmp\n/usr\n/var\n");
}

#[test]
fn links_of_an_image_do_not_lead_out_of_it() {
    let place = Place::new();
    let layer = base_layer(&place);
    let outside = place.volume("outside", "/unused").source;
    symlink(&outside, layer.join("etc/link")).unwrap();
    symlink("/../../../..", layer.join("up")).unwrap();
    let mut main =
        in_layers(&place, "main", vec![layer], "cat /etc/link/file; ls /up/etc/link; cd /etc/link && pwd -P");
    main.mounts.push(place.file("file", "mounted\n", "/etc/link/file"));
    let log = place.output_of(main);
    assert_eq!(log, format!("mounted\nfile\n{}\n", outside.display()));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

fn read_only_root(place: &Place, mut main: ContainerSpec) {
    main.read_only_root = true;
    main.mounts.push(place.volume("volume", "/data/here"));
    let log = place.output_of(main);
    assert_eq!(log.lines().last(), Some("written"), "{log}");
    assert!(log.contains("Read-only file system"), "{log}");
    assert_eq!(place.read("volume/it"), "written\n");
}

const WRITE: &str = "touch /it && exit 1; mkdir /data/it && exit 1; echo written | tee /data/here/it /dev/shm/it";

#[test]
fn a_read_only_root_leaves_volumes_writable() {
    let place = Place::new();
    read_only_root(&place, place.shell("main", WRITE));
}

#[test]
fn a_read_only_image_leaves_volumes_writable() {
    let place = Place::new();
    let layer = base_layer(&place);
    read_only_root(&place, in_layers(&place, "main", vec![layer], WRITE));
}
